"""A step type that is one AWS job or resource, said as data and read by every engine alike.

The values follow the SageMaker API reference: the operation that makes the resource, the one that
describes it, which of its status values end it and which of those are success.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sagebridge.model.pipeline import Step

State = Literal["Executing", "Succeeded", "Failed", "Stopped"]

_NOT_FOUND = re.compile(r"not find|not found|does ?n[o']t exist", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobType:
    """``stop`` is None where AWS cannot stop it, ``status_key`` where it is made synchronously."""

    type: str
    service: str = "sagemaker"
    create: str
    describe: str
    stop: str | None = None
    name_key: str
    arn_key: str
    name_limit: int = 63
    role_key: str | None = "RoleArn"
    status_key: str | None = None
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

    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        """The create request: resolved arguments, our name, the default role where none is said."""
        del step, token
        request = {k: v for k, v in arguments.items() if k not in self.dropped_arguments}
        request[self.name_key] = name
        if self.role_key is not None and role is not None:
            request.setdefault(self.role_key, role)
        return request

    def find(self, client: Any, name: str) -> dict[str, Any] | None:
        """What the service says of the resource of that name; None where there is none."""
        from botocore.exceptions import ClientError

        try:
            return dict(getattr(client, self.describe)(**{self.name_key: name}))
        except ClientError as error:
            if is_not_found(error):
                return None
            raise

    def start(self, client: Any, request: Mapping[str, Any], name: str) -> str:
        """Makes the resource and returns the name that describes it.

        An answer that it is there already means that an earlier call of ours, whose answer was
        lost, made it: names are ours alone.
        """
        from botocore.exceptions import ClientError

        try:
            getattr(client, self.create)(**request)
        except ClientError as error:
            if not _exists_already(error) and self.find(client, name) is None:
                raise error from None
        return name

    def state(self, description: Mapping[str, Any]) -> State:
        """A status that is not known counts as still executing."""
        if self.status_key is None:
            return "Succeeded"
        return self.states.get(str(description.get(self.status_key)), "Executing")

    def knows(self, status: str) -> bool:
        """Whether a status is one that the API reference lists."""
        return self.status_key is None or status in self.interim or status in self.states

    def status(self, description: Mapping[str, Any]) -> str:
        return str(description.get(self.status_key, "Created")) if self.status_key else "Created"

    def ended(self, description: Mapping[str, Any]) -> str | None:
        """When the job ended, as ISO 8601 in UTC; None where the service does not say."""
        time = description.get(f"{self.type}EndTime")
        if not isinstance(time, datetime):
            return None
        return time.astimezone(UTC).isoformat(timespec="milliseconds")

    def reason(self, description: Mapping[str, Any]) -> str:
        """Why the job ended as it did, in the service's words; empty where it says nothing."""
        texts = (description.get(key) for key in self.reason_keys)
        return "; ".join(str(text) for text in texts if text)

    def request_stop(self, client: Any, name: str) -> None:
        """Asks the service to stop the job; one that stops or has ended already is left alone."""
        from botocore.exceptions import ClientError

        if self.stop is None:
            return
        try:
            getattr(client, self.stop)(**{self.name_key: name})
        except ClientError as error:
            found = self.find(client, name)
            if found is None or self.status(found) == "Stopping":
                return
            if self.state(found) == "Executing":
                raise error from None


def _exists_already(error: Any) -> bool:
    """Whether a botocore ClientError says that the name is taken; descriptions may lag behind."""
    details = error.response.get("Error", {})
    text = str(details.get("Message", "")).lower()
    return details.get("Code") == "ResourceInUse" or "already exist" in text


def is_not_found(error: Any) -> bool:
    """Whether a botocore ClientError says that the resource does not exist."""
    details = error.response.get("Error", {})
    if details.get("Code") in ("ResourceNotFound", "ResourceNotFoundException"):
        return True
    return details.get("Code") == "ValidationException" and bool(
        _NOT_FOUND.search(str(details.get("Message", "")))
    )
