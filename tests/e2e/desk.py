"""Run the command line as a user does, in a separate folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import psutil

from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.attempts import execution_of

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ENGINE = "airflow" if find_spec("airflow") else "prefect"
"""The engine of this environment; each environment has one."""
MARK = "SAGEBRIDGE_TEST_MARK"
RUNS_WITHIN = 200.0
"""Seconds; a run takes about 25 on an idle machine."""

_PTY_SCRIPT = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""
_T = TypeVar("_T")


@dataclass
class RunningCommand:
    """A started command; ``mark`` is in the environment of all its processes."""

    process: subprocess.Popen[bytes]
    file: Path
    mark: str

    @property
    def stdout(self) -> str:
        return self.file.read_text()

    @property
    def output(self) -> str:
        """Standard error, then standard output."""
        return self.file.with_suffix(".err").read_text() + self.stdout

    def wait_for(self, pattern: str, seconds: float = RUNS_WITHIN) -> str:
        """Wait until the output matches a pattern and return its first group."""

        def found() -> str:
            match = re.search(pattern, self.output)
            assert match or self.process.poll() is None, f"ended:\n{self.output}"
            return match[1] if match else ""

        return eventually(found, seconds)

    @property
    def execution(self) -> str:
        return self.wait_for(r"execution (\w{12})")

    def type(self, keys: bytes) -> None:
        """Type on the terminal of the command."""
        assert self.process.stdin is not None
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def wait(self, seconds: float = RUNS_WITHIN) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running:\n{self.output}") from None

    def end(self) -> None:
        """End the command and all its processes, even after a failed test."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        for left in marked(self.mark):
            left.kill()


@dataclass
class Desk:
    """A folder to run commands in; their working folder is ``.sagebridge``.

    ``programs`` is the folder of ``sagebridge`` in an environment that has ``engine``.
    """

    folder: Path
    engine: str = ENGINE
    programs: Path = BIN
    started: list[RunningCommand] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / ".sagebridge"

    @property
    def records(self) -> ExecutionRecords:
        return ExecutionRecords(Folder(self.home / "executions"))

    @property
    def sagemaker(self) -> Any:
        return LocalBackend(self.home, self.folder).client("sagemaker")

    def execution(self, run: str) -> str:
        """The id of an execution, from the engine's name of its run."""
        return execution_of(self.records, run)

    def stored(self, uri: str) -> Path:
        """The file of an ``s3://`` URI."""
        return self.home / "s3" / uri.removeprefix("s3://")

    def start(
        self, *words: str | Path, env: Mapping[str, str] | None = None, terminal: bool = False
    ) -> RunningCommand:
        """Start a command, optionally on its own ``terminal``, which is then its input."""
        around = (sys.executable, "-c", _PTY_SCRIPT) if terminal else ()
        mark = uuid.uuid4().hex
        file = self.folder / f"{mark}.out"
        with file.open("wb") as output, file.with_suffix(".err").open("wb") as errors:
            process = subprocess.Popen(
                [*around, str(self.programs / "sagebridge"), *map(str, words)],
                cwd=self.folder,
                env=_environment() | {MARK: mark} | dict(env or {}),
                stdin=subprocess.PIPE if terminal else subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        running = RunningCommand(process, file, mark)
        self.started.append(running)
        return running

    def run(self, source: Path, *words: str | Path, terminal: bool = False) -> RunningCommand:
        """Start ``sagebridge run`` on the engine with the local backend."""
        on = ("--on", self.engine, "--backend", "local")
        return self.start("run", source, *on, *words, terminal=terminal)

    def type(
        self, *words: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a short command to completion."""
        return subprocess.run(
            [str(self.programs / "sagebridge"), *map(str, words)],
            cwd=self.folder,
            env=_environment() | dict(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def show(self, execution: str) -> Any:
        """The output of ``executions show``, with the steps by name."""
        shown = self.type("executions", "show", execution, "--format", "json")
        assert shown.returncode == 0, shown.stderr
        view = json.loads(shown.stdout)
        return view | {"steps": {step["name"]: step for step in view["steps"]}}

    def write(self, name: str, content: object) -> Path:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path


def _environment() -> dict[str, str]:
    """The environment of a fresh shell, without variables of the tests or the developer."""
    foreign = ("AIRFLOW_", "PREFECT_", "SAGEBRIDGE_", "PYTHONDONTWRITEBYTECODE")
    return {
        name: value
        for name, value in os.environ.items()
        if name == "SAGEBRIDGE_TEST_SESSION" or not name.startswith(foreign)
    }


def marked(mark: str) -> list[psutil.Process]:
    """The processes with a mark in their environment or command line."""
    found = []
    for process in psutil.process_iter():
        try:
            known = process.environ().get(MARK) == mark or mark in " ".join(process.cmdline())
            if known and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def eventually(ask: Callable[[], _T | None], seconds: float = 60.0) -> _T:
    """Wait for the first true result of ``ask`` and return it."""
    until = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < until, f"not within {seconds:g} s: {answer!r}"
        time.sleep(0.2)
    return answer
