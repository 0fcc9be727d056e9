"""What cannot run is refused in words, before an engine is started or a job is made."""

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


def refuse(desk: Desk, *words: str | Path, code: int, env: dict[str, str] | None = None) -> str:
    """What ``sagebridge run`` says on standard error; nothing was recorded and no engine began."""
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
        ("MseThreshold", ["MseThreshold", "Name=Value"]),
    ],
)
def test_parameters(desk: Desk, given: str, words: list[str]) -> None:
    said = refuse(desk, EXAMPLE, "-p", given, code=2)

    assert all(word in said for word in words), said


def test_every_bad_parameter_at_once(desk: Desk) -> None:
    said = refuse(desk, EXAMPLE, "-p", "A=1", "-p", "MseThreshold=low", code=2)

    assert "A" in said
    assert "MseThreshold" in said


def test_a_parameter_without_default_or_value(desk: Desk) -> None:
    source = desk.write(
        "needs.json", pipeline(processing("Sleep", SLEEP, {"Get": "Parameters.T"}), T="String")
    )

    assert "T" in refuse(desk, source, code=2)


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
    ids=["empty", "cut off", "a list", "something else", "no text", "an unknown step type"],
)
def test_definitions(desk: Desk, content: str, code: int) -> None:
    source = desk.write("given.json", content)

    assert "given.json" in refuse(desk, source, code=code)


def test_a_definition_that_is_not_there(desk: Desk) -> None:
    assert "gone.json" in refuse(desk, desk.folder / "gone.json", code=5)


def test_a_file_to_upload_that_is_not_there(desk: Desk, source: Path) -> None:
    assert "gone.csv" in refuse(desk, source, "--upload=gone.csv=s3://bucket/gone.csv", code=2)


def test_a_store_that_is_no_folder(desk: Desk, source: Path) -> None:
    desk.home.mkdir()
    (desk.home / "s3").write_text("")

    assert str(desk.home / "s3") in refuse(desk, source, code=6)


def test_a_working_folder_that_cannot_be_made(desk: Desk, source: Path) -> None:
    desk.home.write_text("")

    said = desk.type("run", source, *ON)

    assert said.returncode == 6
    assert f"the working folder {desk.home} cannot be used: not a folder" in said.stderr
    assert "--workdir" in said.stderr


@pytest.fixture
def full(desk: Desk) -> Iterator[Desk]:
    """A working folder on a disk of 64 KiB that is full."""
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


def test_a_store_without_room(full: Desk, source: Path) -> None:
    assert f"the working folder {full.home} cannot be used" in refuse(full, source, code=6)


def test_a_machine_where_no_job_gets_a_folder_of_its_own(desk: Desk, source: Path) -> None:
    tools = desk.folder / "tools"
    tools.mkdir()

    said = refuse(desk, source, code=6, env={"SAGEBRIDGE_ISOLATION": "bwrap", "PATH": str(tools)})

    assert "bwrap is not installed" in said
    assert "apt-get install bubblewrap" in said
