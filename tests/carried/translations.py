"""Translates a file in the environment of its engine, and finds the steps of its tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sagebridge import registry
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.formats.python.task_call_sites import calls_task, flow_call_sites
from sagebridge.model.code_steps import CarriedStep, PythonStep, StubStep
from sagebridge.model.for_each import ForEachStep, body_owners
from sagebridge.model.pipeline import Step, walk
from sagebridge.task_counts import step_names


def translated(request: dict[str, Any]) -> dict[str, Any]:
    """The written text, and the steps of each task; ``names`` has all pipelines of the file.

    ``in_place`` has the tasks that the code of another step calls, or that need no step, and
    ``without_result`` those that decide, wait or start another pipeline, whose result Airflow does
    not keep, and jobs of SageMaker, whose result is the description of the job.
    """
    file, name = request["file"], request["name"]
    all_readings = _readings(file)
    readings = [one for one in all_readings if name in (None, one.name)]
    reading = max(readings, key=lambda one: one.line)
    text, lost = registry.find(request["to"]).writer()(reading.pipeline, reading.losses)
    every = {one.name: one for one in walk(reading.pipeline)}
    live = {name: one for name, one in every.items() if not isinstance(one, StubStep)}
    steps, in_place = _of_dag(reading, every, live) if reading.tasks else _of_flow(file, live)
    return {
        "names": [one.name for one in all_readings],
        "text": text,
        "steps": steps,
        "in_place": in_place,
        "loops": body_owners(reading.pipeline),
        "without_result": [
            task
            for task, names in steps.items()
            if any(_lacks_result(live[name]) for name in names)
        ],
        "losses": [str(loss) for loss in (*reading.losses, *lost)],
    }


def _lacks_result(step: Step) -> bool:
    if isinstance(step, PythonStep):
        return bool(step.role) or step.function.name == "run_pipeline"
    return not isinstance(step, CarriedStep)


def _of_dag(
    reading: FileReading, every: Mapping[str, Step], live: Mapping[str, Step]
) -> tuple[dict[str, list[str]], Sequence[str]]:
    steps = {}
    for task in reading.tasks:
        found = [one for one in step_names(task) if one in live][:1]
        if found and isinstance(each := live[found[0]], ForEachStep):
            found = [list(walk((each,)))[-1].name]
        steps[task.name] = found
    return steps, [task.name for task in reading.tasks if not every.keys() & set(step_names(task))]


def _of_flow(file: str, live: Mapping[str, Step]) -> tuple[dict[str, list[str]], Sequence[str]]:
    called = {site.name for site in flow_call_sites(Path(file))}
    steps: dict[str, list[str]] = defaultdict(list)
    in_place: set[str] = set()
    for step in live.values():
        if isinstance(step, PythonStep):
            function = step.function
            steps[function.name].append(step.name)
            text = function.module or function.text or function.code
            others = called - {function.name}
            in_place |= {one for one in others if calls_task(text, one)}
    return steps, sorted(in_place)


def _readings(file: str) -> Sequence[FileReading]:
    if registry.detect(file).name == "airflow":
        from sagebridge.formats.airflow.reader import read_files, read_one

        (found,) = read_files([file])
        return found if isinstance(found, list) else [read_one(file)]
    from sagebridge.formats.prefect.reader import flow_readings

    return flow_readings(file)
