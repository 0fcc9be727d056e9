"""Uploads before a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sagebridge.errors import UsageError
from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.launch.uploads import Upload
from sagebridge_operators.run_errors import StoreError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "a.csv").write_text("a")
    (tmp_path / "data" / "deep" / "b=c.csv").write_text("b")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data/a.csv=s3://bucket/x.csv", {"x.csv"}),
        ("data/a.csv=s3://bucket/in/", {"in/a.csv"}),
        ("data/a.csv=s3://bucket", {"a.csv"}),
        ("data/deep/b=c.csv=s3://bucket/k=v.csv", {"k=v.csv"}),
        ("data=s3://bucket/in", {"in/a.csv", "in/deep/b=c.csv"}),
        ("data=s3://bucket/in/", {"in/a.csv", "in/deep/b=c.csv"}),
        ("data=s3://bucket", {"a.csv", "deep/b=c.csv"}),
    ],
)
def test_upload_targets(folder: Path, text: str, expected: set[str]) -> None:
    s3 = LocalBackend(folder / "home", folder).client("s3")

    Upload.parse(text).send(s3)

    listed = s3.list_objects_v2(Bucket="bucket")["Contents"]
    assert {item["Key"] for item in listed} == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data", "expected LOCAL=s3://bucket/key"),
        ("data=bucket/key", "expected LOCAL=s3://bucket/key"),
        ("=s3://bucket/key", "expected LOCAL=s3://bucket/key"),
        ("data=s3:///key", "expected LOCAL=s3://bucket/key"),
        ("gone.csv=s3://bucket/key", "gone.csv does not exist"),
    ],
)
def test_invalid_upload(folder: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Upload.parse(text)


@pytest.mark.timeout(30)
def test_upload_of_a_fifo_is_rejected(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(UsageError, match="pipe is not a regular file or folder"):
        Upload.parse("pipe=s3://bucket/key")


def test_store_not_writable(folder: Path) -> None:
    (folder / "home").mkdir()
    (folder / "home" / "s3").write_text("a file where the store should be")
    upload = Upload.parse("data/a.csv=s3://bucket/a.csv")

    with pytest.raises(StoreError, match=r"s3://bucket/a\.csv"):
        upload.send(LocalBackend(folder / "home", folder).client("s3"))
