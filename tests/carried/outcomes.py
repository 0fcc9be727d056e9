"""Runs a file and its translation on both engines, and compares what happened."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from tests.carried.scenarios import Scenario
from tests.carried.services import Aws, aws_server

REPOSITORY = Path(__file__).parent.parent.parent
ENVIRONMENTS = {
    engine: REPOSITORY / ".venvs" / engine / "bin" / "python" for engine in ("airflow", "prefect")
}
PROGRAMS = {"airflow": "tests.carried.run_dag", "prefect": "tests.carried.run_flow"}
OTHER = {"airflow": "prefect", "prefect": "airflow"}
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IDS = ("ClientRequestToken", "ClientToken", "clientToken", "MessageId", "ResponseMetadata")


class RunError(Exception):
    """A program of an environment did not answer; the text is the end of its output."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: its state, its tasks or steps, calls that change something, and contents.

    ``started`` has the runs of other pipelines that it started, with their parameters.
    """

    state: str
    tasks: Mapping[str, Sequence[Mapping[str, Any]]]
    steps: Mapping[str, Sequence[Mapping[str, Any]]]
    calls: Sequence[Any]
    contents: Mapping[str, Any]
    started: Sequence[Any] = ()
    message: str = ""

    def differences(self, original: Outcome, parts: Mapping[str, Any]) -> Iterator[str]:
        """How the run of a translation differs from that of the original."""
        if original.state != self.state:
            yield f"the run {self.state}, not {original.state}: {self.message}"
        for task, runs in original.tasks.items():
            steps = parts["steps"].get(task, ())
            if not steps:
                if task not in parts["in_place"]:
                    yield f"{task}: has no step"
                continue
            entries = [one for step in steps for one in _runs_of(self, step)]
            if not entries:  # a loop without items
                loops = {parts["loops"].get(step) for step in steps} - {None}
                ended = [one for loop in loops for one in self.steps.get(loop, ())]
                entries = [{"state": one["state"]} for one in ended]
            if task in parts["in_place"]:
                continue
            if not any(one["state"] == "skipped" for one in runs):
                # A flow does not call the tasks of a branch that it does not take.
                entries = [one for one in entries if one["state"] != "skipped"]
            before = sorted(_shown(one, results=False) for one in runs)
            after = sorted(_shown(one, results=False) for one in entries)
            if before != after:
                yield f"{task}: {after or 'did not run'}, not {before}"
                continue
            before = sorted(_shown(one) for one in runs)
            after = sorted(_shown(one) for one in entries)
            # Prefect does not keep the results of a flow with persist_result=False.
            is_kept = not any("result" not in one and "message" in one for one in runs)
            if before != after and is_kept and task not in parts["without_result"]:
                yield f"{task}: {after}, not {before}"
        for name in sorted(original.contents.keys() | self.contents.keys()):
            wrote, writes = (one.contents.get(name) for one in (original, self))
            if wrote != writes:
                yield f"{name}: {writes!r}, not {wrote!r}"
        if original.started != self.started:
            yield f"started: {self.started}, not {original.started}"
        wanted, made = (
            sorted(
                json.dumps(one, sort_keys=True) for one in outcome.calls if not _is_job_call(one)
            )
            for outcome in (original, self)
        )
        if wanted != made:
            extra = [one for one in made if one not in wanted]
            lacking = [one for one in wanted if one not in made]
            yield f"calls: more: {extra}; missing: {lacking}"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where files are translated and run: a folder, the services, and a program per engine.

    A program may take ``limit`` seconds to answer.
    """

    folder: Path
    aws: Aws
    limit: int = 200
    programs: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    def run(
        self,
        engine: str,
        file: Path,
        scenario: Scenario,
        *,
        name: str | None,
        date: datetime | None = None,
    ) -> Outcome:
        """Run a file on its engine, with fresh services; by default at a new date."""
        self.aws.reset()
        if scenario.setup is not None:
            scenario.setup(self.aws)
        self._write_files(scenario)
        number = next(self.numbers)
        records = self.folder / f"records-{number}"
        records.mkdir()
        environment = {
            **self.aws.environment,
            **scenario.environment,
            "SAGEBRIDGE_RECORDS": str(records),
            "SAGEBRIDGE_BACKEND": "aws",
            "PATH": f"{self._programs()}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
            **{f"AIRFLOW_VAR_{key.upper()}": one for key, one in scenario.variables.items()},
            **{f"AIRFLOW_CONN_{key.upper()}": one for key, one in scenario.connections.items()},
        }
        request = {
            "file": str(file),
            "name": name,
            "date": (date or self.date(scenario)).isoformat(),
            "parameters": dict(scenario.parameters),
            "variables": dict(scenario.variables),
            "blocks": list(scenario.blocks),
            "answers": dict(scenario.answers),
            "additions": dict(scenario.additions),
            "others": list(scenario.others),
            "environment": environment,
        }
        found = self.ask(engine, request)
        ids = found["run_ids"]
        return Outcome(
            found["state"],
            _neutral(found["tasks"], ids),
            _neutral(found["steps"], ids),
            _neutral(found["calls"], ids),
            _neutral(self._contents(), ids),
            _neutral(found["started"], ids),
            found.get("message", ""),
        )

    def prepared(self, file: Path, scenario: Scenario) -> Path:
        """The file of a scenario, with its replaced text."""
        if not scenario.replaced:
            return file
        text = file.read_text()
        for old, new in scenario.replaced.items():
            assert old in text, old
            text = text.replace(old, new.replace("{files}", str(self.folder / "files")))
        copied = self.folder / file.parent.name / file.name
        copied.parent.mkdir(exist_ok=True)
        copied.write_text(text)
        return copied

    def _write_files(self, scenario: Scenario) -> None:
        shutil.rmtree(self.folder / "files", ignore_errors=True)
        for name, text in scenario.files.items():
            path = self.folder / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def _contents(self) -> dict[str, Any]:
        """What the services and the folder of files have."""
        files = sorted(one for one in (self.folder / "files").rglob("*") if one.is_file())
        there = {one.relative_to(self.folder).as_posix(): one.read_text() for one in files}
        return {**self.aws.contents(), **there}

    def date(self, scenario: Scenario) -> datetime:
        """A date of one run: two runs of a DAG need different ones."""
        return datetime.fromisoformat(scenario.date) + timedelta(seconds=next(self.numbers))

    def _programs(self) -> Path:
        """A folder with an AWS CLI that only prints its arguments."""
        program = self.folder / "bin" / "aws"
        if not program.exists():
            program.parent.mkdir(exist_ok=True)
            program.write_text('#!/bin/sh\necho "aws $*"\n')
            program.chmod(0o755)
        return program.parent

    def ask(self, engine: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of the program of an engine, which is started when it is first needed."""
        if engine not in self.programs:
            self.programs[engine] = self._start(engine)
        program = self.programs[engine]
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(json.dumps(request) + "\n")
        program.stdin.flush()
        if not select.select([program.stdout], [], [], self.limit)[0]:
            self.stop(engine)
            raise RunError(f"no answer in {self.limit} s: {self._log(engine)}")
        line = program.stdout.readline()
        if not line:
            self.stop(engine)
            raise RunError(self._log(engine))
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise RunError(found["error"])
        return found

    def stop(self, engine: str) -> None:
        """End the program of an engine, with its server."""
        program = self.programs.pop(engine)
        assert program.stdin is not None
        program.stdin.close()
        try:
            program.wait(30)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()

    def _start(self, engine: str) -> subprocess.Popen[str]:
        # Python imports sitecustomize at its start, also in a virtual environment of a task.
        startup = self.folder / "startup" / "sitecustomize.py"
        startup.parent.mkdir(exist_ok=True)
        startup.write_text("import random\nrandom.choice = lambda items: items[0]\n")
        roots = (REPOSITORY / "adapters", REPOSITORY / "operators", REPOSITORY, startup.parent)
        home = self.folder / f"airflow-{next(self.numbers)}"
        environment = {
            **{key: one for key, one in os.environ.items() if not key.startswith("AIRFLOW_")},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "TMPDIR": str(self.folder),
            "PYTHONPATH": os.pathsep.join(map(str, roots)),
        }
        with (self.folder / f"log-{engine}.txt").open("w") as log:
            return subprocess.Popen(
                [str(ENVIRONMENTS[engine]), "-m", PROGRAMS[engine]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                cwd=REPOSITORY,
            )

    def _log(self, engine: str) -> str:
        return (self.folder / f"log-{engine}.txt").read_text()[-3000:]

    def translate(self, engine: str, file: Path, name: str | None) -> tuple[Path, Any]:
        """The translated file, and the step of each task."""
        parts = self.ask(engine, {"file": str(file), "name": name, "to": OTHER[engine]})
        folder = self.folder / f"to-{OTHER[engine]}"
        folder.mkdir(exist_ok=True)
        written = folder / f"{file.stem}.py"
        written.write_text(parts["text"])
        return written, parts

    def differences(self, engine: str, file: Path, scenario: Scenario) -> list[str]:
        """How the translation of a file behaves differently from the file itself."""
        file, date = self.prepared(file, scenario), self.date(scenario)
        original = self.run(engine, file, scenario, name=scenario.name, date=date)
        if (original.state == "failed") != scenario.fails:
            return [f"the original {original.state}: {original.message} {original.tasks}"]
        written, parts = self.translate(engine, file, scenario.name)
        losses = [one for one in parts["losses"] if ": info: " not in one]
        translated = self.run(OTHER[engine], written, scenario, name=None, date=date)
        found = [*translated.differences(original, parts)]
        messages = (
            f"step {step}: {one['message']}"
            for step, ended in translated.steps.items()
            for one in ended
            if one.get("message")
        )
        return [*found, *messages, *losses] if found else []


@contextmanager
def open_desk(limit: int = 200) -> Iterator[Desk]:
    """A desk in a temporary folder; its programs end with it."""
    with tempfile.TemporaryDirectory(prefix="sagebridge-carried-") as folder, aws_server() as aws:
        desk = Desk(Path(folder), aws, limit)
        try:
            yield desk
        finally:
            for engine in list(desk.programs):
                desk.stop(engine)


def engine_of(file: Path) -> str:
    return "prefect" if file.parent.name == "flows" else "airflow"


def _runs_of(translated: Outcome, step: str) -> Sequence[Mapping[str, Any]]:
    """The runs of a step; a step that did not start has only the engine's state."""
    found = translated.steps.get(step)
    shown = [
        one
        for task, runs in translated.tasks.items()
        for one in runs
        if step in (task, task.rpartition(".")[2], one.get("name"))
    ]
    return found or [{"state": one["state"]} for one in shown]


def _shown(entry: Mapping[str, Any], *, results: bool = True) -> str:
    if not results:
        return str(entry["state"])
    # A record keeps 2.0 as 2.
    text = json.dumps(entry.get("result"), sort_keys=True)
    return f"{entry['state']} {re.sub(r'(?<=[0-9])[.]0(?![0-9])', '', text)}"


def _is_job_call(call: Sequence[Any]) -> bool:
    """Whether a call names its request after the engine: such jobs have generated names."""
    return str(call[0]).startswith(("sagemaker.", "emr."))


def _neutral(value: Any, run_ids: Sequence[str]) -> Any:
    """A value without the ids of a run and without times of now."""
    text = json.dumps(value, default=str)
    for one in sorted(run_ids, key=len, reverse=True):
        text = text.replace(json.dumps(one)[1:-1], "RUN")
        if _UUID.fullmatch(one):  # names often have the start of the id
            text = text.replace(one[:8], "RUN")
    text = re.sub(r"(sagebridge-carried-\w+/\w+-)\w+", r"\1TEMPORARY", text)
    return _without_ids(json.loads(text))


def _without_ids(value: Any) -> Any:
    """A value without the ids and headers of AWS answers."""
    if isinstance(value, list):
        return [_without_ids(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_ids(item) for key, item in value.items() if key not in _IDS}
    return value
