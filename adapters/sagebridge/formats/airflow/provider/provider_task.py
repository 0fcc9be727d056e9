"""Shared tools for reading operators of the Amazon provider: requests, references, XComs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from sagebridge.authoring.request_shapes import ApiShape, request_shape
from sagebridge.formats.airflow.task_values import (
    RETURN_VALUE,
    Fallback,
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
    """An operator that cannot become a step. The message starts with ``its`` and an argument."""


class Report(Protocol):
    def __call__(self, code: str, severity: Severity, what: str, advice: str = "") -> None: ...


@dataclass(slots=True)
class Task:
    """One operator, with what its builder needs.

    Attributes:
        name: the name of its step.
        values: translates its arguments.
        fallback: replaces run-time values by parameters.
        report: reports a loss of the task.
        names: references to resources that other steps create, by field and name in the DAG.
    """

    operator: Any
    name: str
    values: Values
    fallback: Fallback
    report: Report
    names: Mapping[tuple[str, str], Get]

    def value(self, value: Any, field: ApiShape | None = None) -> Value:
        return self.values.of(value, self.fallback, field=field)

    def request(
        self,
        config: Any,
        type_: str,
        job_name: str | None = None,
        *,
        step: str | None = None,
    ) -> Object:
        """A ``config`` as the arguments of the task's step, or of another ``step`` of the task.

        ``type_`` is the type of the step: its request decides which strings become numbers.
        The name in the field ``job_name`` is removed, as the job gets a generated name. Raises
        :class:`UnreadableTask` if the config is only known at run time.
        """
        if not isinstance(config, Mapping):
            raise UnreadableTask("its config is only known at run time")
        left = dict(config)
        if left.pop("S3Operations", None) is not None:
            what = "S3Operations are not done: a step only starts its job"
            self.report("s3-operations", "dropped", what, "do them in an upstream step")
        if job_name is not None and job_name in left:
            name = left.pop(job_name)
            value = f" {shown(name)}" if isinstance(name, str) else ""
            what = f"{job_name}{value} is replaced by a generated name"
            self.report("job-name", "info", what)
        self._check_role(left)
        found = self.value(self._with_references(left, step or self.name), request_shape(type_))
        assert isinstance(found, Object)
        return found

    def _check_role(self, config: Mapping[str, Any]) -> None:
        for field in ("RoleArn", "ExecutionRoleArn"):
            role = config.get(field)
            if isinstance(role, str) and not is_template(role) and not role.startswith("arn:"):
                what = f"{field} {shown(role)} is a role name, which only Airflow expands to an ARN"
                self.report("role-name", "changed", what, "use the ARN of the role")

    def _with_references(self, config: Any, step: str, field: str = "") -> Any:
        """A config with references in place of names of resources that other steps create."""
        if isinstance(config, Mapping):
            return {
                name: self._with_references(item, step, str(name)) for name, item in config.items()
            }
        if isinstance(config, list | tuple):
            return [self._with_references(item, step) for item in config]
        if not isinstance(config, str):
            return config
        for kind in (field, "S3ModelArtifacts"):
            if (reference := self.names.get((kind, config))) is not None and reference.name != step:
                return reference
        for name in config.split("/") if config.startswith("s3://") else ():
            for kind in JOB_NAMES:
                if (
                    reference := self.names.get((kind, name))
                ) is not None and reference.name != step:
                    what = (
                        f"{shown(config)} contains the job name {shown(name)}, "
                        "but the job gets a generated name"
                    )
                    advice = f"refer to an output of step {shown(reference.name)} instead"
                    self.report("job-name", "changed", what, advice)
        return config


JOB_NAMES = ("TrainingJobName", "ProcessingJobName")


Builder: TypeAlias = Callable[[Task], list[Step]]


@dataclass(frozen=True, slots=True)
class OperatorKind:
    """How one operator class is read.

    Attributes:
        build: returns the steps of a task.
        reads: the arguments that become part of the steps.
        steps: the names of the steps that wait for the jobs of the task.
        outputs: the XComs of the task.
        names: (field, name, reference) of each resource that the task creates.
    """

    build: Builder
    reads: tuple[str, ...] = ("config",)
    steps: Callable[[Any, str], Sequence[str]] = lambda _, name: (name,)
    outputs: Callable[[Any, str], Output] | None = None
    names: Callable[[Any, str], Iterator[tuple[str, str, Get]]] | None = None


def describe_output(**members: tuple[str, Any]) -> Output:
    """The XCom of an operator that returns Describe responses.

    ``members`` has (step, its request) for each key of the XCom.
    """

    def output(key: str, path: tuple[Part, ...]) -> Value:
        parts = path if key == RETURN_VALUE else (key, *path)
        if not parts:
            return Object(
                {name: Get("Steps", (Member(one),)) for name, (one, _) in members.items()}
            )
        if len(parts) < 2 or parts[0] not in members:
            raise RunTimeValue("xcom", "an XCom that is not a property of the step")
        step, config = members[str(parts[0])]
        return Get("Steps", (Member(step), *tokens_of(config, parts[1:])))

    return output


def property_output(step: str, *members: str, rest: bool = True, keys: bool = False) -> Output:
    """The XCom of a task that is a property of its step.

    ``rest`` allows a path into the property. With ``keys``, each key of the returned value is also
    an XCom (``multiple_outputs``).
    """

    def output(key: str, path: tuple[Part, ...]) -> Value:
        if key != RETURN_VALUE and keys:
            return output(RETURN_VALUE, (key, *path))
        if key != RETURN_VALUE or (path and not rest):
            raise RunTimeValue("xcom", "an XCom that is not a property of the step")
        return Get("Steps", (Member(step), *tokens_of(None, (*members, *path))))

    return output


def no_output(key: str, path: tuple[Part, ...]) -> Value:
    """The XCom of a task whose step has no such property."""
    raise RunTimeValue("xcom", "an XCom that is not a property of the step")


def name_of(config: Any, field: str) -> str:
    """A name in a config; empty if missing or not a string."""
    found = config.get(field) if isinstance(config, Mapping) else None
    return found if isinstance(found, str) else ""


def part_name(name: str, part: str) -> str:
    """The name of one of the steps of a task that becomes several."""
    return f"{name[:48]}-{part}"
