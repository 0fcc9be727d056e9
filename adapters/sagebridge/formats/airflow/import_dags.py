"""Imports DAG files in a process of their own and prints the pipelines that their DAGs make.

``python -m sagebridge.formats.airflow.import_dags`` reads ``{"files": […], "limit": seconds}`` from
standard input and answers with one line of JSON a file: its ``dags``, or an ``error`` with line,
problem and what to do. Each file is imported in a fork, so that none sees another's modules, and
what a file prints goes to standard error.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import Any, NoReturn, TextIO

from sagebridge.authoring.definition_writer import definition, write_envelope
from sagebridge.formats.python.import_guard import Refused, watch
from sagebridge.model.code_steps import code_of
from sagebridge.model.expressions import no_texts

_GRACE = 5.0
"""Seconds past the limit after which a file that does not let itself be interrupted is killed."""
_NO_DAG = (
    "bind a DAG to a name of the module, open it in `with DAG(…)`, or call the function that @dag "
    "decorates"
)
Outcome = dict[str, Any]


class TooLong(BaseException):
    """The time limit of one file is over; no `except Exception` of the file swallows it."""


class Places:
    """The line of a DAG file on which each DAG and task was made."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)
        self.made: list[Any] = []
        self._instructions: dict[int, tuple[CodeType, int]] = {}
        self._lines: dict[CodeType, tuple[list[int], list[int | None]]] = {}

    def line(self, item: object) -> int:
        """The innermost line of the file that made ``item``; 1 where it came from elsewhere."""
        if id(item) not in self._instructions:
            return 1
        code, instruction = self._instructions[id(item)]
        if code not in self._lines:
            spans = [(start, line) for start, _, line in code.co_lines()]
            self._lines[code] = [start for start, _ in spans], [line for _, line in spans]
        starts, lines = self._lines[code]
        return lines[bisect_right(starts, instruction) - 1] or 1

    def note(self, item: object) -> None:
        """Keeps the instruction: a frame finds its line by a walk over all its code."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self.file:
            frame = frame.f_back
        if frame is not None:
            self._instructions[id(item)] = frame.f_code, frame.f_lasti

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Has Airflow tell of each DAG and task that is made, in time that grows with their number.

        Airflow's own hash of a DAG, taken at each edge, goes through all its tasks.
        """
        from airflow import sdk

        DAG: Any = sdk.DAG  # noqa: N806 - a class
        begin, add, hashed = DAG.__attrs_post_init__, DAG.add_task, DAG.__hash__

        def begun(dag: Any) -> None:
            self.note(dag)
            self.made.append(dag)
            begin(dag)

        def added(dag: Any, task: Any) -> None:
            self.note(task)
            add(dag, task)

        DAG.__attrs_post_init__, DAG.add_task, DAG.__hash__ = begun, added, object.__hash__
        try:
            yield
        finally:
            DAG.__attrs_post_init__, DAG.add_task, DAG.__hash__ = begin, add, hashed


def main() -> int:
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.read())
    with tempfile.TemporaryDirectory(prefix="sagebridge-read-") as folder:
        _own_airflow(folder)
        try:
            _warm()
        except ModuleNotFoundError as error:
            print(json.dumps({"missing": error.name}), file=answers, flush=True)
            return 0
        # Going through what is imported by now, again and again, takes longer than a file does.
        gc.freeze()
        gc.set_threshold(100_000)
        for file in asked["files"]:
            outcome = _forked(Path(file), asked["limit"], Path(folder))
            print(json.dumps(outcome), file=answers, flush=True)
    return 0


def _warm() -> None:
    """Imports, once for all the forks, what making and reading a DAG takes.

    Raises ModuleNotFoundError where Airflow is not installed.
    """
    from airflow.sdk import DAG

    from sagebridge.formats.airflow import dag_reader  # noqa: F401

    with suppress(ImportError):
        importlib.import_module("sagebridge_operators.airflow")
    DAG("warm", schedule=None)


