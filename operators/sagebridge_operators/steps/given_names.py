"""Resources with a name from the definition, such as an endpoint, that others may have made.

The identity of such a resource is ``<name>|<what is wanted>|<since>``. A resource with this name is
an attempt's own if it is what is wanted and was created or changed since then. Once its request was
answered, the identity ends with ``|sent``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT, Value
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.job_type import (
    JobType,
    ResourceBusy,
    exists_already,
)

_SENT = "sent"
_SLOW = timedelta(minutes=2)
"""How long a description may not show a change that was accepted."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A parsed identity. Without ``since`` any resource of this name is the one."""

    name: str
    wanted: str = ""
    since: datetime | None = None
    sent: bool = False

    @classmethod
    def parse(cls, text: str) -> Identity:
        name, wanted, since, *sent = [*text.split("|"), "", ""][: max(3, text.count("|") + 1)]
        return cls(name, wanted, datetime.fromisoformat(since) if since else None, bool(sent))

    def __str__(self) -> str:
        since = self.since.isoformat() if self.since is not None else ""
        return "|".join((self.name, self.wanted, since, *([_SENT] if self.sent else [])))


def digest(*values: Any) -> str:
    """12 hex characters for JSON values."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenName(JobType):
    """A resource whose name is used exactly as given; without one sagebridge makes a name.

    Args:
        wanted: what distinguishes a resource; from its request or its description.
    """

    owned: bool = False
    wanted: Callable[[Mapping[str, Any]], str]

    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        name = str(arguments.get(self.name_key) or name)
        return JobType.request(self, step, arguments, name=name, token=token, role=role)

    def given_name(self, step: Step) -> Value:
        return ABSENT  # a given name is not the prefix of a name

    def handle(self, name: str, request: Mapping[str, Any], since: datetime) -> str:
        return str(Identity(request[self.name_key], self.wanted(request), since))

    def find(self, client: Any, name: str) -> dict[str, Any] | None:
        identity = Identity.parse(name)
        found = JobType.find(self, client, identity.name)
        if found is None or identity.since is None:
            return found
        if identity.sent:
            return self.seen(found, identity)
        changed = found.get("LastModifiedTime", found["CreationTime"])
        own = changed >= identity.since and self.is_wanted(found, identity)
        return found if own else None

    def is_wanted(self, found: Mapping[str, Any], identity: Identity) -> bool:
        """Whether a description shows what was requested."""
        return self.wanted(found) == identity.wanted

    def seen(self, found: dict[str, Any], identity: Identity) -> dict[str, Any]:
        """The description of a resource whose request was answered."""
        return found

    def start(self, client: Any, request: Mapping[str, Any], name: str) -> str:
        """Creates the resource. Raises StepFailed if the name belongs to another one."""
        from botocore.exceptions import ClientError

        identity = Identity.parse(name)
        sent = str(replace(identity, sent=True))
        try:
            getattr(client, self.create)(**request)
        except ClientError as error:
            if not exists_already(error):
                if self.find(client, name) is None:
                    raise error from None
                return sent
            if JobType.find(self, client, identity.name) is None:
                text = f"{self.name_key} {identity.name!r} exists, but cannot be described yet"
                raise ResourceBusy(text) from None
            if self.find(client, name) is None:
                raise StepFailed(
                    f"{self.name_key} {identity.name!r} exists already and was not made by this "
                    "execution; use another name or delete it",
                    kind="request",
                ) from None
        return sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated(GivenName):
    """A resource that is created, or updated if it exists.

    Args:
        update: the boto3 method that updates it.
        update_keys: the members of the create request that the update has, too.
        busy: the statuses in which it cannot be updated.
    """

    since_attempt: bool = True
    update: str
    update_keys: tuple[str, ...]
    busy: frozenset[str]

    def seen(self, found: dict[str, Any], identity: Identity) -> dict[str, Any]:
        """The description, in which a change that was accepted is not over before it is seen.

        After a failed update the service goes back to what was there before, which is a failure.
        """
        assert self.status_key is not None
        assert identity.since is not None
        if self.state(found) != "Succeeded":
            return found
        changed = found.get("LastModifiedTime", found["CreationTime"])
        if self.is_wanted(found, identity):
            late = datetime.now(identity.since.tzinfo) - identity.since > _SLOW
            return (
                found
                if changed >= identity.since or late
                else {**found, self.status_key: "Updating"}
            )
        if changed < identity.since:
            return {**found, self.status_key: "Updating"}
        return {**found, self.status_key: "RolledBack"}

    def start(self, client: Any, request: Mapping[str, Any], name: str) -> str:
        """Creates or updates the resource. Raises ResourceBusy while it is being changed."""
        from botocore.exceptions import ClientError

        identity = Identity.parse(name)
        sent = str(replace(identity, sent=True))
        found = JobType.find(self, client, identity.name)
        try:
            if found is None:
                getattr(client, self.create)(**request)
                return sent
            self._check_idle(found, identity.name)
            changes = {one: request[one] for one in self.update_keys if one in request}
            getattr(client, self.update)(**changes)
        except ClientError as error:
            if self.find(client, name) is not None:
                return sent  # an earlier request, whose answer was lost
            there = JobType.find(self, client, identity.name)
            if there is None and not exists_already(error):
                raise error from None
            if there is None or (found is None and exists_already(error)):
                raise ResourceBusy(
                    f"{self.name_key} {identity.name!r} has just been made"
                ) from None
            self._check_idle(there, identity.name)
            raise error from None
        return sent

    def _check_idle(self, found: Mapping[str, Any], name: str) -> None:
        if (status := self.status(found)) in self.busy:
            raise ResourceBusy(
                f"{self.name_key} {name!r} is {status}, which this step did not request"
            )
