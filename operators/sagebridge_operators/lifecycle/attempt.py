"""One attempt of a step: what its record holds, as JSON both ways.

A step has one attempt per generation (a person asked for it again), index (of a mapped task) and
number (attempts under its retry policies). The phases only go forward:

planned -> created -> stopping -> ended
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from sagebridge_operators.run_errors import FailureKind, FinalState, OlderRecord

FORMAT = 2
"""The shape of the records; those of format 1 had one file per step and no attempts."""
Phase = Literal["planned", "created", "stopping", "waiting", "ended"]
State = Literal["Executing", "Stopping", "Succeeded", "Failed", "Stopped"]
_RANKS: Mapping[Phase, int] = {"planned": 0, "created": 1, "stopping": 2, "waiting": 3, "ended": 3}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not succeed.

    ``code`` is AWS's error code or the class of the exception, ``text`` the reason that users see.
    """

    kind: FailureKind
    text: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A job or resource of an attempt: the name that describes it and, once known, its ARN.

    ``created`` is when its create request was answered, or when it was found.
    """

    name: str
    arn: str | None = None
    created: str = ""

    def as_job(self) -> dict[str, Any]:
        """The job as outputs and hooks have it."""
        return {"name": self.name, "arn": self.arn}


@dataclass(frozen=True, slots=True)
class End:
    """``at`` is an ISO 8601 time in UTC; ``outputs`` are there after a success only."""

    state: FinalState
    at: str
    failure: Failure | None = None
    outputs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """``started`` and ``deadline`` are ISO 8601 times in UTC; ``deadline`` may be empty.

    ``index`` holds the indexes of mapped tasks, outermost first; ``engine_try`` is the try of the
    engine that began the attempt, which only grows.
    """

    execution: str
    step: str
    type: str
    started: str
    index: tuple[int, ...] = ()
    generation: int = 0
    number: int = 0
    engine_try: int = 0
    phase: Phase = "planned"
    deadline: str = ""
    parts: tuple[Part, ...] = ()
    end: End | None = field(default=None)

    @property
    def order(self) -> tuple[int, int, int]:
        """Later attempts of a step and index are greater."""
        return self.engine_try, self.generation, self.number

    @property
    def job(self) -> Part | None:
        """The job or resource, if a create request for it was sent or its answer was lost."""
        return self.parts[-1] if self.parts and self.phase != "planned" else None

    @property
    def state(self) -> State:
        if self.end is not None:
            return self.end.state
        return "Stopping" if self.phase == "stopping" else "Executing"

    @property
    def running(self) -> bool:
        return self.end is None

    @property
    def reason(self) -> str:
        """Why it failed or was stopped; otherwise empty."""
        return self.end.failure.text if self.end and self.end.failure else ""

    @property
    def outputs(self) -> Mapping[str, Any] | None:
        return self.end.outputs if self.end else None

    @property
    def ended(self) -> str:
        return self.end.at if self.end else ""

    def may_become(self, other: Attempt) -> bool:
        """Whether a record may change into another: phases go forward, an end and a job stay."""
        if self.end is not None or (self.parts and not other.parts):
            return self == other
        return _RANKS[self.phase] <= _RANKS[other.phase]

    def ending(
        self,
        state: FinalState,
        failure: Failure | None = None,
        outputs: Mapping[str, Any] | None = None,
        at: str | None = None,
    ) -> Attempt:
        """The attempt with its end."""
        return replace(self, phase="ended", end=End(state, at or now(), failure, outputs))

    def failing(
        self, kind: FailureKind, text: str, code: str = "", *, state: FinalState = "Failed"
    ) -> Attempt:
        """The attempt as it ends without success."""
        return self.ending(state, Failure(kind, text, code))

    def as_json(self) -> dict[str, Any]:
        """The record of the attempt."""
        body = {name: value for name, value in asdict(self).items() if value not in ((), "", None)}
        return {"format": FORMAT, **body}

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Attempt:
        """The attempt of a record. Raises :class:`OlderRecord`."""
        if body.get("format") != FORMAT:
            raise OlderRecord(str(body.get("step") or body.get("name") or "a step"))
        fields = {name: value for name, value in body.items() if name != "format"}
        fields["index"] = tuple(fields.get("index", ()))
        fields["parts"] = tuple(Part(**part) for part in fields.get("parts", ()))
        if (end := fields.get("end")) is not None:
            failure = Failure(**end["failure"]) if end.get("failure") else None
            fields["end"] = End(end["state"], end["at"], failure, end.get("outputs"))
        return cls(**fields)


def now() -> str:
    """The present as records have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
