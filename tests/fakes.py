"""A fake SageMaker in memory, whose jobs go through the states that a test sets.

moto's jobs are Completed at once (moto/sagemaker/models.py): they cannot fail or be delayed.
Requests are validated against botocore's model of the API, as by a real client.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore import session, validate, xform_name
from botocore.exceptions import ClientError, ParamValidationError
from botocore.model import ServiceModel, StructureShape

from sagebridge_operators.lifecycle.backend import LINES
from sagebridge_operators.run_errors import ObjectNotFound
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.job_type import JobType

ARN = "arn:aws:sagemaker:eu-west-1:111122223333:"
STARTED = datetime(2026, 11, 21, 5, 43, tzinfo=UTC)
Happening = Callable[[], None]


@cache
def sagemaker_model() -> ServiceModel:
    return session.get_session().get_service_model("sagemaker")


@cache
def operations(service: str = "sagemaker") -> dict[str, str]:
    """The operation for each boto3 method: ``create_model`` is ``CreateModel``."""
    model = session.get_session().get_service_model(service)
    return {xform_name(name): str(name) for name in model.operation_names}


def client_error(
    operation: str, code: str, message: str = "as the test asked", status: int = 400
) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, operation)


def input_shape(method: str) -> StructureShape:
    """The parameters of a boto3 method."""
    shape = sagemaker_model().operation_model(operations()[method]).input_shape
    assert shape is not None
    return shape


def raises(error: BaseException) -> Happening:
    """A callback that raises an error."""

    def happen() -> None:
        raise error

    return happen


_SERVING = {"InProgress": "Creating", "Completed": "InService"}


@dataclass(slots=True)
class Job:
    """A job. ``coming`` are the statuses of the next descriptions; the last one stays."""

    type: JobType
    description: dict[str, Any]
    coming: list[str]
    stopping: list[str]
    ending: Mapping[str, Any]
    stops: int = 0


@dataclass(slots=True)
class Plan:
    """The statuses of the jobs whose name contains a step's name."""

    states: tuple[str, ...] = ("InProgress", "Completed")
    stopping: tuple[str, ...] = ("Stopping", "Stopped")
    ending: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class FakeSageMaker:
    """The fake client. ``before`` and ``after`` are callbacks around the next calls of a method."""

    plans: dict[str, Plan] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    experiments: set[tuple[str, str]] = field(default_factory=set)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    before: defaultdict[str, list[Happening]] = field(default_factory=lambda: defaultdict(list))
    after: defaultdict[str, list[Happening]] = field(default_factory=lambda: defaultdict(list))

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        if method.startswith("_"):
            raise AttributeError(method)

        def call(**request: Any) -> dict[str, Any]:
            report = validate.ParamValidator().validate(request, input_shape(method))
            if report.has_errors():
                raise ParamValidationError(report=report.generate_report())
            self.calls.append((method, request))
            _next(self.before[method])
            answer = self._answer(method, request)
            _next(self.after[method])
            return answer

        return call

    def called(self, start: str) -> list[dict[str, Any]]:
        """The requests of all methods whose name starts with ``start``."""
        return [request for method, request in self.calls if method.startswith(start)]

    def _answer(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        if method.endswith("_model_package_group"):
            return self._group(method, request["ModelPackageGroupName"])
        if method.endswith(("_experiment", "_trial")):
            return self._experiment(method, request)
        if method.endswith(("_action", "_artifact", "_artifacts", "_context", "_association")):
            return self._lineage(method, request)
        for type_ in JOB_TYPES.values():
            match method:
                case type_.create:
                    return self._create(type_, request)
                case type_.describe:
                    return self._describe(type_, request)
                case type_.stop:
                    return self._stop(type_, request)
        raise NotImplementedError(method)

    def _lineage(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """Nothing is remembered: each entity is new."""
        kind = method.partition("_")[2]
        if not method.startswith("create"):
            return {"ArtifactSummaries": []} if kind == "artifacts" else {}
        name = request.get(f"{kind.title()}Name", "unnamed")
        return {f"{kind.title()}Arn": f"{ARN}{kind}/{name}"}

    def _group(self, method: str, name: str) -> dict[str, Any]:
        if method.startswith("create"):
            self.groups.add(name)
        elif name not in self.groups:
            text = f"ModelPackageGroup {ARN}model-package-group/{name} does not exist."
            raise client_error("DescribeModelPackageGroup", "ValidationException", text)
        return {"ModelPackageGroupArn": f"{ARN}model-package-group/{name}"}

    def _experiment(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        verb, _, kind = method.partition("_")
        name = (kind, request[f"{kind.capitalize()}Name"])
        if (name in self.experiments) is (verb == "create"):
            raise client_error(operations()[method], "ValidationException", "Names must be unique")
        self.experiments.add(name)
        return {}

    def _create(self, type_: JobType, request: dict[str, Any]) -> dict[str, Any]:
        kind = type_.create.removeprefix("create_").replace("_", "-")
        name = request.get(type_.name_key, f"{ARN}model-package/{len(self.jobs) + 1}")
        if name in self.jobs:
            text = f"{kind} {name} already exists"
            raise client_error(operations()[type_.create], "ResourceInUse", text)
        if request.get("ModelPackageGroupName", "") not in {"", *self.groups}:
            text = "ModelPackageGroup does not exist"
            raise client_error("CreateModelPackage", "ValidationException", text)
        arn = name if name.startswith("arn:") else f"{ARN}{kind}/{name}"
        short = type_.name_limit <= 32  # without the name of the step
        plan = next((plan for part, plan in self.plans.items() if short or part in name), Plan())
        self.jobs[name] = Job(
            type_,
            {
                **request,
                type_.name_key: name,
                type_.arn_key: arn,
                "CreationTime": STARTED,
                "LastModifiedTime": datetime.now(UTC),
            },
            list(plan.states),
            list(plan.stopping),
            plan.ending,
        )
        return {type_.arn_key: arn}

    def _job(self, type_: JobType, request: dict[str, Any]) -> Job:
        job = self.jobs.get(request[type_.name_key])
        if job is None or job.type is not type_:
            text = "Requested resource not found."
            raise client_error(operations()[type_.describe], "ValidationException", text)
        return job

    def _describe(self, type_: JobType, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(type_, request)
        if type_.status_key is None:
            return job.description
        words = _SERVING if "InService" in type_.states else {}
        job.description[type_.status_key] = words.get(job.coming[0], job.coming[0])
        if len(job.coming) > 1:
            job.coming.pop(0)
        else:
            job.description.update(job.ending)
        return job.description

    def _stop(self, type_: JobType, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(type_, request)
        job.stops += 1
        job.coming = job.stopping
        return {}


def _next(happenings: list[Happening]) -> None:
    if happenings:
        happenings.pop(0)()


@dataclass(slots=True)
class FakeBackend:
    """A backend with the fake SageMaker and a dict of S3 objects."""

    sagemaker: FakeSageMaker = field(default_factory=FakeSageMaker)
    objects: dict[str, bytes] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    name: str = "fake"
    poll_seconds: tuple[float, float] = (0.0005, 0.001)
    default_role: str | None = None
    has_experiments: bool = True
    response_queue: str | None = None

    renewed: int = 0

    def renew(self) -> None:
        self.renewed += 1

    def client(self, service: str) -> Any:
        assert service == "sagemaker"
        return self.sagemaker

    def read_object(self, uri: str) -> bytes:
        if uri not in self.objects:
            raise ObjectNotFound(uri, "the fake store", "no such object")
        return self.objects[uri]

    def invocation(self, token: str) -> None:
        return None

    def stop_invocation(self, token: str) -> None:
        return None

    def arn(self, resource: str) -> str:
        return ARN + resource

    def job_log(self, kind: str, name: str, position: int = 0) -> FakeLog:
        del kind, name
        return FakeLog(self.lines, position)


@dataclass(slots=True)
class FakeLog:
    """The lines of a backend as the log of every job; ``position`` counts them."""

    lines: list[str]
    position: int = 0

    def read(self, limit: int = LINES) -> list[str]:
        new = self.lines[self.position :][-limit:]
        self.position = len(self.lines)
        return new
