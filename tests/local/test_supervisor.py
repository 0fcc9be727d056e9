"""Jobs survive their creator, die with their supervisor, and can be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from sagebridge_operators.backends.local import isolation, supervisor

if TYPE_CHECKING:
    from tests.local.conftest import Bench

SLEEPER = """
import os, subprocess, sys
marker = sys.argv[1]
if len(sys.argv) == 2:
    subprocess.Popen([sys.executable, "-c", SELF, marker, "grandchild"], start_new_session=True)
print("ready", flush=True)
open(sys.argv[-1], "w").close()
import time; time.sleep(600)
"""
ROLE = "arn:aws:iam::111122223333:role/r"
# The grandchild runs the same text, so that one marker finds both.
NESTED = f"SELF = {SLEEPER!r}\n{SLEEPER}"


def alive(marker: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if marker in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(marker: str, seconds: float = 10) -> bool:
    give_up = time.monotonic() + seconds
    while alive(marker):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[str]:
    name = f"marker-{tmp_path.name}-{os.getpid()}"
    yield name
    for process in alive(name):
        process.kill()


def method_names() -> list[str]:
    return list(isolation.METHODS)


@pytest.fixture(params=method_names())
def method(request: pytest.FixtureRequest, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> str:
    name = str(request.param)
    if isolation.probe(isolation.METHODS[name], bench.home):
        name = "rewrite"
    monkeypatch.setenv("SAGEBRIDGE_ISOLATION", name)
    return name


def start_sleeper(bench: Bench, marker: str) -> None:
    bench.start("Processing", "job", bench.processing(NESTED, marker))
    give_up = time.monotonic() + 30
    while bench.log("Processing", "job").count("ready") < 2:
        assert time.monotonic() < give_up, bench.log("Processing", "job")
        time.sleep(0.02)
    assert len(alive(marker)) >= 2


def test_stop_kills_the_script_and_its_descendants(bench: Bench, marker: str, method: str) -> None:
    start_sleeper(bench, marker)
    begun = time.monotonic()
    body = supervisor.request_stop(bench.home, "Processing", "job")
    assert body["ProcessingJobStatus"] == "Stopping"
    body = bench.wait("Processing", "job")
    assert body["ProcessingJobStatus"] == "Stopped"
    assert "FailureReason" not in body
    assert time.monotonic() - begun < 5
    assert gone(marker)


def test_descendants_end_with_the_script(bench: Bench, marker: str, method: str) -> None:
    until_ready = "while not os.path.exists('grandchild'): time.sleep(0.01)\n"
    script = NESTED.removesuffix("time.sleep(600)\n") + f"\n{until_ready}"
    body = bench.run("Processing", "job", bench.processing(script, marker))
    assert body["ProcessingJobStatus"] == "Completed", bench.log("Processing", "job")
    assert bench.log("Processing", "job").count("ready") == 2
    assert gone(marker, 0)


def test_killing_the_supervisor_kills_the_job(bench: Bench, marker: str, method: str) -> None:
    start_sleeper(bench, marker)
    record = bench.records.get("Processing", "job")
    assert record
    os.kill(record["_supervisor"]["pid"], signal.SIGKILL)
    assert gone(marker)
    body = bench.wait("Processing", "job")
    assert body["ProcessingJobStatus"] == "Failed"
    assert "supervisor of the job died" in body["FailureReason"]


def test_killed_process_is_reported_with_its_signal(bench: Bench) -> None:
    script = (
        "import os, signal; print('about to', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    body = bench.run("Processing", "job", bench.processing(script))
    assert body["ProcessingJobStatus"] == "Failed"
    assert "about to, killed by SIGKILL, exit code: 137" in body["FailureReason"]


def test_job_survives_its_creator(bench: Bench) -> None:
    script = "import time; time.sleep(1.5); open('/opt/ml/processing/out/x', 'w').write('done')"
    outputs = {"out": ("s3://bucket/out", "/opt/ml/processing/out")}
    bench.create("Processing", "job", bench.processing(script, outputs=outputs))
    script = (
        "import os, signal; from pathlib import Path;"
        "from sagebridge_operators.backends.local import supervisor;"
        f"supervisor.start(Path({str(bench.home)!r}), 'Processing', 'job');"
        "os.killpg(0, signal.SIGKILL)"
    )
    creator = subprocess.run([sys.executable, "-c", script], start_new_session=True, check=False)
    assert creator.returncode == -signal.SIGKILL
    assert bench.wait("Processing", "job")["ProcessingJobStatus"] == "Completed"
    assert bench.text("s3://bucket/out/x") == "done"


def test_running_job_is_visible_in_another_container(bench: Bench, marker: str) -> None:
    start_sleeper(bench, marker)
    script = (
        "from pathlib import Path;"
        "from sagebridge_operators.backends.local import database, supervisor;"
        f"known = database.Records(Path({str(bench.home / 'records.db')!r}));"
        "print(supervisor.reap(known, 'Processing', 'job')['ProcessingJobStatus'])"
    )
    container = ["unshare", "--pid", "--fork", "--mount-proc"]
    if os.geteuid():
        container += ["--user", "--map-root-user"]
    if subprocess.run([*container, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespace can be made here")
    seen = subprocess.run(
        [*container, sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert seen.stdout == "InProgress\n", seen.stderr
    supervisor.request_stop(bench.home, "Processing", "job")
    assert bench.wait("Processing", "job")["ProcessingJobStatus"] == "Stopped"


def test_sigterm_handler_can_save_its_state(bench: Bench) -> None:
    script = """
