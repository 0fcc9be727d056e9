"""What a run did: the end of each step and index, its create requests, and outcomes."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from sagebridge.model.graph import edges
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.outputs import json_safe
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_states import final_status, states
from tests.whole_pipelines.scenarios import Scenario

EXECUTION = "0123456789ab"
"""The id of every execution, so that jobs have the same names on all engines."""
_SERVICES = ("logs", "sts")
"""Services that a run only reads."""
_READS = ("Describe", "List", "Get", "Head", "Search", "Receive", "DeleteMessage", "ChangeMessage")
_SHARED = re.compile("Create(ModelPackageGroup|Experiment|Trial|Bucket)|PutObject")
"""What the first step that needs it creates; which one this is may differ."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?")
_TOKEN = re.compile(r"-[0-9a-f]{12}-(\d+)\b")
_RANDOM = re.compile(r"(-TOKEN-\d+-)\d{3}-[0-9a-f]{8}\b|(:artifact/)[0-9a-f]{32}\b")
"""The best training job of a tuning job and the ids of artifacts, which differ between runs."""
_CALLBACK = re.compile(r'"token": "\w{10}"')


@dataclass(slots=True)
class Recorder:
    """The requests of each step, as they leave boto3. Repeated attempts of a call count once."""

    requests: dict[str, list[Any]] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    _step: threading.local = field(default_factory=threading.local)

    @property
    def step(self) -> str:
        """The step that this thread is at; empty for none."""
        return str(getattr(self._step, "name", ""))

    def clear(self) -> None:
        self.requests.clear()
        self.shared.clear()

    def record(self, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        service = model.service_model.service_name
        if service in _SERVICES or model.name.startswith(_READS):
            return
        operation = f"{service}.{model.name}"
        # The client context of Lambda is the token of the attempt, in Base64.
        request = {name: value for name, value in params.items() if name != "ClientContext"}
        made = normalized({"operation": operation, "request": request})
        if _SHARED.search(operation):
            self.shared.add(json.dumps(made, sort_keys=True))
        else:
            self.requests.setdefault(self.step, []).append(made)

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Note which step each thread is at."""
        run = StepDriver.run

        def noted(driver: StepDriver, **more: Any) -> Any:
            with self.at(label(driver.task.step.name, driver.task.index)):
                return run(driver, **more)

        monkeypatch.setattr(StepDriver, "run", noted)

    @contextmanager
    def at(self, step: str) -> Iterator[None]:
        before, self._step.name = self.step, step
        try:
            yield
        finally:
            self._step.name = before


RECORDER = Recorder()


def label(step: str, index: tuple[int, ...]) -> str:
    """``Train``, or ``Train-0`` for an iteration."""
    return "-".join((step, *map(str, index)))


class AnyWorld(Protocol):
    """Where pipelines run: the faulty AWS, or this machine."""

    monkeypatch: pytest.MonkeyPatch
    backend: Any
    backend_name: str

    def begin(self, pipeline: Pipeline, scenario: Scenario) -> ExecutionRecords:
        """Empty records, and what the run needs."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A run that has ended. ``order`` has the steps that began before an earlier one had ended."""

    status: str
    reason: str
    steps: dict[str, Any]
    shared: list[Any]
    order: list[str]

    @classmethod
    def of(cls, pipeline: Pipeline, records: ExecutionRecords) -> Trace:
        """The trace of the only execution in the records."""
        attempts = {
            label(one.step, one.index): one for one in records.current(EXECUTION) if one.end
        }
        by_step = records.steps(EXECUTION)
        reached: dict[str, str] = dict(states(pipeline, by_step))
        steps: dict[str, Any] = {}
        for name in sorted({*reached, *attempts, *RECORDER.requests}):
            attempt = attempts.get(name)
            found: dict[str, Any] = {"state": attempt.state if attempt else reached.get(name)}
            if attempt is not None and attempt.reason:
                found["reason"] = normalized(attempt.reason)
            if attempt is not None and "outcome" in (attempt.outputs or {}):
                found["outcome"] = (attempt.outputs or {})["outcome"]
            if name in RECORDER.requests:
                found["requests"] = RECORDER.requests[name]
            steps[name] = found
        end = final_status(pipeline, by_step, stop_requested=False)
        shared = [json.loads(one) for one in sorted(RECORDER.shared)]
        order = _out_of_order(pipeline, records.current(EXECUTION))
        return cls(end.status, normalized(end.reason), steps, shared, order)

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def outcomes(self) -> dict[str, bool]:
        """The outcome of each condition that was evaluated."""
        return {name: one["outcome"] for name, one in self.steps.items() if "outcome" in one}


def _out_of_order(pipeline: Pipeline, attempts: Sequence[Attempt]) -> list[str]:
    """The steps that began too early; a body step waits for others of its iteration."""
    known = {(one.step, one.index): one for one in attempts}
    return [
        f"{label(after, one.index)} began before {before} had ended"
        for before, after, reason in edges(pipeline.steps)
        if reason != "body"
        for one in attempts
        if one.step == after and (earlier := known.get((before, one.index))) is not None
        if (one.begun or one.started) < earlier.ended
    ]


def normalized(value: Any) -> Any:
    """JSON without times, and with ``TOKEN`` in the names of jobs."""
    match json_safe(value):
        case Mapping() as found:
            return {name: normalized(item) for name, item in found.items()}
        case list() as items:
            return [normalized(item) for item in items]
        case str() as text:
            text = _CALLBACK.sub('"token": "TOKEN"', text)
            return _RANDOM.sub(r"\1\2RANDOM", _TOKEN.sub(r"-TOKEN-\1", _TIME.sub("TIME", text)))
        case other:
            return other
