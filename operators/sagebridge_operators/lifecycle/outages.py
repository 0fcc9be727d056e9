"""Recognizes outages: errors after which the same call may succeed later."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from sagebridge.model.display import word_set
from sagebridge_operators.run_errors import RecordsUnreachable

THROTTLED = word_set(
    "BandwidthLimitExceeded PriorRequestNotComplete "
    "ProvisionedThroughputExceededException RequestLimitExceeded RequestThrottled "
    "RequestThrottledException RequestTimeout RequestTimeoutException SlowDown "
    "Throttling ThrottlingException ThrottledException TooManyRequestsException"
)
"""Throttling and similar error codes, which AWS sends with HTTP 400.

They are the codes that botocore's standard retry mode retries (ThrottledRetryableChecker and
TransientRetryableChecker in botocore/retries/standard.py), without LimitExceededException, which
may be a quota.
"""
EXPIRED = word_set(
    "ExpiredToken ExpiredTokenException InvalidSignatureException RequestExpired "
    "SignatureDoesNotMatch"
)
"""Error codes of expired credentials; renewed ones may be available already."""
_TOO_MANY = 429
_CANNOT_STORE = 507
"""HTTP status of the local backend if its disk is full or read-only; waiting does not help."""
TRANSIENT = frozenset(
    (
        errno.EAGAIN,
        errno.EBUSY,
        errno.EDQUOT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOLCK,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ESTALE,
        errno.ETIMEDOUT,
    )
)
"""File system errors that may pass, as on a network file system."""

T = TypeVar("T")


def patiently(call: Callable[[], T], seconds: float, pause: float = 2.0) -> T:
    """The result of ``call``, which is repeated for up to ``seconds`` during an outage."""
    until = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Exception as error:
            if not is_outage(error) or time.monotonic() > until:
                raise
        time.sleep(pause)


def is_outage(error: BaseException) -> bool:
    """Whether the same call may succeed later.

    True for throttling, HTTP 5xx, lost connections and expired credentials.
    """
    if isinstance(error, RecordsUnreachable):
        return True
    from botocore import exceptions

    if isinstance(error, exceptions.CredentialRetrievalError):
        return True
    return is_service_fault(error) or is_throttled(error) or is_expired(error)


def is_service_fault(error: BaseException) -> bool:
    """Whether a service failed or did not answer: HTTP 5xx or a lost connection."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return _status(error) >= 500 and _status(error) != _CANNOT_STORE
    return isinstance(
        error,
        exceptions.HTTPClientError | exceptions.ConnectionError | exceptions.IncompleteReadError,
    )


def is_throttled(error: BaseException) -> bool:
    """Whether a service rejected a call because of too many calls."""
    return code_of(error) in THROTTLED or _status(error) == _TOO_MANY


def _status(error: BaseException) -> int:
    """The HTTP status of an AWS error; 0 for other errors."""
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return int(metadata.get("HTTPStatusCode", 0))


def is_rejected(error: BaseException) -> bool:
    """Whether AWS rejected a call, for example because the role may not make it."""
    from botocore.exceptions import ClientError

    return isinstance(error, ClientError)


def is_expired(error: BaseException) -> bool:
    """Whether AWS rejected the credentials because they have expired."""
    return code_of(error) in EXPIRED


def code_of(error: BaseException) -> str:
    """AWS's error code, or the name of the exception's class."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def growing_pauses(seconds: tuple[float, float]) -> Iterator[float]:
    """Yields the seconds between two looks: from the first to the second, with jitter."""
    pause, longest = seconds
    while True:
        yield pause * random.uniform(0.8, 1.2)
        pause = min(pause * 1.5, longest)
