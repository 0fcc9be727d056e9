"""CloudWatch Logs in memory: groups and streams that a test writes, and ways to read them.

A test writes the log of a job with boto3: create_log_group, create_log_stream, put_log_events.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from tests.faulty_aws.protocol import AwsError, Call

_Event = dict[str, Any]


class LogsApi:
    """Answers calls by their operation. Thread-safe; groups are not separated by region."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: dict[str, dict[str, list[_Event]]] = {}
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "CreateLogGroup": self._create_group,
            "CreateLogStream": self._create_stream,
            "PutLogEvents": self._put,
            "FilterLogEvents": self._filter,
            "DescribeLogStreams": self._streams,
            "GetLogEvents": self._events,
        }

    def answer(self, call: Call) -> dict[str, Any]:
        """The members of the response. Raises AwsError."""
        if call.operation not in self._operations:
            message = f"The fake CloudWatch Logs does not have {call.operation}."
            raise AwsError("UnknownOperationException", message)
        with self._lock:
            return self._operations[call.operation](call.members)

    def clear(self) -> None:
        with self._lock:
            self._groups.clear()

    def _create_group(self, members: dict[str, Any]) -> dict[str, Any]:
        if members["logGroupName"] in self._groups:
            message = "The specified log group already exists"
            raise AwsError("ResourceAlreadyExistsException", message)
        self._groups[members["logGroupName"]] = defaultdict(list)
        return {}

    def _create_stream(self, members: dict[str, Any]) -> dict[str, Any]:
        self._group(members)[members["logStreamName"]] += []
        return {}

    def _put(self, members: dict[str, Any]) -> dict[str, Any]:
        group, stream = self._group(members), members["logStreamName"]
        if stream not in group:
            message = "The specified log stream does not exist."
            raise AwsError("ResourceNotFoundException", message)
        count = sum(map(len, group.values()))
        group[stream] += [
            {**event, "logStreamName": stream, "eventId": f"{count + number:056}"}
            for number, event in enumerate(members["logEvents"])
        ]
        return {"nextSequenceToken": "unused"}

    def _filter(self, members: dict[str, Any]) -> dict[str, Any]:
        """As the service, ``startFromHead=False`` returns the newest events first."""
        first, last = members.get("startTime", 0), members.get("endTime", float("inf"))
        found = [
            event
            for name, events in self._group(members).items()
            for event in events
            if name.startswith(members.get("logStreamNamePrefix", ""))
            and first <= event["timestamp"] <= last
        ]
        found.sort(key=itemgetter("timestamp", "eventId"))
        if not members.get("startFromHead", True):
            found.reverse()
        start = int(members.get("nextToken", 0))
        end = start + members.get("limit", 10_000)
        token = {"nextToken": str(end)} if end < len(found) else {}
        return {"events": found[start:end], "searchedLogStreams": [], **token}

    def _streams(self, members: dict[str, Any]) -> dict[str, Any]:
        names = sorted(self._group(members))
        wanted = [one for one in names if one.startswith(members.get("logStreamNamePrefix", ""))]
        return {
            "logStreams": [{"logStreamName": one} for one in wanted[: members.get("limit", 50)]]
        }

    def _events(self, members: dict[str, Any]) -> dict[str, Any]:
        """All events at once; as the service, the last token is returned again at the end."""
        events = self._group(members)[members["logStreamName"]]
        first = 0 if "nextToken" not in members else len(events)
        found = [one for one in events if one["timestamp"] >= members.get("startTime", 0)]
        return {"events": found[first:], "nextForwardToken": "f/1", "nextBackwardToken": "b/1"}

    def _group(self, members: dict[str, Any]) -> dict[str, list[_Event]]:
        if members["logGroupName"] not in self._groups:
            message = "The specified log group does not exist."
            raise AwsError("ResourceNotFoundException", message)
        return self._groups[members["logGroupName"]]
