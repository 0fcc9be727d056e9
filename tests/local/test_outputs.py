"""Outputs and inputs that are not regular files, links, and stops while files are copied."""

from __future__ import annotations

import io
import os
import socket
import tarfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from sagebridge_operators.backends.local import supervisor, uploads
from sagebridge_operators.backends.local.store import open_regular
from sagebridge_operators.backends.local.supervised_job import Job, JobStopped
from sagebridge_operators.run_errors import StoreError

if TYPE_CHECKING:
    from tests.local.conftest import Bench

OUT = "/opt/ml/processing/out"
OUTPUTS = {"out": ("s3://bucket/out", OUT)}
SPECIAL = """
import os, socket
os.mkdir("folder")
os.mkfifo("folder/pipe")
socket.socket(socket.AF_UNIX).bind("folder/socket")
os.symlink("/dev/zero", "folder/device")
os.symlink("folder/pipe", "link")
os.symlink("/etc/hostname", "outside")
os.symlink("nowhere", "broken")
open("kept", "w").write("kept")
"""
LEFT_OUT = "broken, folder/device, folder/pipe, folder/socket, link, outside"


def stored(bench: Bench, prefix: str) -> set[str]:
    return {found.uri.removeprefix(prefix) for found in bench.store.list(prefix)}


def test_only_regular_files_of_an_output_are_uploaded(bench: Bench) -> None:
    script = f"import os; os.chdir('{OUT}')\n{SPECIAL}"
    body = bench.run("Processing", "job", bench.processing(script, outputs=OUTPUTS))
    assert body["ProcessingJobStatus"] == "Completed", bench.log("Processing", "job")
    assert stored(bench, "s3://bucket/out/") == {"kept"}
    assert f"outside the job's folder: {LEFT_OUT}\n" in bench.log("Processing", "job")


def test_only_regular_files_of_a_model_are_packed(bench: Bench) -> None:
    script = f"""
import os; os.chdir('/opt/ml/model')
{SPECIAL}
os.symlink("/opt/ml/model/kept", "copy")
os.link("kept", "second")
os.mkdir("/opt/ml/code/weights")
open("/opt/ml/code/weights/w", "w").write("w")
os.symlink("/opt/ml/code/weights", "weights")
"""
    specification = {"ContainerEntrypoint": ["python", "-c", script]}
    request = bench.training({}, {}, specification=specification)
    body = bench.run("Training", "job", request)
    assert body["TrainingJobStatus"] == "Completed", bench.log("Training", "job")
    content = bench.store.read(body["ModelArtifacts"]["S3ModelArtifacts"])
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        found = {one.name: tar.extractfile(one) for one in tar if not one.isdir()}
        texts = {name: file.read().decode() for name, file in found.items() if file}
    assert texts == {"copy": "kept", "kept": "kept", "second": "kept", "weights/w": "w"}
    assert LEFT_OUT in bench.log("Training", "job")


def test_links_are_resolved_as_the_job_sees_them(bench: Bench) -> None:
    """Through linked folders, and with '..' in the job's file tree."""
    script = f"""
import os
os.makedirs("/opt/ml/data/deep")
open("/opt/ml/data/deep/a", "w").write("a")
os.symlink("/opt/ml/data", "/opt/ml/alias")
os.symlink("/opt/ml/alias/deep/../deep", "{OUT}/folder")
os.symlink("../../../../log", "{OUT}/root")
open("/opt/ml/../ml/data/b", "w").write("b")
os.symlink("/opt/ml/../ml/data/b", "{OUT}/b")
"""
    body = bench.run("Processing", "job", bench.processing(script, outputs=OUTPUTS))
    assert body["ProcessingJobStatus"] == "Completed", bench.log("Processing", "job")
    assert stored(bench, "s3://bucket/out/") == {"folder/a", "b"}


def test_folder_linked_into_itself_fails_the_job(bench: Bench) -> None:
    script = f"import os; os.mkdir('{OUT}/a'); os.symlink('{OUT}', '{OUT}/a/again')"
    body = bench.run("Processing", "job", bench.processing(script, outputs=OUTPUTS))
    assert "a/again is a circular link" in body["FailureReason"]


