"""What both programs that run a file share: the request, recorded calls, short waits."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.carried.fakes import FAKES
from tests.carried.translations import translated

_READS = ("BatchGet", "Describe", "Filter", "Get", "Head", "List")
_KEPT = ("s3", "sns", "sqs")
"""Services whose effects moto keeps."""


def serve(run: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer each line of standard input with a line of JSON; other output goes to stderr.

    A request with ``to`` is a translation, any other one a run.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    shorten_waits()
    recorder = CallRecorder()
    for line in sys.stdin:
        request = json.loads(line)
        with environment(request.get("environment", {})):
            recorder.begin(request.get("answers", {}), request.get("additions", {}))
            try:
                found = translated(request) if "to" in request else run(request)
            except BaseException:  # noqa: BLE001 - the parent reports it
                found = {"error": traceback.format_exc()}
        answers.write(json.dumps({**found, "calls": recorder.calls}, default=str) + "\n")
        answers.flush()


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for one run."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def shorten_waits(longest: float = 0.2) -> None:
    """Let no call of ``time.sleep`` take longer."""
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(float(seconds), longest))


class CallRecorder:
    """Records the AWS calls that change something, and answers some calls.

    ``answers`` has the answer by ``service.Operation``; of several answers in a list, each counts
    once and the last one stays. ``additions`` are values that the answer of moto lacks.
    """

    def __init__(self) -> None:
        from botocore.client import BaseClient

        self.calls: list[Any] = []
        self.answers: dict[str, list[Any]] = {}
        self.additions: Mapping[str, Any] = {}
        owner: Any = BaseClient
        self._send = owner._make_api_call

        def call(client: Any, operation: str, request: Any) -> Any:
            return self._call(client, operation, request)

        owner._make_api_call = call

    def begin(self, answers: Mapping[str, Any], additions: Mapping[str, Any]) -> None:
        self.calls, self.additions = [], additions
        self.answers = {
            name: list(one) if isinstance(one, list) else [one] for name, one in answers.items()
        }

    def _call(self, client: Any, operation: str, request: Any) -> Any:
        service = client.meta.service_model.service_name
        name = f"{service}.{operation}"
        if service not in _KEPT and not operation.startswith(_READS):
            given = {key: one for key, one in request.items() if one not in ({}, [], None)}
            self.calls.append([name, json.loads(json.dumps(given, default=str))])
        if found := self.answers.get(name):
            return found.pop(0) if len(found) > 1 else found[0]
        if fake := FAKES.get(name):
            ok = {"ResponseMetadata": {"HTTPStatusCode": 200}}
            return {**ok, **fake(partial(self._send, client), request)}
        answer = self._send(client, operation, request)
        return {**answer, **more} if (more := self.additions.get(name)) else answer
