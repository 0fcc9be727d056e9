"""Rules for which requests fail, how, and when.

The first active rule that matches a request applies. A rule without
``seconds`` and ``times`` lasts until it is cleared.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from tests.faulty_aws.protocol import ACCOUNT, AwsError, Call

Fault = Literal[
    "throttle",
    "error",
    "expired_token",
    "bad_signature",
    "access_denied",
    "drop",
    "lose_answer",
    "delay",
    "not_found",
]

_THROTTLED = "Rate exceeded"
_EXPIRED = "The security token included in the request is expired"
_BAD_SIGNATURE = (
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method. Consult the service documentation for details."
)
_DENIED = (
    "User: {user} is not authorized to perform: {action} because no identity-based policy allows "
    "the {action} action"
)
# S3 and STS use other codes than JSON services, such as ThrottlingException.
_ERRORS: dict[tuple[str, str], tuple[str, int, str]] = {
    ("throttle", "json"): ("ThrottlingException", 400, _THROTTLED),
    ("throttle", "s3"): ("SlowDown", 503, "Please reduce your request rate."),
    ("throttle", "sts"): ("Throttling", 400, _THROTTLED),
    ("expired_token", "json"): ("ExpiredTokenException", 403, _EXPIRED),
    ("expired_token", "s3"): ("ExpiredToken", 400, "The provided token has expired."),
    ("expired_token", "sts"): ("ExpiredToken", 403, _EXPIRED),
    ("bad_signature", "json"): ("InvalidSignatureException", 403, _BAD_SIGNATURE),
    ("bad_signature", "s3"): ("SignatureDoesNotMatch", 403, _BAD_SIGNATURE),
    ("bad_signature", "sts"): ("SignatureDoesNotMatch", 403, _BAD_SIGNATURE),
    ("access_denied", "json"): ("AccessDeniedException", 400, _DENIED),
    ("access_denied", "s3"): ("AccessDenied", 403, "Access Denied"),
    ("access_denied", "sts"): ("AccessDenied", 403, _DENIED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """One fault and the requests it applies to.

    | fault | what happens |
    |---|---|
    | ``throttle`` | ThrottlingException (S3: SlowDown) |
    | ``error`` | HTTP ``status``, with ``code`` and ``message`` if given |
    | ``expired_token`` | ExpiredTokenException |
    | ``bad_signature`` | InvalidSignatureException (S3: SignatureDoesNotMatch) |
    | ``access_denied`` | AccessDeniedException (S3: AccessDenied) |
    | ``drop`` | the connection closes without an answer; nothing is done |
    | ``lose_answer`` | the request is carried out, then the connection closes |
    | ``delay`` | the request is carried out; the answer comes after ``delay`` seconds |
    | ``not_found`` | Describe does not find a resource: its first ``times`` looks, or its first |
    |   | ``seconds`` (both counted per resource, from its creation) |

    ``service``, ``operation``, ``name`` and ``access_key`` are globs (``name`` as in ``Call``).
    The rule begins ``start`` seconds after it was added and after ``skip`` matching requests. It
    then lasts ``seconds`` and for ``times`` requests, whichever is over first.With
    ``per_resource``, ``start`` and ``seconds`` count from the creation of the resource that a
    Describe or Stop call names.
    """

    fault: Fault
    service: str = "*"
    operation: str = "*"
    name: str = "*"
    access_key: str = "*"
    start: float = 0.0
    skip: int = 0
    seconds: float | None = None
    times: int | None = None
    status: int = 500
    code: str = ""
    message: str = ""
    delay: float = 1.0
    per_resource: bool = False

    def __post_init__(self) -> None:
        if self.fault not in get_args(Fault):
            raise ValueError(f"unknown fault {self.fault!r}; known: {', '.join(get_args(Fault))}")
        for key in ("start", "skip", "seconds", "times", "status", "delay"):
            value = getattr(self, key)
            if not isinstance(value, int | float | None):
                raise TypeError(f"{key} must be a number, not {value!r}")  # from JSON

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FaultRule:
        """Raises ValueError for an unknown key or fault."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(value.keys() - known):
            raise ValueError(f"unknown keys in a fault rule: {', '.join(unknown)}")
        if "fault" not in value:
            raise ValueError("a fault rule needs the key 'fault'")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def matches(self, call: Call) -> bool:
        return (
            fnmatchcase(call.service, self.service)
            and fnmatchcase(call.operation, self.operation)
            and fnmatchcase(call.name, self.name)
            and fnmatchcase(call.access_key, self.access_key)
        )

    def error(self, call: Call) -> AwsError | None:
        """The error to answer with, or None if this fault does not answer with an error."""
        if self.fault == "error":
            code = "ServiceUnavailable" if self.status == 503 else "InternalFailure"
            if call.service == "s3" and self.status == 500:
                code = "InternalError"
            message = self.message or "We encountered an internal error. Please try again."
            return AwsError(self.code or code, message, self.status)
        protocol = call.service if call.service in ("s3", "sts") else "json"
        found = _ERRORS.get((self.fault, protocol))
        if found is None:
            return None
        code, status, message = found
        user = f"arn:aws:iam::{ACCOUNT}:user/{call.access_key}"
        text = message.format(user=user, action=f"{call.service}:{call.operation}")
        return AwsError(self.code or code, self.message or text, status)


class _AddedRule:
    """A rule with its start time and the requests it has matched so far."""

    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self.added = time.monotonic()
        self.matched = 0
        self.used = 0
        self.looks: Counter[tuple[str, str]] = Counter()

    def takes(self, call: Call, created: Callable[[Call], float | None]) -> bool:
        rule = self.rule
        if not rule.matches(call):
            return False
        now = time.monotonic()
        since = created(call) if rule.per_resource else self.added
        if since is None or now < (began := since + rule.start):
            return False
        if rule.fault == "not_found":
            return self._hides(call, created(call), now)
        if rule.seconds is not None and now >= began + rule.seconds:
            return False
        self.matched += 1
        if self.matched <= rule.skip or (rule.times is not None and self.used >= rule.times):
            return False
        self.used += 1
        return True

    def _hides(self, call: Call, created: float | None, now: float) -> bool:
        """Whether to hide an existing resource."""
        rule = self.rule
        if created is None or (rule.seconds is not None and now >= created + rule.seconds):
            return False
        key = (call.operation, call.name)
        self.looks[key] += 1
        look = self.looks[key] - rule.skip
        return look > 0 and (rule.times is None or look <= rule.times)


class FaultPlan:
    """The rules of one server. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._added: list[_AddedRule] = []

    def add(self, *rules: FaultRule) -> None:
        with self._lock:
            self._added += [_AddedRule(rule) for rule in rules]

    def clear(self) -> None:
        with self._lock:
            self._added.clear()

    def rules(self) -> list[FaultRule]:
        with self._lock:
            return [added.rule for added in self._added]

    def take(self, call: Call, created: Callable[[Call], float | None]) -> FaultRule | None:
        """The rule that applies to a call. Counts as one use of it.

        ``created`` returns the monotonic time at which the resource that a call describes or
        stops was created, or None if it does not exist.
        """
        with self._lock:
            return next((one.rule for one in self._added if one.takes(call, created)), None)