def test_output_folder_linked_out_of_the_job_is_left_out(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private/x").write_text("secret")
    script = f"import os; os.rmdir('{OUT}'); os.symlink('{tmp_path}/private', '{OUT}')"
    bench.run("Processing", "job", bench.processing(script, outputs=OUTPUTS))
    assert stored(bench, "s3://bucket/out") == set()


def test_linked_message_file_is_not_read(bench: Bench) -> None:
    script = "import os, sys; os.symlink('/etc/passwd', '/opt/ml/output/message'); sys.exit(1)"
    body = bench.run("Processing", "job", bench.processing(script))
    assert "ExitMessage" not in body
    assert "root:" not in body["FailureReason"]


def test_special_files_of_an_input_are_left_out(bench: Bench, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text("a")
    os.mkfifo(data / "pipe")
    (data / "device").symlink_to("/dev/zero")
    script = "import os; print('found', os.listdir('/opt/ml/processing/in'))"
    inputs = {"in": (f"file://{data}/", "/opt/ml/processing/in")}
    body = bench.run("Processing", "job", bench.processing(script, inputs=inputs))
    log = bench.log("Processing", "job")
    assert body["ProcessingJobStatus"] == "Completed", log
    assert "found ['a.csv']" in log
    assert "input 'in': left out, as they are not regular files" in log
    assert str(data / "pipe") in log


@pytest.mark.timeout(60)
def test_special_file_in_the_store_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.store.write("s3://bucket/a", b"")
    os.mkfifo(bench.home / "s3/bucket/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(bench.home / "s3/bucket")  # the path of a socket has at most 107 bytes
        server.bind("socket")
        for name in ("pipe", "socket"):
            with pytest.raises(StoreError, match="not a regular file"):
                bench.store.read(f"s3://bucket/{name}")
    (bench.home / "s3/bucket/link").symlink_to("/dev/zero")
    with pytest.raises(StoreError):
        bench.store.read("s3://bucket/link")
    with pytest.raises(StoreError, match="not a regular file"):
        bench.store.put(Path("/dev/zero"), "s3://bucket/zero")


def job_of(bench: Bench) -> Job:
    bench.create("Processing", "job", bench.processing("print(1)"))
    return Job(bench.home, "Processing", "job", bench.base, bench.records)


def test_stop_interrupts_the_copy_of_one_large_file(bench: Bench, tmp_path: Path) -> None:
    job = job_of(bench)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 40)  # sparse: copying it would take hours
    stopping = threading.Timer(1, supervisor.request_stop, (bench.home, "Processing", "job"))
    stopping.start()
    begun = time.monotonic()
    with open_regular(large, job.check_stop) as file, pytest.raises(JobStopped):
        _read_all(file)
    assert time.monotonic() - begun < 30


def test_stop_ends_an_upload_after_the_grace_period(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEBRIDGE_STOP_GRACE_SECONDS", "1")
    job = job_of(bench)
    folder = job.host_path(OUT)
    folder.mkdir(parents=True)
    with (folder / "large").open("wb") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr(bench.store.__class__, "write_from", _write_nowhere)
    stopping = threading.Timer(1, supervisor.request_stop, (bench.home, "Processing", "job"))
    stopping.start()
    begun = time.monotonic()

    outcome = uploads.upload(
        job, {}, "an output", lambda: uploads.upload_tree(job, folder, "s3://bucket/out")
    )

    assert outcome
    assert outcome.status == "Stopped"
    assert 1.5 < time.monotonic() - begun < 30
    assert "stopped before an output was uploaded completely" in bench.log("Processing", "job")


def _read_all(file: IO[bytes]) -> None:
    while file.read(1 << 16):
        pass


def _write_nowhere(self: object, uri: str, produce: object) -> None:
    """Produce the content of an object, but write it nowhere."""
    assert callable(produce)
    with Path(os.devnull).open("wb") as nowhere:
        produce(nowhere)


def test_outputs_of_a_stopped_job_are_uploaded_in_the_grace_period(bench: Bench) -> None:
    script = f"""
import time
open("{OUT}/part", "w").write("kept")
print("ready", flush=True)
time.sleep(600)
"""
    bench.start("Processing", "job", bench.processing(script, outputs=OUTPUTS))
    bench.wait_for_log("Processing", "job", "ready")
    supervisor.request_stop(bench.home, "Processing", "job")
    assert bench.wait("Processing", "job")["ProcessingJobStatus"] == "Stopped"
    assert bench.text("s3://bucket/out/part") == "kept"
