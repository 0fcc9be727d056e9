"""Full and read-only disks, made with a small tmpfs in a mount namespace."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sagebridge_operators.backends.local import database, os_errors
from sagebridge_operators.run_errors import RecordsError

SETUP = """
import contextlib, os, subprocess, sys, time
from pathlib import Path
from tests.local.conftest import Bench

disk = Path(sys.argv[1])
bench = Bench(disk)
outputs = {"out": ("s3://bucket/out", "/opt/ml/processing/out")}

def run(script, kind="Processing", **more):
    body = bench.run(kind, "job", bench.processing(script, outputs=outputs, **more))
    print(body["ProcessingJobStatus"], "|", body.get("FailureReason"))

def fill():
    with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(4096))
"""


def on_small_disk(folder: Path, script: str, size: str = "4m") -> str:
    """The output of a script whose working folder is on a tmpfs of this size."""
    folder.mkdir()
    namespace = ["unshare", "--mount"]
    if os.geteuid():
        namespace += ["--user", "--map-root-user"]
    probe = [*namespace, "mount", "-t", "tmpfs", "none", str(folder)]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    mount = f'mount -t tmpfs -o size={size} none "$1" && exec "$2" -c "$3" "$1"'
    code = SETUP + textwrap.dedent(script)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [*namespace, "sh", "-c", mount, "sh", str(folder), sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FULL = os_errors.FULL


def test_script_on_a_full_disk_is_explained(tmp_path: Path) -> None:
    script = """
        run("open('/opt/ml/processing/out/x', 'wb').write(bytes(10 << 20))")
    """
    output = on_small_disk(tmp_path / "disk", script)
    assert output.startswith(f"Failed | AlgorithmError: {FULL} (now {tmp_path}/disk/home)")
    assert "Traceback" not in output


def test_output_that_does_not_fit_in_the_store_is_named(tmp_path: Path) -> None:
    script = """
        run("open('/opt/ml/processing/out/x', 'wb').write(bytes(2 << 20))")
    """
    output = on_small_disk(tmp_path / "disk", script)
    assert output.startswith("Failed | ClientError: an output could not be uploaded: ")
    assert f"s3://bucket/out/x: {FULL} (in {tmp_path}/disk/home/s3/bucket/out/x)" in output


def test_outcome_is_recorded_on_a_disk_without_any_space(tmp_path: Path) -> None:
    """The supervisor makes room for the record, so the job does not seem to have died."""
    script = """
        bench.start("Processing", "job", bench.processing(
            "import os, time; print('ready', flush=True)\\n"
            "while not os.path.exists('/opt/ml/processing/out/go'): time.sleep(0.05)",
            outputs=outputs))
        bench.wait_for_log("Processing", "job", "ready")
        (bench.home / "jobs/Processing/job/ml/processing/out/go").touch()
        fill()
        body = bench.wait("Processing", "job")
        print(body["ProcessingJobStatus"], "|", body.get("FailureReason"))
    """
    output = on_small_disk(tmp_path / "disk", script)
    assert output.startswith(("Completed | None", "Failed | ClientError: an output"))
    assert "supervisor" not in output


def test_request_on_a_full_disk_names_the_database_and_the_fix(tmp_path: Path) -> None:
    script = """
        from sagebridge_operators.backends.local import LocalBackend
        run("pass")
        fill()
        role = "arn:aws:iam::111122223333:role/r"
        request = bench.processing("pass", "x", ProcessingJobName="new", RoleArn=role)
        client = LocalBackend(bench.home, disk).client("sagemaker")
        try:
            client.create_processing_job(**request)
            print(client.describe_processing_job(ProcessingJobName="new")["FailureReason"])
        except Exception as error:
            print(error)
    """
    output = on_small_disk(tmp_path / "disk", script)
    assert FULL in output.splitlines()[-1]
    assert f"{tmp_path}/disk/home" in output.splitlines()[-1]


def test_store_that_turns_read_only_names_the_folder_and_the_fix(tmp_path: Path) -> None:
    script = """
        store = bench.home / "s3"
        store.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(store)], check=True)
        run("open('/opt/ml/processing/out/x', 'w').write('x')")
    """
    output = on_small_disk(tmp_path / "disk", script)
    assert "s3://bucket/out/x: Read-only file system; make the file and its folder" in output
    assert f"(in {tmp_path}/disk/home/s3/bucket/out/x)" in output
    assert os_errors.OTHER_FOLDER in output


def test_read_only_database_names_the_folder_and_the_fix(tmp_path: Path) -> None:
    script = """
        import gc
        from sagebridge_operators.backends.local.database import Records
        from sagebridge_operators.run_errors import RecordsError
        run("pass")
        for one in gc.get_objects():
            if isinstance(one, Records):
                one.close()
        # Until the supervisor has closed its files, the disk is busy.
        while subprocess.run(["mount", "-o", "remount,ro", str(disk)]).returncode:
            time.sleep(0.1)
        try:
            bench.records.insert("Model", "x", {})
        except RecordsError as error:
            print(error)
    """
    last = on_small_disk(tmp_path / "disk", script).splitlines()[-1]
    assert last.startswith("cannot use the database of local jobs: it is read-only; make the file")
    assert last.endswith(f"(in {tmp_path}/disk/home/records.db)")


def test_busy_database_is_not_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    records = database.Records(tmp_path / "records.db")
    records.insert("Model", "x", {})
    other = sqlite3.connect(records.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RecordsError, match="database is locked"):
        records.insert("Model", "y", {})
    other.close()
