"""Import flow files in a subprocess and print the pipelines of their flows.

``python -m sagebridge.formats.prefect.import_flows`` is the subprocess of
:mod:`sagebridge.formats.python.import_process`. No Prefect server is started or contacted.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from sagebridge.errors import FlowError, ModelTypeError, PythonFileError
from sagebridge.formats.prefect import flow_options
from sagebridge.formats.prefect.prefect_answers import Answers
from sagebridge.formats.prefect.recording.pipeline_subflow import is_pipeline_flow, pipeline_of
from sagebridge.formats.prefect.recording.step_recorder import TARGET
from sagebridge.formats.prefect.source.statements import set_names
from sagebridge.formats.prefect.source.user_file import UserFile
from sagebridge.formats.prefect.source.user_module import execute_module
from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.formats.python.file_readings import too_deep
from sagebridge.formats.python.import_process import (
    Answer,
    describe,
    line_passed,
    new_module,
    serve,
    set_environment,
)
from sagebridge.model.expressions import strings_forbidden

_ANSWERS = Answers()


def _import_prefect(home: str) -> None:
    """Import Prefect without the settings, server and blocks of this machine."""
    settings = {
        "DO_NOT_TRACK": "1",
        "HOME": home,
        "PREFECT_HOME": home,
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    set_environment(("PREFECT_",), settings)
    _ANSWERS.install()


def _read(path: Path) -> list[Answer]:
    module = new_module(path)
    file = UserFile.of(str(path), path.read_bytes(), module)
    _ANSWERS.line = file.line
    try:
        execute_module(file)
        flows = _all_flows(module)
        own = sorted((one for one in flows if _is_in(one, path)), key=_line)
        with strings_forbidden():
            return [
                _describe_flow(flow, file) | {"entry": _entry(module, flow)} for flow in own
            ] or [
                _describe_pipeline(flow, _entry(module, flow), file)
                for flow in filter(is_pipeline_flow, flows)
            ]
    except FlowError as error:
        raise PythonFileError(str(path), line_passed(error, path), str(error)) from None


def _all_flows(module: ModuleType) -> list[Any]:
    """The flows that the variables of the file have, in order."""
    from prefect import Flow

    return list(
        {id(one): one for one in vars(module).values() if issubclass(type(one), Flow)}.values()
    )


def _is_in(flow: Any, path: Path) -> bool:
    """Whether the function of a flow is in the file."""
    return bool(flow.fn.__code__.co_filename == str(path))


def _line(flow: Any) -> int:
    return int(flow.fn.__code__.co_firstlineno)


def _entry(module: ModuleType, flow: Any) -> str:
    """The name of the flow in the module."""
    return next(name for name, value in vars(module).items() if value is flow)


def _describe_flow(flow: Any, file: UserFile) -> Answer:
    trace = FlowTrace(flow, file, _ANSWERS.imported)
    _ANSWERS.traced.append(trace)
    try:
        pipeline, losses = trace.result()
    except ModelTypeError as error:
        raise PythonFileError(file.path, _line(flow), str(error)) from None
    except RecursionError:
        raise too_deep(file.path, _line(flow)) from None
    finally:
        _ANSWERS.traced.pop()
    return {
        **describe(flow.name, _line(flow), pipeline, losses, trace.lines),
        "own_tasks": trace.own_tasks,
        "arguments": [one.name for one in trace.arguments],
    }


def _describe_pipeline(flow: Any, entry: str, file: UserFile) -> Answer:
    """The pipeline of a ``pipeline_flow`` in a file without other flows."""
    pipeline, lost = pipeline_of(flow)
    pipeline = replace(pipeline, engine=flow_options.flow_settings(flow))
    line = next((one.lineno for one in file.tree.body if entry in set_names([one])), 1)
    what = f"the flow: {', '.join(lost)} of all steps is not carried over"
    own = [Unsupported("engine-option", "changed", what, "set it again")] if lost else []
    losses = [
        one.at(str(line), target=TARGET) for one in (*own, *flow_options.unsupported_options(flow))
    ]
    return {
        **describe(flow.name, line, pipeline, losses, {}),
        "entry": entry,
        "own_tasks": [],
        "arguments": list(flow.parameters.properties),
    }


if __name__ == "__main__":
    serve(_import_prefect, _read)
