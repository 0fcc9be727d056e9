"""The operations of the local SageMaker API on lineage: actions, artifacts, contexts, associations.

Only what a client creates is recorded: jobs on this machine add no lineage.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sagebridge_operators.backends.local.api import ACCOUNT, ApiError, arn
from sagebridge_operators.backends.local.database import AlreadyExists, NoSuchRecord, Records
from sagebridge_operators.backends.local.listing import page

KINDS = ("Action", "Artifact", "Context")
_SIDES = ("Source", "Destination")


class Lineage:
    """Entities by ARN, and associations by the ARNs of both ends."""

    def __init__(self, region: str, records: Records) -> None:
        self.region, self.records = region, records

    def operations(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        """The API operations, by name."""
        verbs = {"Create": self.create, "Describe": self.describe, "Delete": self.delete}
        named = {
            f"{verb}{kind}": partial(call, kind) for verb, call in verbs.items() for kind in KINDS
        }
        return named | {
            **{f"List{kind}s": partial(self.list, kind) for kind in KINDS},
            "AddAssociation": self.add_association,
            "DeleteAssociation": self.delete_association,
            "ListAssociations": self.list_associations,
        }

    def create(self, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Record an entity. Artifacts have an id; names of the others are unique."""
        own = uuid.uuid4().hex if kind == "Artifact" else request[f"{kind}Name"]
        entity = arn(self.region, f"{kind.lower()}/{own}")
        now = time.time()
        body = {
            **{key: value for key, value in request.items() if key != "Tags"},
            f"{kind}Arn": entity,
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        try:
            self.records.insert(kind, entity, body)
        except AlreadyExists:
            raise ApiError("ValidationException", f"{kind} '{entity}' already exists.") from None
        return {f"{kind}Arn": entity}

    def describe(self, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
        entity = self._arn(kind, request)
        if (body := self.records.get(kind, entity)) is None:
            raise _missing(kind, entity)
        return body

    def delete(self, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
        entity = self._arn(kind, request)
        self._delete(kind, entity)
        return {f"{kind}Arn": entity}

    def list(self, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """One page of the entities of a kind."""
        uri, type_ = request.get("SourceUri"), request.get(f"{kind}Type")
        found = [
            body
            for body in self.records.list(kind)
            if uri in (None, body["Source"]["SourceUri"]) and type_ in (None, body[f"{kind}Type"])
        ]
        keys = (f"{kind}Arn", f"{kind}Name", "Source", f"{kind}Type", "Status", *_TIMES)
        return page(
            found, _bounds(request), fields=keys, into=f"{kind}Summaries", name=f"{kind}Arn"
        )

    def add_association(self, request: Mapping[str, Any]) -> dict[str, Any]:
        ends = {f"{side}Arn": str(request[f"{side}Arn"]) for side in _SIDES}
        body = {**request, **ends, "CreationTime": time.time()}
        for side in _SIDES:
            body |= self._entity(side, ends[f"{side}Arn"])
        try:
            self.records.insert("Association", _key(ends), body)
        except AlreadyExists:
            raise ApiError("ValidationException", "The association already exists.") from None
        return ends

    def delete_association(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._delete("Association", _key(request))
        return {f"{side}Arn": request[f"{side}Arn"] for side in _SIDES}

    def list_associations(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One page of the associations that match all filters."""
        filters = {f"{side}{key}" for side in _SIDES for key in ("Arn", "Type")}
        wanted = {key: request[key] for key in filters | {"AssociationType"} if key in request}
        found = [
            body for body in self.records.list("Association") if wanted.items() <= body.items()
        ]
        keys = [f"{side}{key}" for side in _SIDES for key in ("Arn", "Name", "Type")]
        return page(
            found,
            _bounds(request),
            fields=(*keys, "AssociationType", "CreationTime"),
            into="AssociationSummaries",
            name="SourceArn",
        )

    def _arn(self, kind: str, request: Mapping[str, Any]) -> str:
        given = request.get(f"{kind}Arn")
        return str(given or arn(self.region, f"{kind.lower()}/{request.get(f'{kind}Name')}"))

    def _entity(self, side: str, entity: str) -> dict[str, Any]:
        """The name and type of one end; empty for an ARN of an AWS account, kept as it is."""
        kind = entity.rpartition(":")[2].partition("/")[0].title()
        if (found := self.records.get(kind, entity) if kind in KINDS else None) is not None:
            return {f"{side}{key}": found.get(f"{kind}{key}", "") for key in ("Name", "Type")}
        if f":{ACCOUNT}:" in entity:
            raise _missing("Entity", entity)
        return {}

    def _delete(self, kind: str, key: str) -> None:
        try:
            self.records.delete(kind, key)
        except NoSuchRecord:
            raise _missing(kind, key) from None


_TIMES = ("CreationTime", "LastModifiedTime")


def _bounds(request: Mapping[str, Any]) -> dict[str, Any]:
    """A List request with the bounds of ``CreationTime`` as other operations have them."""
    return {key.replace("Created", "CreationTime"): value for key, value in request.items()}


def _key(ends: Mapping[str, Any]) -> str:
    return f"{ends['SourceArn']} {ends['DestinationArn']}"


def _missing(kind: str, key: str) -> ApiError:
    return ApiError("ResourceNotFound", f"{kind} '{key}' does not exist.")
