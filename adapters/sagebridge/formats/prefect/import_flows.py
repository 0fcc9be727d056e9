"""Import flow files in a subprocess and print the pipelines of their flows.

``python -m sagebridge.formats.prefect.import_flows`` is the subprocess of
:mod:`sagebridge.formats.python.import_process`. No Prefect server is started or contacted.
"""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType
from typing import Any

from sagebridge.errors import FlowError, ModelTypeError, PythonFileError
from sagebridge.formats.prefect.tracing import prefect_answers, trace_helpers
from sagebridge.formats.prefect.tracing.flow_trace import MAX_PATHS, FlowTrace, TooManyPaths
from sagebridge.formats.prefect.tracing.path_merging import MisplacedBlock
from sagebridge.formats.prefect.tracing.server_values import ImportTrace
from sagebridge.formats.prefect.tracing.source_rewriting import (
    HELPERS,
    argument_lines,
    raise_lines,
    rewrite_functions,
)
from sagebridge.formats.prefect.tracing.task_calls import TracedFile
from sagebridge.formats.python.file_readings import too_deep
from sagebridge.formats.python.import_process import (
    Answer,
    describe,
    execute,
    line_passed,
    new_module,
    serve,
    set_environment,
)
from sagebridge.model.expressions import strings_forbidden

_TRACED: list[FlowTrace] = []
"""The flows being traced, the innermost last."""


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
    prefect_answers.replace(_TRACED, _current_trace)


def _current_trace() -> FlowTrace | ImportTrace:
    """The trace of the innermost flow, or that of the import."""
    imported = trace_helpers.IMPORTS[-1]
    return _TRACED[-1] if _TRACED else imported


def _read(path: Path) -> list[Answer]:
    tree = ast.parse(path.read_bytes(), str(path))
    file = TracedFile(str(path), raise_lines(tree), argument_lines(tree))
    imported = ImportTrace(_TRACED, file)
    trace_helpers.IMPORTS.append(imported)
    module = new_module(path, **{HELPERS: trace_helpers})
    try:
        execute(module, path, rewrite_functions(tree))
        with strings_forbidden():
            return [
                _describe_flow(flow, file, imported) | {"entry": _entry(module, flow)}
                for flow in _flows(module, path)
            ]
    except FlowError as error:
        raise PythonFileError(str(path), line_passed(error, path), str(error)) from None


def _flows(module: ModuleType, path: Path) -> list[Any]:
    """The flows of the file, in order."""
    from prefect import Flow

    found = {id(one): one for one in vars(module).values() if isinstance(one, Flow)}
    own = [one for one in found.values() if one.fn.__code__.co_filename == str(path)]
    return sorted(own, key=_line)


def _line(flow: Any) -> int:
    return int(flow.fn.__code__.co_firstlineno)


def _entry(module: ModuleType, flow: Any) -> str:
    """The name of the flow in the module."""
    return next(name for name, value in vars(module).items() if value is flow)


def _describe_flow(flow: Any, file: TracedFile, imported: ImportTrace) -> Answer:
    trace = FlowTrace(flow, file, imported)
    _TRACED.append(trace)
    try:
        pipeline, losses = trace.result()
    except TooManyPaths:
        problem = f"has more than {MAX_PATHS} paths"
        fix = "combine some of its tests, or move them into a task"
        raise PythonFileError(file.path, _line(flow), problem, fix) from None
    except MisplacedBlock as error:
        problem = (
            f"a with block of {str(error)!r} is inside an if statement, but the condition is not"
        )
        raise FlowError(flow.name, problem) from None
    except ModelTypeError as error:
        raise PythonFileError(file.path, _line(flow), str(error)) from None
    except RecursionError:
        raise too_deep(file.path, _line(flow)) from None
    finally:
        _TRACED.pop()
    return {
        **describe(flow.name, _line(flow), pipeline, losses, trace.lines),
        "own_tasks": trace.own_tasks,
        "arguments": [one.name for one in trace.arguments],
    }


if __name__ == "__main__":
    serve(_import_prefect, _read)
