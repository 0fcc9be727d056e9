"""One operator of the Amazon provider that is being read, and what its XComs are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from sagebridge.formats.airflow.task_values import (
    RETURN_VALUE,
    Ask,
    Output,
    Part,
    RunTimeValue,
    Values,
    is_template,
    tokens_of,
)
from sagebridge.model.display import shown
from sagebridge.model.expressions import Get, Member
from sagebridge.model.losses import Severity
from sagebridge.model.pipeline import Step
from sagebridge.model.values import Object, Value


class UnreadableTask(Exception):
    """An operator that no step can stand for."""


class Report(Protocol):
    def __call__(self, code: str, severity: Severity, what: str, advice: str = "") -> None: ...


@dataclass(slots=True)
class Task:
    """One operator to be read: the step's name, how its values are read and losses told."""

    operator: Any
    name: str
    values: Values
    ask: Ask
    report: Report
    names: Mapping[tuple[str, str], Get]

    def value(self, value: Any, integers: Sequence[str] = ()) -> Value:
        return self.values.of(value, self.ask, integers=frozenset(integers))

    def request(
        self,
        config: Any,
        job_name: str | None,
        integers: Sequence[str] = (),
        *,
        step: str | None = None,
    ) -> Object:
        """An operator's ``config`` as the arguments of its step, or of another one that it makes.

        The name that SageMaker makes itself is left out. Raises :class:`UnreadableTask` if the
        config is known only when the DAG runs.
        """
        if not isinstance(config, Mapping):
            raise UnreadableTask("its config is known only when the DAG runs")
        left = dict(config)
        if left.pop("S3Operations", None) is not None:
            what = "S3Operations, which Airflow does before the job, are not done"
            self.report("s3-operations", "dropped", what, "make them a step")
        if job_name is not None and job_name in left:
            name = left.pop(job_name)
            said = f" {shown(name)}" if isinstance(name, str) else ""
            what = f"{job_name}{said} is not kept: SageMaker makes the name"
            self.report("job-name", "info", what)
        self._check_role(left)
        found = self.value(self._linked(left, step or self.name), integers)
        assert isinstance(found, Object)
        return found

    def _check_role(self, config: Mapping[str, Any]) -> None:
        for member in ("RoleArn", "ExecutionRoleArn"):
            role = config.get(member)
            if isinstance(role, str) and not is_template(role) and not role.startswith("arn:"):
                what = f"{member} {shown(role)} is a name, of which Airflow makes an ARN"
                self.report("role-name", "changed", what, "write the role's ARN")

    def _linked(self, config: Any, step: str, member: str = "") -> Any:
        """A config in which the name of what another step makes is a reference to that step."""
        if isinstance(config, Mapping):
            return {name: self._linked(item, step, str(name)) for name, item in config.items()}
        if isinstance(config, list | tuple):
            return [self._linked(item, step) for item in config]
        if not isinstance(config, str):
            return config
        for kind in (member, "S3ModelArtifacts"):
            if (made := self.names.get((kind, config))) is not None and made.name != step:
                return made
        for name in config.split("/") if config.startswith("s3://") else ():
            for kind in JOB_NAMES:
                if (made := self.names.get((kind, name))) is not None and made.name != step:
                    what = (
                        f"{shown(config)} has the job name {shown(name)}, which SageMaker changes"
                    )
                    self.report("job-name", "changed", what, f"refer to a property of {made.name}")
        return config


JOB_NAMES = ("TrainingJobName", "ProcessingJobName")


Builder: TypeAlias = Callable[[Task], list[Step]]


@dataclass(frozen=True, slots=True)
class Kind:
    """An operator class: how it is built, the arguments that are read, what its XCom wraps.

    ``steps`` are the names of the steps that wait for its jobs.
    """

    build: Builder
    reads: tuple[str, ...] = ("config",)
    steps: Callable[[Any, str], Sequence[str]] = lambda _, name: (name,)
    outputs: Callable[[Any, str], Output] | None = None
    names: Callable[[Any, str], Iterator[tuple[str, str, Get]]] | None = None


def described(**members: tuple[str, Any]) -> Output:
    """XComs of Describe responses, each under a member of its own: (step, the request's config)."""

    def output(key: str, path: tuple[Part, ...]) -> Value:
        parts = path if key == RETURN_VALUE else (key, *path)
        if len(parts) < 2 or parts[0] not in members:
            raise RunTimeValue("xcom", "an XCom that has no place in the step's properties")
        step, config = members[str(parts[0])]
        return Get("Steps", (Member(step), *tokens_of(config, parts[1:])))

    return output


def under(step: str, *members: str, rest: bool = True, keys: bool = False) -> Output:
    """An XCom that is a property of the step, with ``rest`` of the path inside it.

    ``keys``: each member of what is returned is an XCom of its own too.
    """

    def output(key: str, path: tuple[Part, ...]) -> Value:
        if key != RETURN_VALUE and keys:
            return output(RETURN_VALUE, (key, *path))
        if key != RETURN_VALUE or (path and not rest):
            raise RunTimeValue("xcom", "an XCom that has no place in the step's properties")
        return Get("Steps", (Member(step), *tokens_of(None, (*members, *path))))

    return output


def name_of(config: Any, member: str) -> str:
    """The text of a name in a config; empty where it is none."""
    found = config.get(member) if isinstance(config, Mapping) else None
    return found if isinstance(found, str) else ""


def part_name(name: str, part: str) -> str:
    """The name of one of several steps of a task."""
    return f"{name[:48]}-{part}"
