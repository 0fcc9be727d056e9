"""Import flow files in a subprocess and print the pipelines of their flows.

``python -m sagebridge.formats.prefect.import_flows`` is the subprocess of
:mod:`sagebridge.formats.python.import_process`. No Prefect server is started or contacted.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from sagebridge.errors import FlowError, ModelTypeError, PythonFileError
from sagebridge.formats.prefect.prefect_answers import Answers
from sagebridge.formats.prefect.source.user_file import UserFile
from sagebridge.formats.prefect.source.user_module import execute_module
from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace
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
        with strings_forbidden():
            return [
                _describe_flow(flow, file) | {"entry": _entry(module, flow)}
                for flow in _flows(module, path)
            ]
    except FlowError as error:
        raise PythonFileError(str(path), line_passed(error, path), str(error)) from None


def _flows(module: ModuleType, path: Path) -> list[Any]:
    """The flows of the file, in order."""
    from prefect import Flow

    found = {id(one): one for one in vars(module).values() if issubclass(type(one), Flow)}
    own = [one for one in found.values() if one.fn.__code__.co_filename == str(path)]
    return sorted(own, key=_line)


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


if __name__ == "__main__":
    serve(_import_prefect, _read)
