"""The subprocess that imports user files, each in a fork.

A format's module calls :func:`serve` when it is run with ``python -m``. The process reads
``{"files": […], "limit": seconds}`` from standard input and prints one line of JSON per file: its
``pipelines``, or an ``error`` with line, problem and fix. In its fork, a file does not see the
modules of other files, and a file that exits or blocks does not affect them. The output of files
goes to standard error.
"""

from __future__ import annotations

import ast
import gc
import importlib.util
import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn, TextIO

from sagebridge.authoring.definition_writer import definition, write_envelope
from sagebridge.errors import PythonFileError
from sagebridge.formats.python import import_inputs
from sagebridge.formats.python.file_readings import check_nesting
from sagebridge.formats.python.import_guard import ImportGuard, SideEffectError
from sagebridge.formats.python.import_inputs import ImportInput
from sagebridge.formats.python.input_effects import with_inputs
from sagebridge.formats.python.start_values import path_inputs, start_values, with_other_paths
from sagebridge.model.code_transport import code_of, settings_json, without_templates
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.schedules import stated_fields
from sagebridge.model.values import thaw

_GRACE = 5.0
"""Seconds past the limit after which a file that blocks the alarm signal is killed."""
_NO_SIDE_EFFECTS = "move this into a task; reading a file has no side effects"
Answer = dict[str, Any]
Read = Callable[[Path], list[Answer]]


class ImportTimeout(BaseException):
    """The time limit of a file is over; `except Exception` does not catch it."""


def serve(prepare: Callable[[str], None], read: Read) -> None:
    """Answer the request on standard input.

    Args:
        prepare: sets up a private engine in a folder and imports it, once for all files; raises
            ModuleNotFoundError if the engine is not installed.
        read: imports one file, in a fork, and describes its pipelines. An exception without a
            line of the file in its traceback is a bug in sagebridge.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.read())
    with tempfile.TemporaryDirectory(prefix="sagebridge-read-") as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        try:
            prepare(folder)
        except ModuleNotFoundError as error:
            print(json.dumps({"missing": error.name}), file=answers, flush=True)
            return
        # Without this, garbage collection of the imported engine takes longer than most files.
        gc.freeze()
        gc.set_threshold(100_000)
        import_inputs.install()
        for file in request["files"]:
            forks = _Forks(read, Path(file), request["limit"], folder, time.time_ns())
            print(json.dumps(with_inputs(forks.answer)), file=answers, flush=True)


def set_environment(prefixes: tuple[str, ...], settings: Mapping[str, str]) -> None:
    """Replace the settings of an engine in the environment, so that it ignores this machine's."""
    for name in [name for name in os.environ if name.startswith(prefixes)]:
        del os.environ[name]
    os.environ.update(settings)
    import_inputs.own_environment(settings)


