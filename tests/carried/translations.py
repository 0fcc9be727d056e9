"""Translates a file in the environment of its engine, and finds the steps of its tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def translated(request: dict[str, Any]) -> dict[str, Any]:
    import sagebridge
    from sagebridge.formats.python.task_call_sites import calls_task
    from sagebridge.model.code_steps import PythonStep, StubStep
    from sagebridge.model.pipeline import walk

    file, name = request["file"], request["name"]
    source = f"{file}#{name}" if name else file
    readings = _readings(file)
    reading = next(one for one in readings if name in (None, one.name))
    if name is None:
        reading = max(readings, key=lambda one: one.line)
        source = f"{file}#{reading.name}" if len(readings) > 1 else file
    written = sagebridge.translate(source, request["to"])
    steps: dict[str, list[str]] = {}
    in_place: set[str] = set()
    live = [one for one in walk(reading.pipeline) if not isinstance(one, StubStep)]
    if reading.tasks:
        from sagebridge.task_counts import _step_name

        names = {one.name for one in live}
        for task in reading.tasks:
            found = [_step_name(one) for one in (task.label, task.name)]
            steps[task.name] = [one for one in dict.fromkeys(found) if one in names][:1]
            if not steps[task.name]:
                in_place.add(task.name)
    else:
        from sagebridge.formats.python.task_call_sites import flow_call_sites

        called = {site.name for site in flow_call_sites(Path(file))}
        for step in live:
            if isinstance(step, PythonStep):
                function = step.function
                steps.setdefault(function.name, []).append(step.name)
                text = getattr(function, "module", "") or function.text or function.code
                in_place |= {
                    one for one in called if one != function.name and calls_task(text, one)
                }
    return {
        "text": written.text,
        "steps": steps,
        "in_place": sorted(in_place),
        "without_result": [],
        "losses": [str(loss) for loss in written.losses],
    }


def _readings(file: str) -> Any:
    from sagebridge import registry

    if registry.detect(file).name == "airflow":
        from sagebridge.formats.airflow.reader import _READER

        return _READER.readings(file)
    from sagebridge.formats.prefect.reader import flow_readings

    return flow_readings(file)