def _own_airflow(home: str) -> None:
    """A private, empty Airflow: no configuration, database or DAGs of this machine are used."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW__")]:
        del os.environ[name]
    os.environ.pop("AIRFLOW_CONFIG", None)
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "TMPDIR": home,
        "_AIRFLOW__AS_LIBRARY": "1",
    }


def _forked(file: Path, limit: float, scratch: Path) -> Outcome:
    """What one file holds, found out in a child process that cannot outlive the time limit."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(file, limit, scratch, os.fdopen(writing, "w", encoding="ascii"))
    os.close(writing)
    text, in_time = _received(reading, limit + _GRACE)
    os.close(reading)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not in_time:
        return _error(None, f"takes more than {limit:g} s to import")
    if not text:
        code = os.waitstatus_to_exitcode(status)
        end = f"signal {-code}" if code < 0 else f"exit code {code}"
        return _error(None, f"ended the process that imported it ({end})")
    outcome: Outcome = json.loads(text)
    return outcome


def _received(pipe: int, seconds: float) -> tuple[str, bool]:
    parts: list[bytes] = []
    deadline = time.monotonic() + seconds
    while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(pipe, 1 << 16)
        if not part:
            return b"".join(parts).decode("ascii"), True
        parts.append(part)
    return "", False


def _answer(file: Path, limit: float, scratch: Path, answers: TextIO) -> NoReturn:
    """The child's whole life. It leaves by ``_exit``: no exit handler of the file's runs."""
    try:
        text = json.dumps(_outcome(file, limit, scratch))
    except BaseException:  # noqa: BLE001 - a fault of ours, which the process that asked raises
        text = json.dumps({"bug": traceback.format_exc()})
    answers.write(text)
    answers.flush()
    os._exit(0)


def _outcome(file: Path, limit: float, scratch: Path) -> Outcome:
    tempfile.tempdir = str(scratch)
    sys.dont_write_bytecode = True
    sys.argv = [str(file)]
    places = Places(file)
    try:
        with _time_limit(limit):
            watch(scratch)
            with places.noted(), no_texts():
                module, registered = _imported(file)
    except TooLong as error:
        return _error(_line(error.__traceback__, file), f"takes more than {limit:g} s to import")
    except SyntaxError as error:
        line = error.lineno if error.filename == str(file) else _line(error.__traceback__, file)
        return _error(line, f"is no Python that can be read: {error.msg}")
    except ModuleNotFoundError as error:
        return _error(
            _line(error.__traceback__, file),
            f"importing it needs the module {error.name!r}",
            "install it in this environment, or add its folder to PYTHONPATH",
        )
    except Refused as error:
        return _error(
            _line(error.__traceback__, file),
            f"{error} while it is imported",
            "reading a file starts and changes nothing: do this in a task",
        )
    except SystemExit:
        return _error(_line(sys.exc_info()[2], file), "ends the program while it is imported")
    except BaseException as error:  # noqa: BLE001 - whatever the file raises is the answer
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        return _error(_line(error.__traceback__, file), f"raised on import: {what}")
    bound = {id(item) for item in (*vars(module).values(), *registered)}
    dags = [dag for dag in places.made if id(dag) in bound]
    if not dags:
        return _error(None, "holds no DAG", _NO_DAG)
    return {"dags": [_described(dag, places) for dag in dags]}


def _described(dag: Any, places: Places) -> Outcome:
    from sagebridge.formats.airflow.dag_reader import read_dag

    pipeline, losses, lines = read_dag(dag, places)
    return {
        "dag_id": dag.dag_id,
        "line": places.line(dag),
        "envelope": write_envelope(pipeline),
        "definition": definition(pipeline),
        "code": code_of(pipeline),
        "losses": [loss.as_json() for loss in losses],
        "lines": lines,
    }


def _imported(file: Path) -> tuple[ModuleType, list[Any]]:
    """The module, and the DAGs that Airflow registers because they were opened by ``with``."""
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    name = f"sagebridge_source_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.append(str(file.parent))
    DagContext.current_autoregister_module_name = name
    try:
        spec.loader.exec_module(module)
    finally:
        DagContext.current_autoregister_module_name = None
    return module, [dag for dag, owner in DagContext.autoregistered_dags if owner is module]


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def over(signum: int, frame: FrameType | None) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _line(trace: TracebackType | None, file: Path) -> int | None:
    """The innermost line of the file that an exception passed."""
    lines = [frame.lineno for frame in traceback.extract_tb(trace) if frame.filename == str(file)]
    return lines[-1] if lines else None


def _error(line: int | None, problem: str, fix: str = "") -> Outcome:
    return {"error": {"line": line, "problem": problem, "fix": fix}}


if __name__ == "__main__":
    sys.exit(main())
