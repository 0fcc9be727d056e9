"""The requests that a server received, in order of arrival."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from tests.faulty_aws.protocol import Call


@dataclass(slots=True)
class RequestRecord:
    """One request. ``time`` is seconds since the epoch; the other fields are those of ``Call``.

    ``host`` is the host that the client meant, which is not this server if it is ``proxied``.

    ``done`` is True once the request was carried out, even if its answer was lost. ``status`` is
    the HTTP status of the answer. It is 0 until the answer is ready, and stays 0 if the connection
    was closed without one. ``fault`` is the fault that applied, or empty.
    """

    time: float
    service: str
    operation: str
    name: str
    members: dict[str, Any]
    access_key: str
    region: str
    host: str
    proxied: bool
    attempt: int
    fault: str = ""
    done: bool = False
    status: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class RequestLog:
    """Records of requests. Thread-safe; returns copies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[RequestRecord] = []

    def begin(self, call: Call, fault: str) -> RequestRecord:
        """Record a request on arrival."""
        record = RequestRecord(
            time=time.time(),
            service=call.service,
            operation=call.operation,
            name=call.name,
            members=call.members,
            access_key=call.access_key,
            region=call.region,
            host=call.http.headers.get("host", ""),
            proxied=call.http.proxied,
            attempt=call.attempt,
            fault=fault,
        )
        with self._lock:
            self._records.append(record)
        return record

    def finish(self, record: RequestRecord, *, done: bool, status: int) -> None:
        with self._lock:
            record.done, record.status = done, status

    def clear(self) -> None:
        with self._lock:
            self._records.clear()

    def records(self) -> list[RequestRecord]:
        with self._lock:
            return [replace(record) for record in self._records]


def select(
    records: Iterable[RequestRecord], service: str, operation: str, name: str
) -> list[RequestRecord]:
    """The records whose service, operation and name match these globs."""
    return [
        record
        for record in records
        if fnmatchcase(record.service, service)
        and fnmatchcase(record.operation, operation)
        and fnmatchcase(record.name, name)
    ]
