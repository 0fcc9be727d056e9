"""Records stay consistent while many processes use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sagebridge_operators.backends.local.database import AlreadyExists, NoSuchRecord, Records
from sagebridge_operators.run_errors import RecordsError

COUNTER = """
import sys
from pathlib import Path
from sagebridge_operators.backends.local.database import AlreadyExists, Records

records = Records(Path(sys.argv[1]))
try:
    records.insert("Counter", "c", {"n": 0})
except AlreadyExists:
    pass

def increase(body):
    body["n"] += 1

for _ in range(50):
    records.update("Counter", "c", increase)
"""


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "home" / "records.db")


def test_inserted_record_is_found(records: Records) -> None:
    records.insert("Model", "m", {"ModelName": "m", "n": 1.5, "none": None})
    assert records.get("Model", "m") == {"ModelName": "m", "n": 1.5, "none": None}
    assert records.get("Model", "other") is None
    assert records.get("Training", "m") is None


def test_name_is_unique_per_kind(records: Records) -> None:
    records.insert("Model", "m", {})
    records.insert("Training", "m", {})
    with pytest.raises(AlreadyExists):
        records.insert("Model", "m", {})


def test_list_filters_by_prefix_oldest_first(records: Records) -> None:
    for name in ("b", "a_1", "a%1", "a_2"):
        records.insert("Model", name, {"name": name})
    assert [body["name"] for body in records.list("Model")] == ["b", "a_1", "a%1", "a_2"]
    assert [body["name"] for body in records.list("Model", "a_")] == ["a_1", "a_2"]


def test_missing_record_cannot_be_changed(records: Records) -> None:
    with pytest.raises(NoSuchRecord):
        records.update("Model", "m", lambda _: None)
    with pytest.raises(NoSuchRecord):
        records.delete("Model", "m")


def test_failed_transaction_changes_nothing(records: Records) -> None:
    records.insert("Model", "m", {"n": 1})

    def change(body: dict[str, object]) -> None:
        body["n"] = 2
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        records.update("Model", "m", change)
    assert records.get("Model", "m") == {"n": 1}


def test_parallel_updates_are_not_lost(tmp_path: Path) -> None:
    database = tmp_path / "records.db"
    processes = [subprocess.Popen([sys.executable, "-c", COUNTER, str(database)]) for _ in range(6)]
    assert [process.wait(60) for process in processes] == [0] * 6
    assert Records(database).get("Counter", "c") == {"n": 300}
    assert {path.name for path in tmp_path.iterdir()} <= {
        "records.db",
        "records.db-wal",
        "records.db-shm",
    }


def test_unusable_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordsError, match=str(tmp_path / "file")):
        Records(tmp_path / "file" / "records.db").get("Model", "m")
    (tmp_path / "records.db").write_text("no database" * 100)
    with pytest.raises(RecordsError, match="not a database"):
        Records(tmp_path / "records.db").get("Model", "m")
