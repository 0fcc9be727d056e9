"""One attempt of a step: the content of its record, to and from JSON.

A step has one attempt per generation (grows when a user runs the step again), index (of a mapped
task) and number (attempts under its retry policies). The phases only go forward:

waiting -> planned -> created -> stopping -> ended

Only an attempt that a retry policy started begins as waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from sagebridge_operators.run_errors import FailureKind, FinalState, OlderRecord

FORMAT = 2
"""The format of the records. Format 1 had one file per step and no attempts."""
Phase = Literal["planned", "created", "stopping", "waiting", "ended"]
State = Literal["Executing", "Stopping", "Succeeded", "Failed", "Stopped", "Skipped"]
_RANKS: Mapping[Phase, int] = {"waiting": 0, "planned": 1, "created": 2, "stopping": 3, "ended": 4}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not succeed.

    ``code`` is AWS's error code or the class of the exception; users see ``text`` as the reason.
    """

    kind: FailureKind
    text: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A job or resource of an attempt: its name and, once known, its ARN.

    ``created`` is the time when its create request was answered or the job was found; for a call
    whose answer is the outcome, when it was sent.
    """

    name: str
    arn: str | None = None
    created: str = ""

    @property
    def shown(self) -> str:
        """The name for users, without what only ``find`` of a job type needs."""
        return self.name.partition("|")[0]

    def as_job(self) -> dict[str, Any]:
        """The job as outputs and hooks contain it."""
        return {"name": self.shown, "arn": self.arn}


@dataclass(frozen=True, slots=True)
class End:
    """The end of an attempt.

    Args:
        at: an ISO 8601 time in UTC.
        outputs: only a success has them.
        cached_from: ``<execution>/<step>`` of the earlier run whose job was reused.
    """

    state: FinalState
    at: str
    failure: Failure | None = None
    outputs: Mapping[str, Any] | None = None
    cached_from: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a step.

    Args:
        started: an ISO 8601 time in UTC.
        index: the indexes of mapped tasks, outermost first.
        engine_try: the try of the engine that began the attempt; it only grows.
        deadline: an ISO 8601 time in UTC, or empty.
        tries: the user's own retries used in this generation.
        uses: how often each retry policy of the step was used, in the order of the definition.
        begun: when the first of the attempts that ``uses`` counts started; empty: ``started``.
        next_look: when the step goes on or its watcher looks again; an ISO 8601 time, or empty.
        digest: the key in the step's cache, or empty.
        log_position: where the next line of the job's log begins.
        settings: what another process needs to find the job and its task: ``task_id`` (Airflow),
            ``aws_conn_id`` or ``aws_credentials``, ``region_name``, ``verify``. No secrets.
        items: the items of a ForEach, once they are known; they never change.
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
    settings: Mapping[str, Any] = field(default_factory=dict)
    end: End | None = field(default=None)
    tries: int = 0
    uses: tuple[int, ...] = ()
    begun: str = ""
    next_look: str = ""
    digest: str = ""
    log_position: int = 0
    items: tuple[Any, ...] | None = None

    @property
    def name(self) -> str:
        """The step as users see it; for an index such as ``Score-0``."""
        return "-".join((self.step, *map(str, self.index)))

    @property
    def order(self) -> tuple[int, int, int]:
        """A sort key: later attempts of a step and index are greater."""
        return self.engine_try, self.generation, self.number

    @property
    def job(self) -> Part | None:
        """The job or resource, once its create request may have been sent."""
        return self.parts[-1] if self.parts and self.phase != "planned" else None

    @property
    def called(self) -> bool:
        """Whether a call whose answer is the outcome was sent, and may not have returned."""
        return self.phase == "planned" and bool(self.parts) and bool(self.parts[-1].created)

    @property
    def state(self) -> State:
        if self.end is not None:
            return self.end.state
        return "Stopping" if self.phase == "stopping" else "Executing"

    @property
    def overdue(self) -> bool:
        """Whether the deadline has passed."""
        return bool(self.deadline) and datetime.now(UTC) > datetime.fromisoformat(self.deadline)

    @property
    def running(self) -> bool:
        return self.end is None

    @property
    def reason(self) -> str:
        """Why the attempt failed or was stopped; otherwise empty."""
        return self.end.failure.text if self.end and self.end.failure else ""

    @property
    def cached_from(self) -> str:
        """``<execution>/<step>`` of the earlier run whose job was reused; otherwise empty."""
        return self.end.cached_from if self.end else ""

    @property
    def outputs(self) -> Mapping[str, Any] | None:
        return self.end.outputs if self.end else None

    @property
    def ended(self) -> str:
        return self.end.at if self.end else ""

    def may_become(self, other: Attempt) -> bool:
        """Whether the record may change to ``other``: phases go forward; ends, jobs, items stay."""
        if self.items is not None and self.items != other.items:
            return False
        if self.end is not None or (self.parts and not other.parts):
            return self == other
        return _RANKS[self.phase] <= _RANKS[other.phase]

    def is_past(self, phase: Phase) -> bool:
        return _RANKS[self.phase] > _RANKS[phase]

    def with_end(
        self,
        state: FinalState,
        failure: Failure | None = None,
        outputs: Mapping[str, Any] | None = None,
        at: str | None = None,
    ) -> Attempt:
        """The attempt, ended in ``state``; ``at`` defaults to now."""
        return replace(self, phase="ended", end=End(state, at or now(), failure, outputs))

    def with_failure(
        self,
        kind: FailureKind,
        text: str,
        code: str = "",
        *,
        state: FinalState = "Failed",
        at: str | None = None,
    ) -> Attempt:
        """The attempt, ended without success."""
        return self.with_end(state, Failure(kind, text, code), at=at)

    def as_json(self) -> dict[str, Any]:
        """The record of the attempt."""
        empty: tuple[object, ...] = ((), {}, "", None)
        body = {name: value for name, value in asdict(self).items() if value not in empty}
        if self.items is not None:
            body["items"] = list(self.items)
        for name in ("tries", "log_position"):
            if not body[name]:
                del body[name]
        return {"format": FORMAT, **body}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Attempt:
        """The attempt in a record. Raises :class:`OlderRecord`."""
        if body.get("format") != FORMAT:
            raise OlderRecord(str(body.get("step") or body.get("name") or "a step"))
        fields = {name: value for name, value in body.items() if name != "format"}
        fields["index"] = tuple(fields.get("index", ()))
        fields["uses"] = tuple(fields.get("uses", ()))
        if "items" in fields:
            fields["items"] = tuple(fields["items"])
        fields["parts"] = tuple(Part(**part) for part in fields.get("parts", ()))
        if (end := fields.get("end")) is not None:
            failure = Failure(**end["failure"]) if end.get("failure") else None
            fields["end"] = End(**{**end, "failure": failure})
        return cls(**fields)


def now() -> str:
    """The current time as records store it: ISO 8601 in UTC, in milliseconds."""
    return as_text(datetime.now(UTC))


def as_text(moment: datetime) -> str:
    """A time as records store it."""
    return moment.isoformat(timespec="milliseconds")
