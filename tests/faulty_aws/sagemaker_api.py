"""SageMaker's jobs, models, model packages and experiments, in memory.

A row in ``sagemaker_kinds.py`` is enough for a kind of resource with the usual operations.
"""

from __future__ import annotations

import re
import threading
import time
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from botocore import session
from botocore.model import ServiceModel, StructureShape

from tests.faulty_aws.job_scripts import TERMINAL, JobScript
from tests.faulty_aws.listing import page
from tests.faulty_aws.protocol import AwsError, Call, name_of
from tests.faulty_aws.sagemaker_kinds import KINDS, Kind, Resource, trained_by, value_of

_OPERATION = re.compile(r"(Create|Describe|Stop|List|Update)(\w+)")
_SYNCHRONOUS = "Created"
_NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"


class SageMakerApi:
    """Answers calls by their operation. Thread-safe; resources are not separated by region."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._resources: dict[tuple[str, str], Resource] = {}
        self._tokens: dict[str, str] = {}
        self._scripts: list[JobScript] = []

    def answer(self, call: Call) -> dict[str, Any]:
        """The members of the response. Raises AwsError."""
        found = _OPERATION.fullmatch(call.operation)
        verb, noun = found.groups() if found else ("", "")
        kind = KINDS.get(noun.removesuffix("s") if verb == "List" else noun)
        with self._lock:
            if call.operation == "AddAssociation":
                return {name: call.members[name] for name in ("SourceArn", "DestinationArn")}
            match verb:
                case "Create" if kind is not None:
                    return self._create(call, kind)
                case "Describe" if kind is not None:
                    return self._describe(call, kind)
                case "Stop" if kind is not None and kind.not_to_stop is not None:
                    return self._stop(call, kind, kind.not_to_stop)
                case "Update" if kind is not None and kind.updates:
                    return self._update(call, kind)
                case "List" if kind is not None:
                    return self._list(call, kind)
                case "List" if noun == "TrainingJobsForHyperParameterTuningJob":
                    return self._list_trained(call)
        message = f"The fake SageMaker does not have {call.operation}."
        raise AwsError("UnknownOperationException", message)

    def created(self, call: Call) -> float | None:
        """When the resource that a call describes or stops was created (monotonic), if it was."""
        found = _OPERATION.fullmatch(call.operation)
        if found is None or found[1] not in ("Describe", "Stop"):
            return None
        with self._lock:
            one = self._resources.get((found[2], call.name))
            return one.created if one else None

    def names(self, kind: str, name: str) -> list[str]:
        """The names of the resources whose kind and name match these globs, oldest first."""
        with self._lock:
            return [
                one.name
                for one in self._resources.values()
                if fnmatchcase(one.kind.name, kind) and fnmatchcase(one.name, name)
            ]

    def not_found(self, call: Call) -> AwsError:
        """The service's error when the resource of a Describe call does not exist."""
        kind = KINDS[call.operation.removeprefix("Describe")]
        return kind.error(kind.missing, call.region, call.name)

    def add_scripts(self, *scripts: JobScript) -> None:
        with self._lock:
            for script in scripts:
                self._scripts.append(script)
                if script.running:
                    self._rescript(script)

    def scripts(self) -> list[JobScript]:
        with self._lock:
            return list(self._scripts)

    def clear_scripts(self) -> None:
        """Later jobs walk as if no script had been added; running jobs keep theirs."""
        with self._lock:
            self._scripts.clear()

    def clear(self) -> None:
        with self._lock:
            for state in (self._resources, self._tokens, self._scripts):
                state.clear()

    def _rescript(self, script: JobScript) -> None:
        for one in self._resources.values():
            if one.walk is None or not script.matches(_scripted(one.kind), one.name):
                continue
            if one.current.look(counts=False) not in TERMINAL:
                one.script = script
                if one.stopped is None:
                    one.walk = script.walk()
                else:
                    one.stopped = script.stop_walk()

    def _add(self, call: Call, kind: Kind, name: str, body: dict[str, Any]) -> Resource:
        if (kind.name, name) in self._resources:
            raise kind.error(kind.taken, call.region, name)
        category = f"{body['JobCategory']}/" if "JobCategory" in body else ""
        arn = kind.arn(call.region, f"{category}{name}")
        one = Resource(kind, name, arn, {**kind.defaults, **body}, time.monotonic(), time.time())
        if kind.walks:
            found = (s for s in reversed(self._scripts) if s.matches(_scripted(kind), name))
            one.script = next(found, JobScript())
            one.walk = one.script.walk()
        self._resources[kind.name, name] = one
        return one

    def _create(self, call: Call, kind: Kind) -> dict[str, Any]:
        """Create a resource. Members that name others must name existing ones, as in AWS."""
        if kind.name == "ModelPackage":
            return self._create_package(call, kind)
        for name in ("Experiment", "Trial"):
            config = call.members if kind.name == "Trial" else call.members.get("ExperimentConfig")
            given = (config or {}).get(f"{name}Name")
            if given is not None and name != kind.name:
                self._require(call, name, given)
        name = _checked(kind, call.name or "0")
        if kind.name == "Artifact":  # has an id instead of a unique name
            name = f"{len(self._resources):032x}"
        one = self._add(call, kind, name, call.members)
        return {f"{kind.name}Arn": one.arn}

    def _create_package(self, call: Call, kind: Kind) -> dict[str, Any]:
        """Create a version in a group, or a named package; idempotent by ClientToken."""
        token = call.members.get("ClientToken", "")
        if token in self._tokens:
            return {"ModelPackageArn": self._tokens[token]}
        members = dict(call.members)
        if "ModelPackageGroupName" in members:
            group = name_of(members["ModelPackageGroupName"])
            self._require(call, "ModelPackageGroup", group)
            # No package is ever deleted, so the count of a group's packages is its last version.
            version = 1 + sum(
                one.body.get("ModelPackageGroupName") == group
                for one in self._resources.values()
                if one.kind is kind
            )
            name = f"{group}/{version}"
            members |= {"ModelPackageGroupName": group, "ModelPackageVersion": version}
        else:
            name = _checked(kind, call.name)
        one = self._add(call, kind, name, members)
        if token:
            self._tokens[token] = one.arn
        return {"ModelPackageArn": one.arn}

    def _require(self, call: Call, kind: str, name: str) -> None:
        if (kind, name) not in self._resources:
            raise KINDS[kind].error(KINDS[kind].missing, call.region, name)

    def _describe(self, call: Call, kind: Kind) -> dict[str, Any]:
        self._require(call, kind.name, call.name)
        one = self._resources[kind.name, call.name]
        shown = one.described(one.current.look() if one.walk else _SYNCHRONOUS)
        # Without request members that Describe does not return, such as Tags.
        return {key: value for key, value in shown.items() if key in _output(call.operation)}

    def _stop(self, call: Call, kind: Kind, missing: str) -> dict[str, Any]:
        one = self._resources.get((kind.name, call.name))
        if one is None:
            raise kind.error(("ValidationException", missing), call.region, call.name)
        status = one.current.look(counts=False)
        if status in TERMINAL:
            text = f"The request was rejected because the {kind.noun} is in status {status}."
            raise AwsError("ValidationException", text)
        if one.stopped is None and one.script is not None:
            one.stopped = one.script.stop_walk()
        return {}

    def _update(self, call: Call, kind: Kind) -> dict[str, Any]:
        self._require(call, kind.name, call.name)
        one = self._resources[kind.name, call.name]
        assert one.script is not None
        if one.current.look(counts=False) not in TERMINAL:
            text = f'Cannot update in-progress {kind.noun} "{one.arn}".'
            raise AwsError("ValidationException", text)
        one.before, one.body = one.body, {**one.body, **call.members}
        found = (s for s in reversed(self._scripts) if s.matches(_scripted(kind), one.name))
        one.script = next(found, JobScript())
        one.walk = one.script.walk()
        return {f"{kind.name}Arn": one.arn}

    def _list(self, call: Call, kind: Kind) -> dict[str, Any]:
        within = {
            member: name_of(call.members[member])
            for member in ("ModelPackageGroupName", "ExperimentName")
            if member in call.members
        }
        found = (
            one.described(one.current.look(counts=False) if one.walk else _SYNCHRONOUS)
            for one in self._resources.values()
            if one.kind is kind and within.items() <= one.body.items()
            if one.body.get("Source", {}).get("SourceUri") == call.members.get("SourceUri")
        )
        if kind.name == "ModelPackage":  # versions have no name
            found = (one | {"ModelPackageName": name_of(one["ModelPackageArn"])} for one in found)
        summary = _output(call.operation)[kind.summaries].member
        return page(call, kind.summaries, kind.name, found, frozenset(summary.members))

    def _list_trained(self, call: Call) -> dict[str, Any]:
        asked, kind = call.members, "HyperParameterTuningJob"
        self._require(call, kind, asked[f"{kind}Name"])
        found = trained_by(self._resources[kind, asked[f"{kind}Name"]])
        if asked.get("SortBy") == "FinalObjectiveMetricValue":
            found.sort(key=value_of, reverse=asked.get("SortOrder") != "Ascending")
        return {"TrainingJobSummaries": found[: asked.get("MaxResults", 10)]}


def _scripted(kind: Kind) -> str:
    """The kind as job scripts name it: ``Training`` for TrainingJob."""
    return kind.name.removesuffix("Job")


@cache
def _model() -> ServiceModel:
    return session.get_session().get_service_model("sagemaker")


@cache
def _output(operation: str) -> dict[str, Any]:
    """The members of an operation's response, with their shapes."""
    shape = _model().operation_model(operation).output_shape
    assert isinstance(shape, StructureShape)
    return dict(shape.members)


def _checked(kind: Kind, name: str) -> str:
    pattern = _NAME.replace("62", str(kind.longest - 1))
    if re.fullmatch(pattern, name):
        return name
    member = kind.name[0].lower() + kind.name[1:]
    raise AwsError(
        "ValidationException",
        f"1 validation error detected: Value '{name}' at '{member}Name' failed to satisfy "
        f"constraint: Member must satisfy regular expression pattern: {pattern}",
    )
