"""Unique secrets in a pipeline and its credentials, and a search for them in stored data."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step
from tests.faulty_aws.control import AwsControl
from tests.faulty_aws.job_requests import processing, training
from tests.shapes import ROLE

_GROUPS = {
    "CreateTrainingJob": "/aws/sagemaker/TrainingJobs",
    "CreateProcessingJob": "/aws/sagemaker/ProcessingJobs",
}


@dataclass(slots=True)
class Secrets:
    """Random values by a description. ``of_step`` are those that a step's job receives."""

    values: dict[str, str] = field(default_factory=dict)
    of_step: dict[str, list[str]] = field(default_factory=dict)

    def new(self, what: str, step: str = "") -> str:
        value = self.values[f"{step} {what}".strip()] = f"canary{secrets.token_hex(8)}"
        if step:
            self.of_step.setdefault(step, []).append(value)
        return value

    def steps(self) -> tuple[Step, ...]:
        """Steps with secrets of every kind; ``Bad``, ``Rejected`` and ``Outage`` meet faults."""

        def train(name: str) -> Step:
            request = training("")
            del request["TrainingJobName"]
            request["Environment"] = {"PLAIN": self.new("environment", name)}
            request["HyperParameters"] = {
                "api_key": self.new("hyperparameter", name),
                "dbPassword": json.dumps(self.new("quoted", name)),
                "max_tokens": "512",
            }
            request["Tags"] = [{"Key": "auth-token", "Value": self.new("tag", name)}]
            return Step(name, "Training", arguments=plain(request))

        process = processing("")
        del process["ProcessingJobName"]
        process["Environment"] = {"PLAIN": self.new("environment", "Good")}
        process["AppSpecification"] |= {
            "ContainerEntrypoint": ["sh", "-c", f"TOKEN={self.new('entry point', 'Good')} run"],
            "ContainerArguments": ["--private-key", self.new("argument", "Good")],
        }
        containers = [
            {"Image": "i", "Environment": {"PLAIN": self.new(f"container {number}", "Model")}}
            for number in range(2)
        ]
        model = {"ExecutionRoleArn": ROLE, "Containers": containers}
        return (
            Step("Good", "Processing", arguments=plain(process)),
            train("Bad"),
            train("Rejected"),
            train("Outage"),
            Step("Model", "Model", arguments=plain(model)),
        )

    def echo(self, step: str, *, tags: bool = False) -> str:
        """A message with all values of a step; a job itself does not know its tags."""
        of_step = [value for what, value in self.values.items() if what.startswith(f"{step} ")]
        known = [one for one in of_step if tags or one != self.values.get(f"{step} tag")]
        return "echo: " + ", ".join(f"'{value}'" for value in known)

    def check_arrived(self, aws: AwsControl) -> None:
        """Fails unless the create requests had all values that jobs need."""
        sent = json.dumps([one.members for one in aws.requests("Create*", service="sagemaker")])
        expected = {value for values in self.of_step.values() for value in values}
        assert {value for value in self.values.values() if value in sent} == expected

    def check_absent(self, where: str, content: bytes) -> None:
        for what, value in self.values.items():
            before, found, _ = content.partition(value.encode())
            assert not found, f"{what} in {where} after {before[-300:]!r}"

    def check_absent_in(self, folder: Path) -> None:
        """Fails if a file below a folder has a secret, or if there is no file."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert files, folder
        for path in files:
            self.check_absent(str(path.relative_to(folder)), path.read_bytes())


@contextmanager
def write_log(aws: AwsControl, planted: Secrets) -> Iterator[None]:
    """Writes the secrets of its step to the log of each training and processing job."""
    logs: Any = aws.client("logs")
    for group in _GROUPS.values():
        logs.create_log_group(logGroupName=group)
    ended = threading.Event()

    def write() -> None:
        written: set[str] = set()
        while not ended.wait(0.02):
            for one in aws.requests("Create*Job", service="sagemaker"):
                if one.done and one.name not in written:
                    written.add(one.name)
                    names = {
                        "logGroupName": _GROUPS[one.operation],
                        "logStreamName": f"{one.name}/algo-1-1700000000",
                    }
                    logs.create_log_stream(**names)
                    (line,) = (
                        planted.echo(step) for step in planted.of_step if f"-{step}-" in one.name
                    )
                    event = {"timestamp": int(one.time * 1000), "message": line}
                    logs.put_log_events(**names, logEvents=[event])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
