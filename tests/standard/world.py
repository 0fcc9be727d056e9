"""What the runners of the standard suite share: the faulty AWS, a clock, and the checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.endpoint
import pytest
from botocore.retries.quota import RetryQuota

from sagebridge.model.pipeline import Step
from sagebridge.model.step_settings import CacheConfig
from sagebridge.model.values import ABSENT
from sagebridge_operators.backends.aws import AwsBackend, client_config, config_of
from sagebridge_operators.lifecycle import drive
from sagebridge_operators.lifecycle.attempt import Attempt
from tests.clock import Clock, modules_of
from tests.faulty_aws.server import FaultyAws
from tests.standard.cases import Case, State
from tests.standard.samples import Sample

GOLDEN = Path(__file__).parent.parent / "golden" / "requests"
_LAST_KEY = 3
"""Later sessions share a key and a client, which takes longer to build than a case."""
_CLIENTS: dict[tuple[str, str, int], Any] = {}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended: its state, its message and, after a success, its outputs."""

    state: State
    message: str = ""
    outputs: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, attempt: Attempt, message: str, outputs: Mapping[str, Any] | None) -> Outcome:
        """The end of a recorded attempt, as its engine shows it."""
        assert attempt.end is not None, attempt
        return cls(attempt.end.state, message, outputs)


@dataclass(slots=True)
class World:
    """A faulty AWS with a backend whose clients get a new access key each time they are opened."""

    aws: FaultyAws
    clock: Clock
    opened: int = 0

    def backend(self) -> AwsBackend:
        return AwsBackend(self._open)

    def _open(self) -> Callable[[str], Any]:
        self.opened += 1
        number = min(self.opened, _LAST_KEY)

        def client(service: str) -> Any:
            known = self.aws.url, service, number
            if known not in _CLIENTS:
                key, config = f"AKIASESSION{number}", config_of(service, client_config())
                _CLIENTS[known] = self.aws.client(service, access_key=key, config=config)
            return _CLIENTS[known]

        return client

    def arrange(self, case: Case, sample: Sample) -> tuple[Step, ...]:
        """Add the faults of a case; returns the steps to run."""
        self.aws.add_scripts(*case.scripts(sample))
        self.aws.add_faults(*case.rules(sample))
        self.aws.put_json(sample.objects)
        cache = CacheConfig(True) if case.cached else ABSENT
        step = sample.step(retry_policies=case.policies, cache_config=cache)
        return (step,) if case.later is None else (step, sample.later_step(case.later_path))

    def check_all(self, case: Case, outcomes: Mapping[str, Outcome]) -> None:
        """Check the steps of all types; reports every type that fails."""
        problems = []
        for sample in case.samples():
            try:
                self.check(case, sample, outcomes)
            except AssertionError as error:
                problems.append(f"{sample.type}: {error}")
        assert not problems, "\n".join(problems)

    def check(self, case: Case, sample: Sample, outcomes: Mapping[str, Outcome]) -> None:
        """Assert what a user notices of a step: its result, its jobs, and the stops."""
        outcome = outcomes[sample.type]
        assert outcome.state == case.state, outcome
        jobs = self.aws.resources(sample.kind, sample.glob)
        assert len(jobs) == (min(case.jobs, 1) if sample.updates else case.jobs), outcome
        job = self.job(sample)
        stop = sample.job_type.stop if sample.job_type.described else None
        words = {"job": job, "failed": sample.failed, "stopped": sample.stopped}
        _contains(outcome.message, (*case.message, *(case.stop_message if stop else ())), words)
        created = self.aws.requests(sample.operation("create"), sample.glob.removesuffix("/*"))
        if sample.updates:
            created += self.aws.requests(sample.updates, sample.glob)
        created = [one for one in created if '"Stopping"' not in str(one.members)]
        if case.requests is not None:
            assert len(created) == case.requests + case.failed_calls * sample.attempts
        stopped = stop and self.aws.count(sample.operation("stop"), sample.glob)
        assert bool(stopped) == (case.stops and stop is not None)
        if case.state == "Succeeded":
            self._check_outputs(sample, outcome, job)
        if case.later is not None:
            later = outcomes[f"After{sample.type}"]
            assert later.state == case.later, later
            _contains(later.message, case.later_message, words)
            if later.state == "Succeeded":
                self._check_reference(sample, outcome)

    def job(self, sample: Sample) -> str:
        """The name of a sample's job as messages and outputs contain it, or its ARN."""
        found = self.aws.resources(sample.kind, sample.glob)
        return sample.job.format(found[-1]) if found else ""

    def _check_outputs(self, sample: Sample, outcome: Outcome, job: str) -> None:
        assert outcome.outputs is not None
        assert outcome.outputs["job"]["name"] == job
        assert outcome.outputs["job_arn"].endswith(job.rpartition("/")[2])
        expected = _filled(sample.outputs, job=job, execution=self.execution(sample, job))
        assert {name: outcome.outputs[name] for name in sample.outputs} == expected
        assert "a text" not in json.dumps(outcome.outputs), "outputs contain no environment"

    def _check_reference(self, sample: Sample, outcome: Outcome) -> None:
        """The later step's request contains the property that its expression refers to."""
        (made,) = self.aws.requests("CreateModel", f"*-{f'After{sample.type}'[:20]}-*")
        given = made.members["PrimaryContainer"]["Environment"]["GIVEN"]
        assert outcome.outputs is not None
        assert given == outcome.outputs["properties"][sample.refers]
        assert given in json.dumps(outcome.outputs)

    def execution(self, sample: Sample, job: str) -> str:
        """The id of the execution, from the job's name."""
        return "" if sample.resource or sample.updates else job.split("-")[1]


def _contains(message: str, parts: tuple[str, ...], words: Mapping[str, str]) -> None:
    wanted = [part.format(**words) for part in parts]
    assert [part for part in wanted if part not in message] == [], message


def _filled(value: Any, **given: str) -> Any:
    """A value whose strings contain ``{job}`` and so on, filled in."""
    if isinstance(value, str):
        return value.format(**given)
    if isinstance(value, Mapping):
        return {name.format(**given): _filled(item, **given) for name, item in value.items()}
    return value


def patch_time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let time pass at once in the lifecycle, the faulty AWS and botocore's retries."""
    clock = Clock()
    clock.sleep(60.0)  # ahead of the engines' real time, in which executions start
    modules = modules_of("sagebridge_operators.lifecycle", "tests.faulty_aws")
    clock.patch(monkeypatch, [*modules, botocore.endpoint])
    # All cases share clients, which would use up their quota of retries.
    monkeypatch.setattr(RetryQuota, "acquire", lambda quota, amount: True)
    monkeypatch.setattr(AwsBackend, "poll_seconds", (5.0, 3600.0))
    monkeypatch.setattr(drive, "_SLICE", 3600.0)  # a sleep is one call of the clock
    return clock
