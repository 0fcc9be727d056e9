"""The local backend, with stand-ins for the scripts and data of a definition."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest

from sagebridge.model.expressions import Get, Join, Key, references
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.values import Value
from sagebridge.model.visit import located, nodes
from sagebridge_operators.backends import lambda_functions, local
from sagebridge_operators.backends.lambda_functions import LambdaHandler
from sagebridge_operators.backends.local import LocalBackend, lambda_api
from sagebridge_operators.backends.local.store import FolderStore
from sagebridge_operators.lifecycle.execution import job_token
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import StoreError
from tests.whole_pipelines.answers import answer, indexes, outputs
from tests.whole_pipelines.file_contents import content
from tests.whole_pipelines.scenarios import GIVEN, Scenario, scenarios
from tests.whole_pipelines.stand_ins import StandIns
from tests.whole_pipelines.trace import EXECUTION, RECORDER, label
from tests.whole_pipelines.world import GENERATIONS

HANDLER = """\
import json

OUTPUTS = json.loads({outputs!r})


def lambda_handler(event, context):
    token = context.client_context.custom["sagebridge_call"]
    return next(found for key, found in OUTPUTS.items() if key in token)
"""


class Backend(LocalBackend):
    """This machine, on which the inputs of a job appear when the job is requested."""

    def __init__(self, world: LocalWorld, home: Path) -> None:
        super().__init__(home, home)
        self.world = world
        self._registered: set[str] = set()
        self._registering = Lock()

    def client(self, service: str) -> Any:
        client = super().client(service)
        with self._registering:
            fresh = service not in self._registered
            self._registered.add(service)
        if fresh:
            events = client.meta.events
            events.register("provide-client-params", RECORDER.record)
            events.register("provide-client-params", self.world.supply)
            events.register("provide-client-params", self.world.answer_message)
        return client

    def read_object(self, uri: str) -> bytes:
        try:
            return super().read_object(uri)
        except StoreError:
            found = content(self.world.pipeline, self.world.scenario, uri)
            return json.dumps(found).encode()


@dataclass(slots=True)
class LocalWorld:
    """One scenario of one pipeline at a time, each in its own working folder."""

    monkeypatch: pytest.MonkeyPatch
    folder: Path
    pipeline: Pipeline = field(default_factory=Pipeline)
    scenario: Scenario = field(default_factory=lambda: Scenario({}))
    backend: Backend = field(init=False)
    backend_name: str = "local"
    _stand_ins: StandIns = field(init=False)
    _answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    _runs: int = 0

    def __post_init__(self) -> None:
        RECORDER.patch(self.monkeypatch)
        self.monkeypatch.setattr(local, "LocalBackend", lambda *folders: self.backend)

    def begin(self, pipeline: Pipeline, scenario: Scenario) -> ExecutionRecords:
        """An empty store and empty records for a run."""
        self._runs += 1
        self.pipeline, self.scenario = pipeline, scenario
        home = self.folder / f"home-{self._runs}"
        for name, value in {
            "SAGEBRIDGE_BACKEND": "local",
            "SAGEBRIDGE_HOME": str(home),
            "SAGEBRIDGE_RECORDS": str(home / "executions"),
        }.items():
            self.monkeypatch.setenv(name, value)
        self.backend = Backend(self, home)
        self._stand_ins = StandIns(
            FolderStore(home / "s3", home),
            _property_files(pipeline, scenario),
            _read(pipeline),
            _below_outputs(pipeline),
            _features(pipeline),
            _programs(pipeline),
            _columns(pipeline),
            [str(value) for value in _at(pipeline, "/Regex")],
            any(_at(pipeline, "/InputFilter")),
        )
        self._answer_calls()
        RECORDER.clear()
        return ExecutionRecords(Folder(home / "executions"))

    def _answer_calls(self) -> None:
        """Give each Lambda function a handler that returns the outputs of its step."""
        calls = [
            (step, index)
            for step in walk(self.pipeline)
            if step.type in ("Lambda", "Callback")
            for index in indexes(self.pipeline, step)
        ]
        uris = {getattr(one.tokens[-1], "name", "") for one in _as_uris(self.pipeline, "Steps")}
        self._answers = {
            label(step.name, index): {
                name: f"s3://given/{name}" if name in uris and value == GIVEN["String"] else value
                for name, value in outputs(
                    step, answer(self.pipeline, self.scenario, step, index)
                ).items()
            }
            for step, index in calls
        }
        by_token = {
            job_token(EXECUTION, one, step.name, index): self._answers[label(step.name, index)]
            for step, index in calls
            for one in range(GENERATIONS)
        }
        file = self.folder / f"handler-{self._runs}.py"
        file.write_text(HANDLER.format(outputs=json.dumps(by_token)))
        found = LambdaHandler(file, "lambda_handler")
        self.monkeypatch.setattr(lambda_functions, "find_handler", lambda function: found)
        self.monkeypatch.setattr(lambda_api, "find_handler", lambda function: found)

    def answer_message(self, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        """Answer the message of a Callback step, as its consumer does."""
        if model.name == "SendMessage":
            token = json.loads(params["MessageBody"])["token"]
            given = self._answers[RECORDER.step]
            Thread(target=self._succeed, args=(token, given), daemon=True).start()

    def _succeed(self, token: str, given: Mapping[str, Any]) -> None:
        # Another backend: its client does not record requests.
        sagemaker = LocalBackend(self.backend.home, self.backend.base).client("sagemaker")
        values = [{"Name": name, "Value": str(value)} for name, value in given.items()]
        for _ in range(100):
            with suppress(sagemaker.exceptions.ClientError):
                sagemaker.send_pipeline_execution_step_success(
                    CallbackToken=token, OutputParameters=values
                )
                return
            time.sleep(0.1)

    def supply(self, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        """Make what a Create request reads, before it is sent."""
        if model.name.startswith("Create"):
            self._stand_ins.supply(params)


def _property_files(pipeline: Pipeline, scenario: Scenario) -> dict[str, dict[str, str]]:
    """The content of all property files, by output and path."""
    found: dict[str, dict[str, str]] = {}
    for step in walk(pipeline):
        for file in step.property_files or ():
            text = json.dumps(content(pipeline, scenario, f"s3://b/{file.file_path}"))
            found.setdefault(str(file.output_name), {})[str(file.file_path)] = text
    return found


def _read(pipeline: Pipeline) -> list[str]:
    """The S3 URIs of the pipeline that contain no expression."""
    return sorted(
        {one for one in _values(pipeline) if isinstance(one, str) and one.startswith("s3://")}
    )


def _values(pipeline: Pipeline) -> Iterator[Value]:
    return (value for step in walk(pipeline) for each in step.values() for value in nodes(each))


def _below_outputs(pipeline: Pipeline) -> dict[str, list[str]]:
    """The files below outputs, as in ``join("/", OUTPUT, "test.csv")``."""
    found: dict[str, list[str]] = {}
    for one in _values(pipeline):
        match one:
            case Join(on="/", values=(Get(root="Steps") as source, *rest)):
                keys = [token.name for token in source.tokens if isinstance(token, Key)]
                if keys and all(isinstance(part, str) for part in rest):
                    found.setdefault(keys[0], []).append("/".join(map(str, rest)))
    return found


def _columns(pipeline: Pipeline) -> int:
    """One more than the highest number in a name such as ``_c70``, or 0."""
    names = (re.fullmatch(r"_c(\d+)", one) for one in _values(pipeline) if isinstance(one, str))
    return max((int(found[1]) for found in names if found), default=0)


def _features(pipeline: Pipeline) -> list[str]:
    """The outputs that Transform jobs read."""
    return [
        token.name
        for step in walk(pipeline)
        if step.type == "Transform"
        for value in step.values()
        for reference in references(value)
        for token in reference.tokens
        if isinstance(token, Key)
    ]


def _programs(pipeline: Pipeline) -> list[str]:
    """The names of all scripts that run from an archive."""
    names = ("sagemaker_program", "SAGEMAKER_PROGRAM")
    found = [one for name in names for one in _at(pipeline, f"/{name}")]
    return sorted({one.strip('"') for one in found if isinstance(one, str)})


def _as_uris(pipeline: Pipeline, root: str) -> list[Get]:
    """The references to parameters or steps that are S3 URIs."""
    used = _at(pipeline, "/S3Uri")
    return [one for one in used if isinstance(one, Get) and one.root == root]


def _at(pipeline: Pipeline, end: str) -> Iterator[Value]:
    """The values whose JSON pointers end so."""
    for step in walk(pipeline):
        for each in step.values():
            yield from (value for pointer, value in located(each, "") if pointer.endswith(end))


def local_scenarios(pipeline: Pipeline) -> list[Scenario]:
    """The runs of a pipeline: each condition with both outcomes, as far as values lead there.

    A parameter without a default that is used as an S3 URI gets one.
    """
    uris = {one.name for one in _as_uris(pipeline, "Parameters")}
    return [
        replace(
            one,
            parameters={
                name: f"s3://given/{name}" if name in uris and value == GIVEN["String"] else value
                for name, value in one.parameters.items()
            },
        )
        for one in scenarios(pipeline)
        if not one.ends
    ]


@contextmanager
def opened(folder: Path) -> Iterator[LocalWorld]:
    """A world, in an environment without settings of this machine."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEBRIDGE_"))]:
            if name != "SAGEBRIDGE_CORPUS":
                monkeypatch.delenv(name)
        yield LocalWorld(monkeypatch, folder)