import signal, sys, time
def save(*_):
    open("/opt/ml/processing/out/saved", "w").write("yes")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(600)
"""
    outputs = {"out": ("s3://bucket/out", "/opt/ml/processing/out")}
    bench.start("Processing", "job", bench.processing(script, outputs=outputs))
    bench.wait_for_log("Processing", "job", "ready")
    supervisor.request_stop(bench.home, "Processing", "job")
    assert bench.wait("Processing", "job")["ProcessingJobStatus"] == "Stopped"
    assert bench.text("s3://bucket/out/saved") == "yes"


def test_script_that_ignores_sigterm_is_killed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEBRIDGE_STOP_GRACE_SECONDS", "0.3")
    script = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
    bench.start("Processing", "job", bench.processing(script))
    bench.wait_for_log("Processing", "job", "ready")
    supervisor.request_stop(bench.home, "Processing", "job")
    assert bench.wait("Processing", "job", 10)["ProcessingJobStatus"] == "Stopped"


def test_job_stopped_before_its_start_never_runs(bench: Bench) -> None:
    outputs = {"out": ("s3://bucket/out", "/opt/ml/processing/out")}
    script = "open('/opt/ml/processing/out/x', 'w')"
    bench.create("Processing", "job", bench.processing(script, outputs=outputs))
    supervisor.request_stop(bench.home, "Processing", "job")
    supervisor.start(bench.home, "Processing", "job")
    assert bench.wait("Processing", "job")["ProcessingJobStatus"] == "Stopped"
    assert not bench.store.exists("s3://bucket/out/x")


def test_stop_after_the_end_has_no_effect(bench: Bench) -> None:
    ended = bench.run("Processing", "job", bench.processing("print(1)"))
    assert supervisor.request_stop(bench.home, "Processing", "job") == ended


def test_job_fails_if_the_supervisor_cannot_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.create("Processing", "job", bench.processing("print(1)"))
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    supervisor.start(bench.home, "Processing", "job")
    body = supervisor.reap(bench.records, "Processing", "job")
    assert body["ProcessingJobStatus"] == "Failed"
    assert "supervisor of the job did not start" in body["FailureReason"]
    assert "/no/such/python" in body["FailureReason"]


KILLED = """
import os, signal, sys
from pathlib import Path
from sagebridge_operators.backends.local import LocalBackend, supervisor

when, home, request = sys.argv[1], Path(sys.argv[2]), eval(sys.argv[3])
start = supervisor.start

def killed(*given):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    slow = home / "slow"
    slow.write_text(f'''#!/bin/sh
kill -9 {os.getpid()}
until [ -e "{home}/looked" ]; do sleep 0.1; done
exec {sys.executable} "$@"
''')
    slow.chmod(0o755)
    sys.executable = str(slow)
    start(*given)

supervisor.start = killed
LocalBackend(home, home).client("sagemaker").create_processing_job(**request)
"""


@pytest.mark.parametrize(("when", "ends"), [("before", "Failed"), ("while", "Completed")])
def test_creator_killed_around_the_start_of_the_supervisor(
    bench: Bench, when: str, ends: str
) -> None:
    """Before the start the job fails; after it the supervisor runs the job."""
    request = bench.processing("print(1)", "-", ProcessingJobName="job", RoleArn=ROLE)
    script = [sys.executable, "-c", KILLED, when, str(bench.home), repr(request)]
    creator = subprocess.run(script, start_new_session=True, check=False)
    assert creator.returncode == -signal.SIGKILL

    body = supervisor.reap(bench.records, "Processing", "job")

    (bench.home / "looked").touch()
    if when == "while":
        assert body["ProcessingJobStatus"] == "InProgress"
        body = bench.wait("Processing", "job")
    else:
        assert "died before the job started; run the step again" in body["FailureReason"]
    assert body["ProcessingJobStatus"] == ends


def test_second_supervisor_does_not_run_the_job(bench: Bench) -> None:
    script = "import time; print('begun', flush=True); time.sleep(1)"
    bench.start("Processing", "job", bench.processing(script))
    supervisor.start(bench.home, "Processing", "job")
    assert bench.wait("Processing", "job")["ProcessingJobStatus"] == "Completed"
    assert bench.log("Processing", "job").count("begun") == 1


def test_job_does_not_see_the_environment_of_the_worker(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    script = "import os; print(dict(os.environ))"
    request = bench.processing(script, Environment={"MINE": "given"})
    assert bench.run("Processing", "job", request)["ProcessingJobStatus"] == "Completed"
    log = bench.log("Processing", "job")
    assert "s3cr3t" not in log
    assert "PYTHONDONTWRITEBYTECODE" not in log
    assert "'MINE': 'given'" in log