def new_module(file: Path, **names: object) -> ModuleType:
    """The module of a file, not yet executed. It can import modules from the file's folder."""
    spec = importlib.util.spec_from_file_location(_module_name(file), file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    vars(module).update(names)
    sys.modules[spec.name] = module
    sys.path.append(str(file.parent))
    return module


def _module_name(file: Path) -> str:
    return f"sagebridge_source_{file.stem}"


def execute(module: ModuleType, file: Path, tree: ast.Module | None = None) -> None:
    """Execute a file, or its changed syntax tree, in its module."""
    try:
        source = file.read_bytes() if tree is None else tree
        code = compile(source, str(file), "exec", dont_inherit=True)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise PythonFileError(str(file), None, _import_error(error)) from error
    exec(code, vars(module))  # noqa: S102 - importing a file executes it


def describe(
    name: str, line: int, pipeline: Pipeline, losses: Iterable[Loss], lines: Mapping[str, int]
) -> Answer:
    """One pipeline of a file as JSON."""
    check_nesting("", line, pipeline.steps)
    pipeline, templates = without_templates(pipeline)
    return {
        "name": name,
        "line": line,
        "envelope": write_envelope(pipeline),
        "definition": definition(pipeline),
        "parameters": {
            one.name: {"limits": thaw(one.limits), "nullable": one.nullable}
            for one in pipeline.declared
            if one.limits or one.nullable
        },
        "code": code_of(pipeline),
        "templates": templates,
        "engine": settings_json(pipeline.engine),
        "connections": thaw(pipeline.connections),
        "schedules": [stated_fields(one) for one in pipeline.schedules],
        "event_triggers": [stated_fields(one) for one in pipeline.event_triggers],
        "losses": [loss.as_json() for loss in losses],
        "lines": lines,
    }


def line_passed(error: BaseException, file: Path) -> int | None:
    """The innermost line of the file in a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    return lines[-1] if lines else None


@dataclass(frozen=True, slots=True)
class _Forks:
    """Readings of one file, each in a child process.

    ``limit`` is the time limit of a reading in seconds; ``start`` is the time for the file's clock
    in nanoseconds.
    """

    read: Read
    file: Path
    limit: float
    scratch: str
    start: int

    def answer(self, varied: Collection[str] = ()) -> Answer:
        """The answer of a child process, with other values for the inputs in ``varied``."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._write(varied, os.fdopen(writing, "w", encoding="ascii"))
        os.close(writing)
        text, in_time = _receive(reading, self.limit + _GRACE)
        os.close(reading)
        if not in_time:
            os.kill(child, signal.SIGKILL)
        status = _exit_status(child)
        if not in_time:
            return _error(None, f"takes more than {self.limit:g} s to import")
        if not text:
            code = os.waitstatus_to_exitcode(status)
            end = f"signal {-code}" if code < 0 else f"exit code {code}"
            return _error(None, f"ended its import process ({end})")
        answer: Answer = json.loads(with_other_paths(text, self.file, varied))
        return answer

    def _write(self, varied: Collection[str], answers: TextIO) -> NoReturn:
        """Run the child. It ends with ``_exit``, so that no exit handler of the file runs."""
        try:
            text = json.dumps(self._answer(varied))
        except BaseException:  # noqa: BLE001 - a bug in sagebridge; the parent raises it
            text = json.dumps({"bug": traceback.format_exc()})
        answers.write(text)
        answers.flush()
        os._exit(0)

    def _answer(self, varied: Collection[str]) -> Answer:
        sys.dont_write_bytecode = True
        sys.argv = [str(self.file)]
        guard = ImportGuard(self.file, self.scratch)
        inputs = import_inputs.record(self.file, self.start, varied)
        try:
            with _time_limit(self.limit):
                guard.install()
                pipelines = self.read(self.file)
        except ImportTimeout as error:
            problem = f"takes more than {self.limit:g} s to import"
            return _error(line_passed(error, self.file), problem)
        except PythonFileError as error:
            return _error(error.line, error.problem, error.fix)
        except SyntaxError as error:
            own = error.filename == str(self.file)
            line = error.lineno if own else line_passed(error, self.file)
            return _error(line, f"is not valid Python: {error.msg}")
        except BaseException as error:
            if (line := line_passed(error, self.file)) is None:
                raise
            return _failure(error, line, guard.refused, inputs.values())
        inputs |= path_inputs(self.file, json.dumps(pipelines))
        return {
            "pipelines": [_with_refusals(one, guard.refused) for one in pipelines],
            "inputs": {key: asdict(one) for key, one in inputs.items()},
            "starts": self._starts(inputs),
        }

    def _starts(self, inputs: Mapping[str, ImportInput]) -> list[Answer]:
        names = vars(sys.modules[_module_name(self.file)])
        with suppress(ImportTimeout), _time_limit(self.limit):
            return [asdict(one) for one in start_values(self.file, names, inputs)]
        return []


def _exit_status(child: int) -> int:
    """The exit status of a child, which is killed if it does not exit by itself."""
    until = time.monotonic() + _GRACE
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        if time.monotonic() > until:  # it closed its pipe and blocks signals
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)


def _receive(pipe: int, seconds: float) -> tuple[str, bool]:
    parts: list[bytes] = []
    deadline = time.monotonic() + seconds
    while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(pipe, 1 << 16)
        if not part:
            return b"".join(parts).decode("ascii"), True
        parts.append(part)
    return "", False


def _failure(
    error: BaseException, line: int, refused: Mapping[str, int], inputs: Iterable[ImportInput]
) -> Answer:
    """The error of an import that raises, perhaps because of a refusal or a missing input."""
    for cause in _causes(error):
        if isinstance(cause, SideEffectError):
            return _error(cause.line or line, *_problem_and_fix(cause))
    problem, fix = _problem_and_fix(error)
    if refused:
        # Libraries such as botocore report a refusal as another error.
        what, first = next(iter(refused.items()))
        if first == line:
            return _error(line, f"{what} on import", _NO_SIDE_EFFECTS)
        fix = f"line {first} {what} on import; {_NO_SIDE_EFFECTS}"
    for one in inputs:
        if one.missing and one.line == line:
            return _error(line, f"needs {one.what} on import", one.fix)
    return _error(line, problem, fix)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that it was raised from or during, the latest first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _with_refusals(pipeline: Answer, refused: Mapping[str, int]) -> Answer:
    """The pipeline with a loss for each refused access that the file or a library caught."""
    reported = {loss["place"] for loss in pipeline["losses"]}
    losses = [
        Loss(
            "import-access",
            "changed",
            str(line),
            f"the file {what} on import, which reading prevents; it continues without the result",
            "pipeline",
            "move this into a task, or write the result into the file",
        ).as_json()
        for what, line in refused.items()
        if str(line) not in reported
    ]
    return {**pipeline, "losses": [*losses, *pipeline["losses"]]}


def _problem_and_fix(error: BaseException) -> tuple[str, str]:
    """The problem and the fix for an exception raised by an import."""
    match error:
        case ModuleNotFoundError(name=name):
            fix = "install it in this environment, or add its folder to PYTHONPATH"
            return f"needs the module {name!r}, which is not installed", fix
        case SideEffectError():
            return f"{error} on import", _NO_SIDE_EFFECTS
        case SystemExit():
            return "exits the program on import", ""
    return _import_error(error), ""


def _import_error(error: BaseException) -> str:
    return f"raised on import: {type(error).__name__}: {error}".rstrip(": ")


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def over(signum: int, frame: FrameType | None) -> None:
        raise ImportTimeout

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _error(line: int | None, problem: str, fix: str = "") -> Answer:
    return {"error": {"line": line, "problem": problem, "fix": fix}}
