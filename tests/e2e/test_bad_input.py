"""Invalid input is rejected with a message before an engine or a job starts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.definitions import SLEEP, pipeline, processing
from tests.e2e.desk import ENGINE, REPOSITORY, Desk

ON = ("--on", ENGINE, "--backend", "local")
EXAMPLE = REPOSITORY / "pipelines" / "abalone" / "definition.json"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def source(desk: Desk) -> Path:
    return desk.write("sleep.json", pipeline(processing("Sleep", SLEEP, "0")))


def rejection(desk: Desk, *words: str | Path, code: int, env: dict[str, str] | None = None) -> str:
    """The standard error of ``sagebridge run``, which starts no engine and records nothing."""
    done = desk.type("run", *words, *ON, env=env)

    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (desk.home / ENGINE).exists()
    assert not list((desk.home / "executions").glob("*"))
    return done.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("MseTreshold=1", ["MseTreshold", "MseThreshold"]),
        ("ProcessingInstanceCount=two", ["ProcessingInstanceCount", "'two'", "Integer"]),
        ("MseThreshold=low", ["MseThreshold", "'low'", "Float"]),
        ("MseThreshold", ["MseThreshold", "NAME=VALUE"]),
    ],
)
def test_invalid_parameter_is_rejected(desk: Desk, given: str, words: list[str]) -> None:
    output = rejection(desk, EXAMPLE, "-p", given, code=2)

    assert all(word in output for word in words), output


def test_all_invalid_parameters_are_reported(desk: Desk) -> None:
    output = rejection(desk, EXAMPLE, "-p", "A=1", "-p", "MseThreshold=low", code=2)

    assert "A" in output
    assert "MseThreshold" in output


def test_missing_parameter_value_is_rejected(desk: Desk) -> None:
    source = desk.write(
        "needs.json", pipeline(processing("Sleep", SLEEP, {"Get": "Parameters.T"}), T="String")
    )

    assert "T" in rejection(desk, source, code=2)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", 5),
        (EXAMPLE.read_text()[:2000], 5),
        ("[1, 2]", 5),
        ('{"apiVersion": "v1", "kind": "Pod"}', 5),
        ("\0\1\2", 5),
        (json.dumps({"Version": "2020-12-01", "Steps": [{"Name": "A", "Type": "Nonsense"}]}), 1),
    ],
    ids=["empty", "truncated", "list", "other JSON", "binary", "unknown step type"],
)
def test_invalid_definition_is_rejected(desk: Desk, content: str, code: int) -> None:
    source = desk.write("given.json", content)

    assert "given.json" in rejection(desk, source, code=code)


def test_missing_definition_is_rejected(desk: Desk) -> None:
    assert "gone.json" in rejection(desk, desk.folder / "gone.json", code=5)


def test_missing_upload_is_rejected(desk: Desk, source: Path) -> None:
    assert "gone.csv" in rejection(desk, source, "--upload=gone.csv=s3://bucket/gone.csv", code=2)


def test_store_must_be_a_folder(desk: Desk, source: Path) -> None:
    desk.home.mkdir()
    (desk.home / "s3").write_text("")

    assert str(desk.home / "s3") in rejection(desk, source, code=6)


def test_working_folder_must_be_a_folder(desk: Desk, source: Path) -> None:
    desk.home.write_text("")

    output = desk.type("run", source, *ON)

    assert output.returncode == 6
    assert f"the working folder {desk.home} cannot be used: not a folder" in output.stderr
    assert "--workdir" in output.stderr


@pytest.fixture
def full(desk: Desk) -> Iterator[Desk]:
    """A working folder on a full disk of 64 KiB."""
    desk.home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(desk.home)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        (desk.home / "s3").symlink_to("/dev/full/s3")
        yield desk
        return
    try:
        (desk.home / "s3").mkdir()
        with suppress(OSError), (desk.home / "s3" / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        yield desk
    finally:
        subprocess.run(["umount", str(desk.home)], check=True)


def test_full_disk_is_rejected(full: Desk, source: Path) -> None:
    assert f"the working folder {full.home} cannot be used" in rejection(full, source, code=6)


def test_missing_isolation_is_rejected(desk: Desk, source: Path) -> None:
    tools = desk.folder / "tools"
    tools.mkdir()

    output = rejection(
        desk, source, code=6, env={"SAGEBRIDGE_ISOLATION": "bwrap", "PATH": str(tools)}
    )

    assert "bwrap is not installed" in output
    assert "apt-get install bubblewrap" in output
