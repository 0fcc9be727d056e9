"""The faulty AWS without faults, with the objects and answers that a scenario needs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

import sagebridge
from sagebridge.model.conditions import equals
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.step_types import STEP_TYPES
from sagebridge_operators.backends.aws import AwsBackend, client_config, config_of
from sagebridge_operators.lifecycle import condition_step
from sagebridge_operators.lifecycle.execution import job_token
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.run_errors import StoreError
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.callback import RESPONSE_QUEUE
from tests.clock import Clock
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.server import FaultyAws
from tests.standard.world import patch_time
from tests.whole_pipelines.answers import answer, indexes, outputs
from tests.whole_pipelines.file_contents import content
from tests.whole_pipelines.scenarios import (
    Scenario,
)
from tests.whole_pipelines.trace import EXECUTION, RECORDER, label

ROLE = "arn:aws:iam::111122223333:role/pipeline"
GENERATIONS = 4
"""Airflow numbers them by the retries of a task, which are 2 or more."""
_CLIENTS: dict[str, Any] = {}
_CALLS: dict[str, tuple[FaultyAws, JobScript]] = {}
_CALLING = Lock()
_CALL = {"lambda": ("invoke", "Invocation"), "sqs": ("send_message", "Callback")}
"""By service: the call whose answer is scripted, and its kind in the fake AWS."""
_QUEUE = "https://sqs.eu-west-1.amazonaws.com/111122223333/answers"


class Backend(AwsBackend):
    """AWS, on which a file appears when it is read: jobs of the faulty AWS write none."""

    def __init__(self, world: World) -> None:
        super().__init__(lambda: world.client)
        self.world = world
        self.default_role = ROLE

    def read_object(self, uri: str) -> bytes:
        try:
            return super().read_object(uri)
        except StoreError:
            self.world.put(uri, content(self.world.pipeline, self.world.scenario, uri))
            return super().read_object(uri)


@dataclass(slots=True)
class World:
    """One scenario of one pipeline at a time."""

    aws: FaultyAws
    clock: Clock
    monkeypatch: pytest.MonkeyPatch
    folder: Path
    pipeline: Pipeline = field(default_factory=Pipeline)
    scenario: Scenario = field(default_factory=lambda: Scenario({}))
    backend: Backend = field(init=False)
    backend_name: str = "faulty"
    _runs: int = 0

    def __post_init__(self) -> None:
        self.backend = Backend(self)
        RECORDER.patch(self.monkeypatch)
        run = condition_step.run

        def forced(step: ConditionStep, *more: Any) -> dict[str, Any]:
            if step.name in self.scenario.forced:
                holds = self.scenario.outcomes[step.name]
                step = replace(step, conditions=(equals(1, 1 if holds else 2),))
            return run(step, *more)

        self.monkeypatch.setattr(condition_step, "run", forced)

    def client(self, service: str) -> Any:
        """One client per service for all runs: building one takes longer than a run."""
        key = f"{self.aws.url} {service}"
        if key not in _CLIENTS:
            config = config_of(service, client_config())
            _CLIENTS[key] = client = self.aws.client(service, config=config)
            client.meta.events.register("provide-client-params", RECORDER.record)
            if service in _CALL:
                method, kind = _CALL[service]
                setattr(client, method, partial(_answered, kind, getattr(client, method)))
        return _CLIENTS[key]

    def begin(self, pipeline: Pipeline, scenario: Scenario) -> ExecutionRecords:
        """An empty AWS and empty records for a run."""
        self._runs += 1
        self.pipeline, self.scenario = pipeline, scenario
        self.aws.reset()
        folder = self.folder / f"records-{self._runs}"
        self.monkeypatch.setenv("SAGEBRIDGE_RECORDS", str(folder))
        self.monkeypatch.setenv(RESPONSE_QUEUE, _QUEUE)
        written = str(sagebridge.write(pipeline, "sagemaker").text)
        for bucket in sorted(set(re.findall(r"s3://([a-z0-9.-]+)", written))):
            self.aws.create_bucket(bucket)
        for step in walk(pipeline):
            if step.type in JOB_TYPES:
                self._prepare(step)
        for group in sorted(
            {str(step.extra.get("ModelPackageGroupName")) for step in self._checks()}
        ):
            approve(self.aws.client("sagemaker"), group)
        RECORDER.clear()
        return ExecutionRecords(Folder(folder))

    def _checks(self) -> list[Step]:
        """The check steps whose model package group has a plain name."""
        known = [one for one in walk(self.pipeline) if one.type in STEP_TYPES]
        checks = [one for one in known if STEP_TYPES[one.type].check_types]
        return [one for one in checks if isinstance(one.extra.get("ModelPackageGroupName"), str)]

    def _prepare(self, step: Step) -> None:
        """What the jobs of a step answer, as far as the pipeline refers to it."""
        for index in indexes(self.pipeline, step):
            name, answered = (
                label(step.name, index),
                answer(self.pipeline, self.scenario, step, index),
            )
            end = self.scenario.ends.get(name, "Completed")
            if STEP_TYPES[step.type].makes == "call":
                given = outputs(step, answered)
                members = {"Payload": given, "OutputParameters": given}
                _CALLS[name] = self.aws, JobScript(members=members, statuses=(end,))
                continue
            usual = JobScript(under=answered, statuses=("InProgress", end))
            for generation in range(GENERATIONS):
                token = job_token(EXECUTION, generation, step.name, index)
                self.aws.add_scripts(replace(usual, name=f"*{token}*"))

    def put(self, uri: str, content: Any) -> None:
        """Store an object; its bucket is created."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.aws.create_bucket(bucket)
        self.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(content).encode())


def approve(sagemaker: Any, group: str) -> None:
    """Register an approved version with a baseline for each kind of check."""
    source = {"ContentType": "application/json", "S3Uri": "s3://baselines/prior/analysis.json"}
    both = {"Constraints": source, "Statistics": source}
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    sagemaker.create_model_package(
        ModelPackageGroupName=group,
        ModelApprovalStatus="Approved",
        DriftCheckBaselines={
            "Bias": {"PreTrainingConstraints": source, "PostTrainingConstraints": source},
            "Explainability": {"Constraints": source},
            "ModelDataQuality": both,
            "ModelQuality": both,
        },
    )


def _answered(kind: str, call: Callable[..., Any], **request: Any) -> Any:
    """Call a function or a consumer that answers as the step of this thread expects.

    Steps may share one, so its script is that of the last call.
    """
    with _CALLING:
        aws, script = _CALLS[RECORDER.step]
        aws.add_scripts(replace(script, kind=kind))
        return call(**request)


@contextmanager
def opened(aws: FaultyAws, folder: Path) -> Iterator[World]:
    """A world, in an environment without settings of this machine."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEBRIDGE_"))]:
            if name != "SAGEBRIDGE_CORPUS":
                monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield World(aws, patch_time(monkeypatch), monkeypatch, folder)
