"""Imports a flow file in a process of its own and prints the pipelines that its flows make.

``python -m sagebridge.formats.prefect.import_flows FILE`` answers with one line of JSON: the
``flows`` of the file, or an ``error`` with line, problem and what to do. What the file prints goes
to standard error; no Prefect server is started or spoken to.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import Any, NoReturn

from sagebridge.authoring.definition_writer import definition, write_envelope
from sagebridge.errors import FlowError
from sagebridge.formats.prefect.tracing import prefect_answers, trace_helpers
from sagebridge.formats.prefect.tracing.flow_trace import WAYS, FlowTrace, TooManyWays
from sagebridge.formats.prefect.tracing.path_merging import OutOfReach
from sagebridge.formats.prefect.tracing.source_rewriting import HELPERS, raise_lines, rewritten
from sagebridge.formats.prefect.tracing.task_calls import File
from sagebridge.formats.python.import_guard import Refused, watch
from sagebridge.model.code_steps import code_of
from sagebridge.model.expressions import no_texts

LIMIT = 60.0
"""Seconds that one file may take."""
Outcome = dict[str, Any]


class TooLong(BaseException):
    """The time limit is over; no `except Exception` of the file swallows it."""


def main() -> NoReturn:
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="sagebridge-read-") as folder:
        _own_prefect(folder)
        try:
            outcome = _outcome(Path(sys.argv[1]), Path(folder))
        except BaseException:  # noqa: BLE001 - a fault of ours, which the process that asked raises
            outcome = {"bug": traceback.format_exc()}
        print(json.dumps(outcome), file=answers, flush=True)
        _emptied(Path(folder))
    # No exit handler of the file's runs.
    os._exit(0)


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)


def _own_prefect(home: str) -> None:
    """A private, empty Prefect: no profile, server or block of this machine is used."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ |= {
        "DO_NOT_TRACK": "1",
        "HOME": home,
        "PREFECT_HOME": home,
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "TMPDIR": home,
    }
    tempfile.tempdir = home
    sys.dont_write_bytecode = True


def _outcome(path: Path, scratch: Path) -> Outcome:
    try:
        import prefect  # noqa: F401
    except ModuleNotFoundError as error:
        return {"missing": error.name}
    traced: list[FlowTrace] = []
    prefect_answers.replace(traced)
    signal.signal(signal.SIGALRM, _over)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    watch(scratch)
    sys.argv = [str(path)]
    try:
        tree = ast.parse(path.read_bytes(), str(path))
        file = File(str(path), raise_lines(tree))
        module = _imported(path, rewritten(tree))
        with no_texts():
            flows = [
                _described(flow, file, traced) | {"entry": _entry(module, flow)}
                for flow in _flows(module, path)
            ]
    except TooLong as error:
        return _error(_line(error.__traceback__, path), f"takes more than {LIMIT:g} s to trace")
    except SyntaxError as error:
        return _error(error.lineno, f"is no Python that can be read: {error.msg}")
    except ModuleNotFoundError as error:
        return _error(
            _line(error.__traceback__, path),
            f"importing it needs the module {error.name!r}",
            "install it in this environment, or add its folder to PYTHONPATH",
        )
    except Refused as error:
        return _error(
            _line(error.__traceback__, path),
            f"{error} while it is imported",
            "reading a file starts and changes nothing: do this in a task",
        )
    except FlowError as error:
        return _error(_line(error.__traceback__, path), str(error))
    except _Ways as error:
        return _error(
            error.line,
            f"there are more than {WAYS} ways through it",
            "put some of its tests into one, or into a task",
        )
    except SystemExit:
        return _error(_line(sys.exc_info()[2], path), "ends the program while it is imported")
    except BaseException as error:
        if (line := _line(error.__traceback__, path)) is None:
            raise
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        return _error(line, f"raised on import: {what}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {"flows": flows}


class _Ways(Exception):
    def __init__(self, line: int) -> None:
        self.line = line
        super().__init__()


def _over(signum: int, frame: FrameType | None) -> None:
    raise TooLong


def _imported(path: Path, tree: ast.Module) -> ModuleType:
    module = ModuleType(f"sagebridge_source_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    sys.path.append(str(path.parent))
    setattr(module, HELPERS, trace_helpers)
    code = compile(tree, str(path), "exec", dont_inherit=True)
    exec(code, vars(module))  # noqa: S102 - what importing does
    return module


def _flows(module: ModuleType, path: Path) -> list[Any]:
    """The flows that the file makes, in its order."""
    from prefect import Flow

    found = {id(one): one for one in vars(module).values() if isinstance(one, Flow)}
    own = [one for one in found.values() if one.fn.__code__.co_filename == str(path)]
    return sorted(own, key=lambda flow: int(flow.fn.__code__.co_firstlineno))


def _entry(module: ModuleType, flow: Any) -> str:
    """What the file calls the flow."""
    return next(name for name, value in vars(module).items() if value is flow)


def _described(flow: Any, file: File, traced: list[FlowTrace]) -> Outcome:
    trace = FlowTrace(flow, file)
    traced.append(trace)
    line = int(flow.fn.__code__.co_firstlineno)
    try:
        pipeline, losses = trace.result()
    except TooManyWays:
        raise _Ways(line) from None
    except OutOfReach as error:
        problem = f"a block of {str(error)!r} stands in another test than that condition"
        raise FlowError(flow.name, problem) from None
    finally:
        traced.pop()
    return {
        "name": flow.name,
        "line": line,
        "envelope": write_envelope(pipeline),
        "definition": definition(pipeline),
        "code": code_of(pipeline),
        "losses": [loss.as_json() for loss in losses],
        "lines": trace.lines,
        "own_tasks": trace.own_tasks,
        "arguments": [one.name for one in trace.taken if one.argument is not None],
    }


def _line(trace: TracebackType | None, file: Path) -> int | None:
    """The innermost line of the file that an exception passed."""
    lines = [frame.lineno for frame in traceback.extract_tb(trace) if frame.filename == str(file)]
    return lines[-1] if lines else None


def _error(line: int | None, problem: str, fix: str = "") -> Outcome:
    return {"error": {"line": line, "problem": problem, "fix": fix}}


if __name__ == "__main__":
    main()
