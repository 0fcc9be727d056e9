"""A step type that creates one AWS job or resource, described as data.

The values follow the Amazon SageMaker API reference: the operations that create, describe and stop
the resource, its final statuses, and which of these are a success.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from sagebridge.model.limits import name_prefix
from sagebridge.model.pipeline import Step
from sagebridge.model.step_types import STEP_TYPES, snake_case
from sagebridge.model.values import ABSENT, Value
from sagebridge_operators.run_errors import FailureKind, StepFailed

State = Literal["Executing", "Succeeded", "Failed", "Stopped", "Skipped"]
FoundBy = Literal["name", "token", "list", "at-least-once"]


class ResourceBusy(Exception):
    """The create request cannot be sent yet: another user is changing the resource."""


_NOT_FOUND = re.compile(r"not find|not found|does ?n[o']t exist", re.IGNORECASE)

_FAILURE_CODE = re.compile(
    r"\A\w+(?:Error|Exceeded|Exception)\b|\bInsufficient(?:Instance)?Capacity(?:Error|Exception)?\b"
)


class Services(Protocol):
    """The services of a backend."""

    def client(self, service: str) -> Any:
        """The boto3 client of a service, such as ``sagemaker``."""

    def read_object(self, uri: str) -> bytes:
        """The content of the object at an S3 URI. Raises StoreError."""

    def invocation(self, token: str) -> Mapping[str, Any] | None:
        """The call of a Lambda function with a token; None if it cannot be described, as on AWS.

        The keys are Event, Running, FunctionError and Payload.
        """

    def stop_invocation(self, token: str) -> None:
        """Ends the running call of a Lambda function with a token, if it can be ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobType:
    """The operations and fields of one type of job or resource.

    Those of a SageMaker resource are named after it: the row of the type in ``model/step_types.py``
    has its ``resource``, and only other names are given.

    Args:
        type: the ``Type`` of the step.
        create, describe, stop: boto3 methods; ``stop`` is None if AWS cannot stop the resource.
        listing: the boto3 method that lists by NameContains and StatusEquals, and the field with
            its results; empty for a type without one.
        more_calls: other boto3 methods that the type calls.
        lists: the boto3 methods of other lists that the type reads.
        s3_calls: what the caller itself does in S3, as IAM actions.
        own_calls: the ones among further boto3 methods that act on the resource itself.
        arn_kind: the kind of resource in its ARN, if it does not follow from ``create``.
        uses: other resources in ARNs for which AWS checks the permission to create.
        owned: whether the names of its resources are sagebridge's, as those of jobs are.
        name_key, arn_key, role_key: fields of the request and the description.
        name_limit: the longest name, in characters.
        status_key: the field with the status; None if creation is synchronous.
        end_key: the field with the time of the end; default: the type with ``EndTime``.
        states: the state for each final status.
        interim: the statuses of a running job.
        reason_keys: the fields with the failure reason.
        dropped_arguments: arguments that CreatePipeline accepts but the create request does not.
        takes_experiment: whether the create request has an ``ExperimentConfig``.
        outputs: the main results of a successful job, such as S3 URIs, from its description.
        log_group: the CloudWatch log group of the jobs, whose log streams start with ``<name>/``.
        s3_inputs, s3_outputs: JMESPath expressions for the S3 URIs in a description that the job
            reads and writes.
        s3_folder: a JMESPath expression for the S3 URIs to show to users while the job runs;
            default: ``s3_outputs``.
        made_from: other resources whose S3 inputs the job reads too: their type by the JMESPath
            expression for their names.
        noun: what a message calls the resource.
        found_by: how a worker recognizes what an earlier worker has created: by its name, by a
            client token, or in a list. ``at-least-once``: not at all, so it may be created twice.
        synchronous: whether the create call itself returns the outcome, see :meth:`call`. There
            is nothing to describe or to stop.
        answered: whether a consumer sends the end of the step to the response queue. The client is
            an AnswerChannel then.
        not_deferred: why a trigger cannot look at the job; empty if it can.
        since_attempt: whether only what an attempt itself has made is its own; otherwise all that
            its execution has made is.
        also_resolved: expressions whose values :meth:`request` finds in ``step.extra``.
        permissions: the IAM actions of the type and their resource, if they do not follow from the
            names of its methods.
        fails_when_stopped: whether a job that was stopped looks like one that failed.
    """

    type: str
    service: str = "sagemaker"
    create: str = ""
    describe: str = ""
    stop: str | None = None
    listing: tuple[str, ...] | None = None
    more_calls: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    s3_calls: tuple[str, ...] = ()
    own_calls: tuple[str, ...] = ()
    arn_kind: str = ""
    uses: tuple[str, ...] = ()
    owned: bool = True
    name_key: str = ""
    arn_key: str = ""
    name_limit: int = 63
    role_key: str | None = "RoleArn"
    status_key: str | None = None
    end_key: str = ""
    states: Mapping[str, State] = field(
        default_factory=lambda: {
            "Completed": "Succeeded",
            "Failed": "Failed",
            "Stopped": "Stopped",
        }
    )
    interim: frozenset[str] = frozenset(("InProgress", "Pending", "Stopping"))
    reason_keys: tuple[str, ...] = ("FailureReason",)
    dropped_arguments: tuple[str, ...] = ()
    takes_experiment: bool = False
    outputs: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda description: {}
    log_group: str | None = None
    s3_inputs: str | None = None
    s3_outputs: str | None = None
    s3_folder: str | None = None
    made_from: Mapping[str, str] = field(default_factory=dict)
    noun: str = "job"
    found_by: FoundBy = "name"
    synchronous: bool = False
    answered: bool = False
    not_deferred: str = ""
    since_attempt: bool = False
    also_resolved: Mapping[str, Value] = field(default_factory=dict)
    permissions: tuple[tuple[tuple[str, ...], str], ...] = ()
    fails_when_stopped: bool = False

    def __post_init__(self) -> None:
        row = STEP_TYPES.get(self.type)
        if row is None or not row.resource:
            return
        name, words = row.resource, snake_case(row.resource)
        names: dict[str, Any] = {"create": f"create_{words}", "describe": f"describe_{words}"}
        names |= {"name_key": f"{name}Name", "arn_key": f"{name}Arn"}
        if row.makes == "job":
            names |= {"stop": f"stop_{words}", "status_key": f"{name}Status"}
            names["listing"] = (f"list_{words}s", f"{name}Summaries")
            names["end_key"] = f"{name.removesuffix('Job')}EndTime"
        for field_name, value in names.items():
            if getattr(self, field_name) in ("", None):
                object.__setattr__(self, field_name, value)

    @property
    def described(self) -> bool:
        """Whether the service describes the resource, also after its end."""
        return not (self.synchronous or self.answered)

    def client(self, services: Services) -> Any:
        """What the methods of the type take as their client."""
        return services.client(self.service)

    def if_unanswered(self, name: str) -> Literal["", "fail", "repeat"]:
        """What follows if the answer to the create request of a handle is lost.

        ``fail``: it must not be sent again. ``repeat``: only a second one finds what the first one
        made. Otherwise :meth:`find` does.
        """
        return ""

    def watched(self, name: str) -> str:
        """What a trigger needs of a handle to find the job. Airflow stores and logs it."""
        return name

    def left_by_stop(self, name: str) -> str:
        """How the step of a handle ends at once after a stop, as nothing can be stopped; or ""."""
        return ""

    def prepare(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, services: Services
    ) -> Mapping[str, Any]:
        """The resolved arguments of a step with what its job needs from other services.

        May be repeated. Raises StepFailed.
        """
        return arguments

    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        """The create request: the resolved arguments, ``name``, and ``role`` if they have none.

        The expressions in the step's own keys, such as ``FunctionArn``, are resolved too.
        """
        request = {k: v for k, v in arguments.items() if k not in self.dropped_arguments}
        request[self.name_key] = name
        if self.role_key is not None and role is not None:
            request.setdefault(self.role_key, role)
        return request

    def create_method(self, request: Mapping[str, Any]) -> str:
        """The boto3 method that takes a request; used in logs."""
        return self.create

    def handle(self, name: str, request: Mapping[str, Any], since: datetime) -> str:
        """What :meth:`find` needs to find a job that is about to be created; usually its name.

        It is the name that users see and, after a ``|``, what else distinguishes it. ``since``
        is the start of the execution, or of the attempt with ``since_attempt``. For one name and
        ``since`` the handle must always be the same, unless the type is ``at-least-once``: then
        the first one that is recorded counts.
        """
        return name

    def known_as(self, name: str, description: Mapping[str, Any]) -> str:
        """The handle of a job that was found by the handle ``name``; may name its id instead."""
        return name

    def key_attributes(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the ``cached_by`` of the type refers to."""
        return request

    def properties(self, step: Step, description: Mapping[str, Any]) -> Mapping[str, Any]:
        """The properties that expressions can refer to. Raises StepFailed if one is invalid."""
        return description

    def given_name(self, step: Step) -> Value:
        """The name in the arguments of a step, which its job's name starts with; or ABSENT."""
        if self.name_key in self.dropped_arguments or not isinstance(step.arguments, Mapping):
            return ABSENT
        return step.arguments.get(self.name_key, ABSENT)

    def name_prefix(self, given: Any) -> str:
        """The prefix of a job's name from a given name. Raises StepFailed for an invalid one."""
        if (prefix := name_prefix(given)) is None:
            expected = "expected letters, digits and hyphens between them"
            raise StepFailed(f"{self.name_key}: {expected}, got {given!r}", kind="request")
        return prefix

    def find(self, client: Any, name: str) -> dict[str, Any] | None:
        """The service's description of a resource; None if it does not exist."""
        from botocore.exceptions import ClientError

        try:
            return dict(getattr(client, self.describe)(**{self.name_key: name}))
        except ClientError as error:
            if is_not_found(error):
                return None
            raise

    @property
    def passes_role(self) -> bool:
        """Whether its create request has a role, which the caller must be allowed to pass."""
        return self.role_key is not None

    def with_details(
        self,
        client: Callable[[], Any],
        description: Mapping[str, Any],
        properties: frozenset[str],
    ) -> Mapping[str, Any]:
        """The description of a successful job with what other calls and the service add.

        ``properties`` are the first names of the properties that the pipeline refers to.
        """
        return description

    def list_running(self, client: Any, contains: str, limit: int) -> frozenset[str] | None:
        """The names of running jobs that contain a text; None if that takes over ``limit`` calls.

        A job that is Stopping or has just been created may be missing.
        """
        if not self.listing:
            return None
        method, field = self.listing
        names, request = set[str](), {"NameContains": contains, "StatusEquals": "InProgress"}
        for _ in range(limit):
            page = getattr(client, method)(MaxResults=100, **request)
            names.update(one[self.name_key] for one in page[field])
            if not (token := page.get("NextToken")):
                return frozenset(names)
            request["NextToken"] = token
        return None

    def start(self, client: Any, request: Mapping[str, Any], name: str) -> str:
        """Creates the resource and returns the name that describes it.

        If the resource already exists, an earlier call created it and its answer was lost: only
        this execution uses this name.
        """
        from botocore.exceptions import ClientError

        try:
            getattr(client, self.create)(**request)
        except ClientError as error:
            if not exists_already(error) and self.find(client, name) is None:
                raise error from None
        return name

    def call(self, client: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        """Makes the call of a synchronous type and returns its outcome as a description."""
        raise NotImplementedError(self.type)

    def clean_up(self, client: Any, name: str, description: Mapping[str, Any]) -> None:
        """Ends what was created for an ended job and must not outlive it. May be repeated."""

    def state(self, description: Mapping[str, Any]) -> State:
        """The state of a job. An unknown status counts as Executing."""
        if self.status_key is None:
            return "Succeeded"
        return self.states.get(str(description.get(self.status_key)), "Executing")

    def knows_status(self, status: str) -> bool:
        """Whether the API reference lists a status."""
        return self.status_key is None or status in self.interim or status in self.states

    def status(self, description: Mapping[str, Any]) -> str:
        return str(description.get(self.status_key, "Created")) if self.status_key else "Created"

    def ended(self, description: Mapping[str, Any]) -> str | None:
        """When the job ended, as ISO 8601 in UTC; None if the description has no end time."""
        time = description.get(self.end_key or f"{self.type}EndTime")
        if not isinstance(time, datetime):
            return None
        return time.astimezone(UTC).isoformat(timespec="milliseconds")

    def judge(self, description: Mapping[str, Any], services: Services) -> Mapping[str, Any]:
        """The description of a successful job. Raises StepFailed if the step failed all the same.

        May be repeated.
        """
        return description

    def reason(self, description: Mapping[str, Any]) -> str:
        """The service's reason for the end of the job; may be empty."""
        texts = (description.get(key) for key in self.reason_keys)
        return "; ".join(str(text) for text in texts if text)

    def failure_kind(self, description: Mapping[str, Any]) -> FailureKind:
        """The kind of failure of a job that failed."""
        return "job"

    def failure_code(self, description: Mapping[str, Any]) -> str:
        """The code at the start of the failure reason, such as CapacityError; may be empty.

        Only the service writes the first of ``reason_keys``; user code can write ExitMessage.
        """
        found = _FAILURE_CODE.search(str(description.get(self.reason_keys[0], "")))
        return found[0] if found is not None else ""

    def request_stop(self, client: Any, name: str) -> None:
        """Asks the service to stop the job. Does nothing if it is stopping or has ended."""
        from botocore.exceptions import ClientError

        if self.stop is None:
            return
        try:
            self.send_stop(client, name)
        except ClientError as error:
            found = self.find(client, name)
            if found is None and not is_not_found(error):  # descriptions may lag behind
                raise error from None
            if found is None or self.status(found) == "Stopping":
                return
            if self.state(found) == "Executing":
                if not is_not_found(error):
                    raise error from None
                self.send_stop(client, name)  # it was just created

    def send_stop(self, client: Any, name: str) -> None:
        """Sends one stop request."""
        assert self.stop is not None
        getattr(client, self.stop)(**{self.name_key: name})


def exists_already(error: Any) -> bool:
    """Whether a botocore ClientError means that the name is in use.

    SageMaker has no common error code for this; descriptions may not show the resource yet.
    """
    details = error.response.get("Error", {})
    text = str(details.get("Message", "")).lower()
    # Newer messages end after "must be unique within an AWS account and region" (aws/sagemaker-
    # python-sdk#6256).
    return details.get("Code") == "ResourceInUse" or any(
        words in text for words in ("already exist", "must be unique within")
    )


def is_not_found(error: Any) -> bool:
    """Whether a botocore ClientError means that the resource does not exist.

    Many Describe operations report this as a ValidationException, so its message decides.
    """
    details = error.response.get("Error", {})
    if details.get("Code") in ("ResourceNotFound", "ResourceNotFoundException"):
        return True
    return details.get("Code") == "ValidationException" and bool(
        _NOT_FOUND.search(str(details.get("Message", "")))
    )
