"""Execution records: what ran, a JSON object an execution and a step, in a folder or in S3.

``<location>/<execution>/execution.json``, ``definition.json``, ``steps/<step>.json`` and, once a
person has asked for it, ``stop.json``. Each object has one writer; in a folder it locks
``steps/<step>.lock`` as long as it is at the step. What is recorded of a step holds no job's
environment; the definition is kept as it came.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from sagebridge_operators.lifecycle.file_locks import hold
from sagebridge_operators.run_errors import (
    AmbiguousExecution,
    ExecutionRecordsError,
    UnknownExecution,
)


class Objects(Protocol):
    """A place for small JSON objects, keyed by slashed names."""

    @property
    def location(self) -> str: ...

    def put(self, key: str, body: Mapping[str, Any]) -> None: ...

    def get(self, key: str) -> dict[str, Any] | None: ...

    def keys(self, prefix: str) -> Iterator[str]: ...

    def remove(self, key: str) -> None: ...

    def attend(self, key: str) -> AbstractContextManager[int | None]:
        """Shows others that this process is at something; the descriptor that shows it, if one."""

    def attended(self, key: str) -> bool | None:
        """Whether a process shows that it is at something; None where that cannot be known."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Objects in a folder of this machine, written whole or not at all."""

    path: Path

    @property
    def location(self) -> str:
        return str(self.path)

    def put(self, key: str, body: Mapping[str, Any]) -> None:
        target = self.path / key
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(body, file, indent=1)
                Path(temporary).replace(target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._error(key, error) from error

    def get(self, key: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self.path / key).read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError) as error:
            raise self._error(key, error) from error

    def keys(self, prefix: str) -> Iterator[str]:
        try:
            os.scandir(self.path).close()  # a glob finds nothing in what may not be read
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error(prefix, error) from error
        for path in sorted(self.path.glob(f"{prefix}*")):
            files = path.rglob("*") if path.is_dir() else [path]
            # What is being written has a name of its own.
            ready = sorted(file for file in files if file.suffix == ".json")
            yield from (str(file.relative_to(self.path)) for file in ready)

    def remove(self, key: str) -> None:
        (self.path / key).unlink(missing_ok=True)

    @contextmanager
    def attend(self, key: str) -> Iterator[int | None]:
        with ExitStack() as stack:
            held = None
            with suppress(OSError):
                held = stack.enter_context(hold(self._lock(key), fcntl.LOCK_SH))
            yield held

    def attended(self, key: str) -> bool | None:
        try:
            with hold(self._lock(key)) as free:
                return free is None
        except OSError:
            return None

    def _lock(self, key: str) -> Path:
        return (self.path / key).with_suffix(".lock")

    def _error(self, key: str, error: Exception) -> ExecutionRecordsError:
        damaged = isinstance(error, ValueError | TypeError)
        problem = f"damaged ({error})" if damaged else getattr(error, "strerror", None)
        return ExecutionRecordsError(key, str(self.path), problem or str(error))


@dataclass(frozen=True, slots=True)
class Bucket:
    """Objects below an ``s3://bucket/prefix``, through a boto3 client that is made when used."""

    location: str
    client: Callable[[], Any]

    def _place(self, key: str) -> dict[str, str]:
        bucket, _, prefix = self.location.removeprefix("s3://").partition("/")
        return {
            "Bucket": bucket,
            "Key": "/".join(part for part in (prefix.strip("/"), key) if part),
        }

    def put(self, key: str, body: Mapping[str, Any]) -> None:
        self.client().put_object(**self._place(key), Body=json.dumps(body, indent=1).encode())

    def get(self, key: str) -> dict[str, Any] | None:
        client = self.client()
        try:
            return dict(json.loads(client.get_object(**self._place(key))["Body"].read()))
        except client.exceptions.NoSuchKey:
            return None

    def keys(self, prefix: str) -> Iterator[str]:
        place = self._place("")
        below = f"{place['Key']}/" if place["Key"] else ""
        pages = self.client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=place["Bucket"], Prefix=f"{below}{prefix}"):
            yield from (item["Key"].removeprefix(below) for item in page.get("Contents", ()))

    def remove(self, key: str) -> None:
        self.client().delete_object(**self._place(key))

    def attend(self, key: str) -> AbstractContextManager[int | None]:
        del key
        return nullcontext()

    def attended(self, key: str) -> bool | None:
        del key
        return None


