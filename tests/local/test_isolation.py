"""Isolation methods, tried with real jobs on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sagebridge_operators.backends.local import isolation
from sagebridge_operators.run_errors import IsolationError

if TYPE_CHECKING:
    from tests.local.conftest import Bench

SCRIPT = """
import os, sys
text = open("/opt/ml/processing/in/a.txt").read()
open("/opt/ml/processing/out/b.txt", "w").write(text.upper() + sys.argv[1] + os.environ["WHERE"])
"""


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The problem of each method on this machine; empty if it works."""
    home = tmp_path_factory.mktemp("probe")
    return {name: isolation.probe(method, home) for name, method in isolation.METHODS.items()}


@pytest.mark.parametrize("name", list(isolation.METHODS))
def test_job_has_a_private_opt_ml(
    name: str, bench: Bench, working: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if working[name]:
        with pytest.raises(IsolationError, match=name):
            isolation.choose(bench.home, name)
        return
    monkeypatch.setenv("SAGEBRIDGE_ISOLATION", name)
    before = sorted(Path("/opt").iterdir())
    bench.store.write("s3://bucket/in/a.txt", b"text ")
    bench.store.write("s3://bucket/code/run.py", SCRIPT.encode())
    request = bench.processing(
        "",
        "/opt/ml/argument ",
        entrypoint=["/usr/bin/python3.8", "/opt/ml/processing/input/code/run.py"],
        inputs={
            "in": ("s3://bucket/in/a.txt", "/opt/ml/processing/in"),
            "code": ("s3://bucket/code/run.py", "/opt/ml/processing/input/code"),
        },
        outputs={"out": ("s3://bucket/out", "/opt/ml/processing/out")},
        Environment={"WHERE": "/opt/ml/environment"},
    )
    body = bench.run("Processing", "job", request)
    log = bench.log("Processing", "job")
    assert body["ProcessingJobStatus"] == "Completed", log
    seen = "/opt/ml"
    if name == "rewrite":
        seen = str(bench.home / "jobs/Processing/job/ml")
    assert bench.text("s3://bucket/out/b.txt") == f"TEXT {seen}/argument {seen}/environment"
    assert f"/opt/ml: {isolation.METHODS[name].title}" in log
    assert sorted(Path("/opt").iterdir()) == before


def test_parallel_jobs_do_not_see_each_other(bench: Bench) -> None:
    script = """
import os, pathlib, sys, time
mine = pathlib.Path("/opt/ml/processing/out/mine")
mine.write_text(sys.argv[1])
time.sleep(1)
others = [p for p in pathlib.Path("/opt/ml/processing/out").iterdir() if p != mine]
mine.write_text(f"{sys.argv[1]} {mine.read_text()} {len(others)}")
"""
    for name in "abc":
        outputs = {"out": (f"s3://bucket/{name}", "/opt/ml/processing/out")}
        bench.start("Processing", name, bench.processing(script, name, outputs=outputs))
    begun = []
    for name in "abc":
        body = bench.wait("Processing", name)
        assert bench.text(f"s3://bucket/{name}/mine") == f"{name} {name} 0"
        begun.append((body["ProcessingStartTime"], body["ProcessingEndTime"]))
    assert max(start for start, _ in begun) < min(end for _, end in begun)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a capability away")
def test_root_without_mount_capability_gets_a_user_namespace(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from sagebridge_operators.backends.local import isolation;"
        f"print(isolation.choose(Path({str(tmp_path)!r})).title)"
    )
    drop = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    output = _python([*drop, sys.executable, "-c", code])
    assert output.strip() in {"a user namespace", isolation.METHODS["rewrite"].title}
    tried = json.loads((tmp_path / "isolation.json").read_text())["tried"]
    assert "not permitted" in tried["mount"]


def test_working_method_is_not_probed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = isolation.choose(tmp_path)
    monkeypatch.setattr(isolation, "probe", lambda method, home: pytest.fail("probed again"))
    assert isolation.choose(tmp_path) is first


def test_error_names_the_methods_tried_and_the_package(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    cat = shutil.which("cat")
    assert cat
    (tmp_path / "bin/cat").symlink_to(cat)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("SAGEBRIDGE_ISOLATION", "mount,userns,bwrap")
    body = bench.run("Processing", "job", bench.processing("print(1)"))
    reason = body["FailureReason"]
    assert body["ProcessingJobStatus"] == "Failed"
    for words in ("mount: unshare is not installed", "bwrap: bwrap is not installed", "bubblewrap"):
        assert words in reason
    with pytest.raises(IsolationError, match="chroot: unknown method"):
        isolation.choose(bench.home, "chroot")


def _python(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
