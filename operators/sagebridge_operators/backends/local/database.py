"""The records of the local backend: a SQLite table of JSON bodies, safe for many processes."""

from __future__ import annotations

import builtins
import json
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sagebridge_operators.backends.local.os_errors import describe, describe_database
from sagebridge_operators.lifecycle.private_folders import make_private
from sagebridge_operators.run_errors import RecordsError

BUSY_SECONDS = 30.0

SCHEMA = """
CREATE TABLE records (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    created REAL NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, name)
)
"""


class AlreadyExists(KeyError):
    """A record with this kind and name already exists."""


class NoSuchRecord(KeyError):
    """No record has this kind and name."""


class Transaction:
    """Reads and writes that happen together or not at all."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def insert(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """Add a record.

        Raises:
            AlreadyExists: the record exists.
        """
        try:
            self._connection.execute(
                "INSERT INTO records VALUES (?, ?, ?, ?)",
                (kind, name, time.time(), json.dumps(body)),
            )
        except sqlite3.IntegrityError:
            raise AlreadyExists(kind, name) from None

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The body of a record, or None."""
        row = self._connection.execute(
            "SELECT body FROM records WHERE kind = ? AND name = ?", (kind, name)
        ).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def update(
        self, kind: str, name: str, change: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Apply ``change`` to the body of a record and return it.

        Raises:
            NoSuchRecord: the record does not exist.
        """
        body = self.get(kind, name)
        if body is None:
            raise NoSuchRecord(kind, name)
        change(body)
        self._connection.execute(
            "UPDATE records SET body = ? WHERE kind = ? AND name = ?",
            (json.dumps(body), kind, name),
        )
        return body

    def delete(self, kind: str, name: str) -> None:
        """Remove a record.

        Raises:
            NoSuchRecord: the record does not exist.
        """
        cursor = self._connection.execute(
            "DELETE FROM records WHERE kind = ? AND name = ?", (kind, name)
        )
        if cursor.rowcount == 0:
            raise NoSuchRecord(kind, name)

    def list(self, kind: str, prefix: str = "") -> builtins.list[dict[str, Any]]:
        """The bodies of a kind whose names start with ``prefix``, oldest first."""
        rows = self._connection.execute(
            "SELECT body FROM records WHERE kind = ? AND substr(name, 1, ?) = ? "
            "ORDER BY created, rowid",
            (kind, len(prefix), prefix),
        )
        return [dict(json.loads(row[0])) for row in rows]


class _Open:
    """A connection of one thread of one process to one file.

    SQLite forbids to use or close a connection after a fork ("How To Corrupt An SQLite Database
    File", 2.6), so a forked process leaves it as it is.
    """

    def __init__(self, path: Path) -> None:
        self.key = _key(path)
        self.process = os.getpid()
        self.connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # Without a sync per commit a power failure may undo the last commits, and kills the jobs.
        self.connection.execute("PRAGMA synchronous = NORMAL")

    def __del__(self) -> None:
        if self.process == os.getpid():
            self.connection.close()
        else:
            _FORKED.append(self.connection)


_FORKED: list[sqlite3.Connection] = []


def _key(path: Path) -> tuple[int, int, int]:
    """The process and the file; a database that was deleted and made again has another one."""
    found = path.stat()
    return os.getpid(), found.st_dev, found.st_ino


class Records:
    """The records in the database at ``path``, which is created on first use.

    Each thread has its own connection, so an object may be shared between threads and survives a
    fork. Every method raises RecordsError if the database cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = threading.local()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write transaction; other writers wait until it ends."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(connection)
            except BaseException:
                if connection.in_transaction:  # SQLite rolls back by itself on a full disk
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def insert(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """See Transaction.insert."""
        with self.transaction() as transaction:
            transaction.insert(kind, name, body)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """See Transaction.get."""
        with self._connection() as connection:
            return Transaction(connection).get(kind, name)

    def update(
        self, kind: str, name: str, change: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """See Transaction.update."""
        with self.transaction() as transaction:
            return transaction.update(kind, name, change)

    def delete(self, kind: str, name: str) -> None:
        """See Transaction.delete."""
        with self.transaction() as transaction:
            transaction.delete(kind, name)

    def list(self, kind: str, prefix: str = "") -> builtins.list[dict[str, Any]]:
        """See Transaction.list."""
        with self._connection() as connection:
            return Transaction(connection).list(kind, prefix)

    def close(self) -> None:
        """Closes the connection of this thread; the next call opens another."""
        self._thread.open = None

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the file with SQLite's shared memory, for which a full disk would have no room."""
        with self._connection() as connection:
            Transaction(connection).get("", "")
            yield

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._opened()
        except sqlite3.DatabaseError as error:
            self._thread.open = None
            raise RecordsError(str(self.path), describe_database(self.path, error)) from error

    def _opened(self) -> sqlite3.Connection:
        """The connection of this thread.

        It stays open: closing the last one writes SQLite's log into the database, which is slow.
        """
        if not self.path.exists():
            self._create()
        there: _Open | None = getattr(self._thread, "open", None)
        try:
            if there is None or there.key != _key(self.path):
                there = self._thread.open = _Open(self.path)
        except OSError as error:
            raise RecordsError(str(self.path), describe(error)) from error
        return there.connection

    def _create(self) -> None:
        """Create the database in one step.

        It is linked into place when complete: SQLite does not wait for other connections when it
        changes the journal mode to WAL.
        """
        try:
            make_private(self.path.parent)
            with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".records-") as folder:
                fresh = Path(folder, self.path.name)
                with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.execute(SCHEMA)
                with suppress(FileExistsError):
                    os.link(fresh, self.path)
        except OSError as error:
            raise RecordsError(str(self.path), describe(error)) from error
