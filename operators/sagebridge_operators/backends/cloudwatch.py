"""The log of a SageMaker job in CloudWatch Logs, read line by line while the job runs.

It follows FilterLogEvents in the CloudWatch Logs API reference: one call reads the streams of all
instances. CloudWatch never harms a step: calls are few and short, and no error is raised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from sagebridge_operators.lifecycle.backend import LINES
from sagebridge_operators.lifecycle.links import log_page
from sagebridge_operators.lifecycle.outages import code_of

_PAGE = 10_000
"""Most events in an answer."""
_EMPTY_PAGES = 3
"""Calls of one read in addition to those that its number of lines needs: pages may be empty."""
_LATE = 60_000
"""Milliseconds by which an event may appear later than newer ones, of other instances for example.
"""
_LONGEST = 8_000
"""Longest line shown, in characters; an event has up to one million."""
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 600.0
"""Seconds without a call after an error."""
_DENIED = ("AccessDenied", "AccessDeniedException")


@dataclass(slots=True)
class CloudWatchLog:
    """The events of all log streams of a group whose names start with ``<job>/``.

    ``position`` is the time of the newest event so far, in milliseconds since the epoch. A new
    worker that starts from it repeats the events of the last minute before it.
    """

    client: Callable[[], Any]
    group: str | None
    job: str
    position: int = 0
    _oldest: int = 0
    _seen: dict[str, int] = field(default_factory=dict)
    _streams: set[str] = field(default_factory=set)
    _noted: set[str] = field(default_factory=set)
    _denied: bool = False
    _pause: float = _FIRST_PAUSE
    _paused_until: float = 0.0

    def read(self, limit: int = LINES) -> list[str]:
        if self.group is None or self._denied or monotonic() < self._paused_until:
            return []
        try:
            events, complete = self._events(limit)
        except Exception as error:  # noqa: BLE001 - a line of the log reports it
            return self._note(*self._explain(error))
        self._pause = _FIRST_PAUSE
        new = [one for one in events if one["eventId"] not in self._seen]
        gap = len(new) > limit or (not complete and len(new) == len(events))
        new = new[-limit:]
        if gap:
            self._oldest = int(new[0]["timestamp"]) + 1
        self._remember(new)
        note = self._note("gap", f"only the last {limit} lines are shown") if gap else []
        return [*note, *(line for event in new for line in self._lines(event))]

    def _events(self, limit: int) -> tuple[list[dict[str, Any]], bool]:
        """The events since ``position`` by time, and whether these are all."""
        client = self.client()
        request: dict[str, Any] = {
            "logGroupName": self.group,
            "logStreamNamePrefix": f"{self.job}/",
            "startTime": max(self._oldest, self.position - _LATE),
            "limit": _PAGE,
        }
        shape = client.meta.service_model.operation_model("FilterLogEvents").input_shape
        if "startFromHead" in shape.members:  # not in botocore 1.42: then the oldest come first
            request |= {"startFromHead": False, "limit": min(limit, _PAGE)}
        events: list[dict[str, Any]] = []
        token: str | None = None
        for _ in range(limit // _PAGE + _EMPTY_PAGES):
            more = {"nextToken": token} if token else {}
            answer = client.filter_log_events(**request, **more)
            events += answer["events"]
            token = answer.get("nextToken")
            if token is None or ("startFromHead" in request and len(events) >= limit):
                break
        events.sort(key=lambda one: int(one["timestamp"]))  # stable
        return events, token is None

    def _remember(self, events: list[dict[str, Any]]) -> None:
        self._seen |= {one["eventId"]: one["timestamp"] for one in events}
        self._streams |= {one["logStreamName"] for one in events}
        self.position = max((self.position, *(one["timestamp"] for one in events)))
        oldest = self.position - _LATE
        self._seen = {event: at for event, at in self._seen.items() if at >= oldest}

    def _lines(self, event: dict[str, Any]) -> Iterator[str]:
        host = ""
        if len(self._streams) > 1:  # such as algo-2 for <job>/algo-2-1700000000
            name = event["logStreamName"].removeprefix(f"{self.job}/")
            host = f"[{re.sub(r'-[0-9]{6,}$', '', name)}] "
        for line in event["message"].splitlines():
            left = len(line) - _LONGEST
            yield host + (line if left <= 0 else f"{line[:_LONGEST]}… ({left} characters more)")

    def _explain(self, error: Exception) -> tuple[str, str]:
        """What to report about an error, with a key that keeps it from being repeated."""
        code = code_of(error)
        if code in _DENIED:
            self._denied = True
            return code, f"no permission logs:FilterLogEvents for the log group {self.group}"
        if code == "ResourceNotFoundException":
            # AWS creates the group with the first log of the first job in an account and region.
            return code, f"the log group {self.group} does not exist yet"
        self._paused_until = monotonic() + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return "outage", f"CloudWatch Logs does not answer ({error})"

    def _note(self, key: str, text: str) -> list[str]:
        """A line about the log; empty if it was there before."""
        if key in self._noted:
            return []
        self._noted.add(key)
        return [f"job log: {text}; the whole log: {self._page()}"]

    def _page(self) -> str:
        try:
            meta = self.client().meta
        except Exception:  # noqa: BLE001 - such as missing credentials, already reported
            return f"log group {self.group}, log streams {self.job}/"
        return log_page(meta.partition, meta.region_name, self.group or "", f"{self.job}/")
