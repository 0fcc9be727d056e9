"""Lineage: CreateAction, CreateArtifact, CreateContext, then AddAssociation.

Names of actions and contexts are unique in an account and region. What exists with the same name
and source and was made since the execution began is the execution's own; anything else fails the
step. Artifacts have no unique name, so that they are looked up by their source first. Adding an
association again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sagebridge.model.expressions import execution
from sagebridge.model.pipeline import Step
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.job_type import JobType, exists_already

_KINDS = ("Action", "Artifact", "Context")
_SINCE = "Since"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage(JobType):
    """The calls of one step. Its name is that of its first entity."""

    def request(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, token: str, role: str | None
    ) -> dict[str, Any]:
        names = [one for kind in _KINDS for one in _names(kind, arguments)]
        first = names[0] if names else name
        return {**arguments, self.name_key: first, _SINCE: step.extra[_SINCE]}

    def handle(self, name: str, request: Mapping[str, Any], since: object) -> str:
        return str(request[self.name_key])

    def find(self, client: Any, name: str) -> None:
        """None: the entities of a step are not one resource."""

    def call(self, client: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        since = datetime.fromisoformat(request[_SINCE])
        arns: dict[str, dict[str, str]] = {}
        for kind in _KINDS:
            entities = request.get(f"{kind}s") or ()
            arns[kind] = {_name(kind, one): _made(client, kind, one, since) for one in entities}
        associations = []
        for one in request.get("Associations") or ():
            ends = {f"{side}Arn": _end(one, side, arns) for side in ("Source", "Destination")}
            given = {key: value for key, value in one.items() if key == "AssociationType"}
            _associate(client, {**ends, **given})
            associations.append({**ends, **given})
        found = {f"{kind}Arns": arns[kind] for kind in _KINDS}
        every = [arn for kind in _KINDS for arn in arns[kind].values()]
        name = request[self.name_key]
        own = {self.name_key: name, self.arn_key: every[0] if every else None}
        return {**own, **found, "Associations": associations}


def _names(kind: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """The names of a step's entities of one kind. Raises StepFailed if one is not an object."""
    for one in arguments.get(f"{kind}s") or ():
        if not isinstance(one, Mapping):
            raise StepFailed(f"{kind}s: expected objects, got {one!r}", kind="request")
        yield _name(kind, one)


def _name(kind: str, request: Mapping[str, Any]) -> str:
    """The name of an entity; an artifact without one is named by its source."""
    return str(request.get(f"{kind}Name") or request.get("Source", {}).get("SourceUri"))


def _made(client: Any, kind: str, request: Mapping[str, Any], since: datetime) -> str:
    """The ARN of an entity, which is created unless this execution has made it before."""
    from botocore.exceptions import ClientError

    if kind == "Artifact" and (found := _artifact(client, request, since)) is not None:
        return found
    try:
        return str(getattr(client, f"create_{kind.lower()}")(**request)[f"{kind}Arn"])
    except ClientError as error:
        if kind == "Artifact" or not exists_already(error):
            raise
    name = _name(kind, request)
    there = getattr(client, f"describe_{kind.lower()}")(**{f"{kind}Name": name})
    if there["CreationTime"] < since or there.get("Source") != request.get("Source"):
        text = f"{kind}Name {name!r} exists already and was not made by this execution"
        raise StepFailed(
            f"{text}; use another name, such as one with the execution's id", kind="request"
        )
    return str(there[f"{kind}Arn"])


def _artifact(client: Any, request: Mapping[str, Any], since: datetime) -> str | None:
    """The artifact that this execution has made with the same name and source."""
    uri = request.get("Source", {}).get("SourceUri")
    pages = client.list_artifacts(SourceUri=uri, CreatedAfter=since)["ArtifactSummaries"]
    for one in pages:
        same = (one.get("ArtifactName") or None) == request.get("ArtifactName")
        if same and one["CreationTime"] >= since:
            return str(one["ArtifactArn"])
    return None


def _end(association: Mapping[str, Any], side: str, arns: Mapping[str, Mapping[str, str]]) -> str:
    """The ARN of an association's end: ``{Arn}``, or ``{Name, Type}`` of an entity of the step."""
    end = association.get(side)
    if isinstance(end, Mapping):
        if isinstance(arn := end.get("Arn"), str):
            return arn
        found = arns.get(str(end.get("Type")), {}).get(str(end.get("Name")))
        if found is not None:
            return found
    expected = "expected an Arn, or Name and Type of an entity of the step"
    raise StepFailed(f"Associations: {side}: {expected}, got {end!r}", kind="request")


def _associate(client: Any, request: Mapping[str, Any]) -> None:
    from botocore.exceptions import ClientError

    try:
        client.add_association(**request)
    except ClientError as error:
        if not exists_already(error):
            raise


def _outputs(description: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "action_arns": description["ActionArns"],
        "artifact_arns": description["ArtifactArns"],
        "context_arns": description["ContextArns"],
        "associations": description["Associations"],
    }


def _actions(kind: str, *more: str) -> tuple[tuple[str, ...], str]:
    names = (f"Create{kind}", *more, "AddAssociation", "AddTags")
    actions = tuple(f"sagemaker:{name}" for name in names)
    return actions, f"arn:aws:sagemaker:*:{{account}}:{kind.lower()}/*"


STEP = Lineage(
    type="Lineage",
    create="create_action",
    describe="describe_action",
    name_key="Name",
    arn_key="Arn",
    role_key=None,
    noun="lineage",
    found_by="list",
    synchronous=True,
    not_deferred="its calls take only seconds",
    also_resolved={_SINCE: execution.start_datetime},
    outputs=_outputs,
    permissions=(
        _actions("Action", "DescribeAction"),
        _actions("Artifact", "ListArtifacts"),
        _actions("Context", "DescribeContext"),
    ),
)