def open_objects(location: str, s3: Callable[[], Any]) -> Objects:
    """``s3://bucket/prefix``, ``file://`` or a folder."""
    if location.startswith("s3://"):
        return Bucket(location, s3)
    return Folder(Path(location.removeprefix("file://")))


@dataclass(frozen=True, slots=True)
class ExecutionRecords:
    """Reads and writes what the executions of all pipelines did."""

    objects: Objects

    def begin(
        self, execution: str, body: Mapping[str, Any], definition: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Records that an execution exists; whichever of its steps comes first does it."""
        if self.objects.get(f"{execution}/execution.json") is None:
            self.objects.put(f"{execution}/definition.json", definition())
            self.objects.put(f"{execution}/execution.json", body)

    def step(self, execution: str, step: str, body: Mapping[str, Any]) -> None:
        self.objects.put(_step_key(execution, step), body)

    def attend(self, execution: str, step: str) -> AbstractContextManager[int | None]:
        """While it is entered this process is at the step; the descriptor that shows it, if one."""
        return self.objects.attend(_step_key(execution, step))

    def attended(self, execution: str, step: str) -> bool | None:
        """Whether a worker is at the step; None where that cannot be known, as in S3."""
        return self.objects.attended(_step_key(execution, step))

    def finish(self, execution: str, status: str, reason: str = "") -> None:
        """Records the end that an engine reported."""
        end = {"status": status, "reason": reason, "ended": now()}
        self.objects.put(f"{execution}/end.json", end)

    def request_stop(self, execution: str) -> None:
        self.objects.put(f"{execution}/stop.json", {"requested": now()})

    def stop_requested(self, execution: str) -> bool:
        return self.objects.get(f"{execution}/stop.json") is not None

    def reopen(self, execution: str) -> None:
        """An execution that goes on after its end: neither ended nor asked to stop any more."""
        self.objects.remove(f"{execution}/end.json")
        self.objects.remove(f"{execution}/stop.json")

    def ids(self) -> list[str]:
        """Every execution, the newest first."""
        names = [key.partition("/")[0] for key in self.objects.keys("") if "/execution.json" in key]
        started = {name: str((self.execution(name) or {}).get("started")) for name in names}
        return sorted(started, key=started.__getitem__, reverse=True)

    def execution(self, execution: str) -> dict[str, Any] | None:
        return self.objects.get(f"{execution}/execution.json")

    def end(self, execution: str) -> dict[str, Any] | None:
        return self.objects.get(f"{execution}/end.json")

    def definition(self, execution: str) -> dict[str, Any]:
        return self.objects.get(f"{execution}/definition.json") or {"Steps": []}

    def step_record(self, execution: str, step: str) -> dict[str, Any] | None:
        return self.objects.get(_step_key(execution, step))

    def steps(self, execution: str) -> dict[str, dict[str, Any]]:
        """The record of each step that began, by name."""
        prefix = f"{execution}/steps/"
        found = {}
        for key in self.objects.keys(prefix):
            record = self.objects.get(key)
            if record is not None:
                found[str(record["name"])] = record
        return found

    def resolve(self, text: str) -> str:
        """An id, or the start of one. Raises UnknownExecution and AmbiguousExecution."""
        known = self.ids()
        matching = [name for name in known if name.startswith(text)] if text else known[:1]
        if text in known:
            return text
        if not matching:
            raise UnknownExecution(text, known, self.objects.location)
        if len(matching) > 1:
            raise AmbiguousExecution(text, matching)
        return matching[0]


def _step_key(execution: str, step: str) -> str:
    """The name is quoted: a definition may call a step ``../../x``."""
    return f"{execution}/steps/{quote(step, safe='')}.json"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
