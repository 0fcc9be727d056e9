"""Processing jobs: inputs, configuration, outputs and failures."""

from __future__ import annotations

import errno
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sagebridge_operators.backends.local import processing_job
from sagebridge_operators.backends.local.store import FolderStore
from sagebridge_operators.backends.local.supervised_job import Job, JobFailed
from sagebridge_operators.run_errors import StoreError

if TYPE_CHECKING:
    from tests.local.conftest import Bench

IN, OUT = "/opt/ml/processing/in", "/opt/ml/processing/out"
OUTPUTS = {"out": ("s3://bucket/out", OUT)}
TREE = """
import json, pathlib
root = pathlib.Path("/opt/ml/processing/in")
tree = {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}
pathlib.Path("/opt/ml/processing/out/tree.json").write_text(json.dumps(tree))
"""


def tree(bench: Bench, request: dict[str, Any]) -> dict[str, str]:
    """The files in the input folder of a script, with their content."""
    body = bench.run("Processing", "job", request)
    assert body["ProcessingJobStatus"] == "Completed", body.get("FailureReason")
    found: dict[str, str] = json.loads(bench.text("s3://bucket/out/tree.json"))
    return found


def test_prefix_is_a_string_and_an_exact_match_keeps_its_name(bench: Bench) -> None:
    for key in ("data/a.csv", "data/sub/b.csv", "data-2/c.csv", "other/d.csv"):
        bench.store.write(f"s3://bucket/{key}", key.encode())
    inputs = {
        "prefix": ("s3://bucket/data", f"{IN}/prefix"),
        "folder": ("s3://bucket/data/", f"{IN}/folder"),
        "object": ("s3://bucket/other/d.csv", f"{IN}/folder/nested"),
    }
    assert tree(bench, bench.processing(TREE, inputs=inputs, outputs=OUTPUTS)) == {
        "prefix/a.csv": "data/a.csv",
        "prefix/sub/b.csv": "data/sub/b.csv",
        "prefix/data-2/c.csv": "data-2/c.csv",
        "folder/a.csv": "data/a.csv",
        "folder/sub/b.csv": "data/sub/b.csv",
        "folder/nested/d.csv": "other/d.csv",
    }


def test_paths_and_file_uris_as_inputs_and_outputs(bench: Bench) -> None:
    (bench.base / "plain").mkdir()
    (bench.base / "plain/a.csv").write_text("a")
    inputs = {
        "relative": ("plain/a.csv", f"{IN}/relative"),
        "file": (f"file://{bench.base}/plain", f"{IN}/file"),
    }
    outputs = OUTPUTS | {"plain": (str(bench.base / "made"), OUT)}
    found = tree(bench, bench.processing(TREE, inputs=inputs, outputs=outputs))
    assert found == {"relative/a.csv": "a", "file/a.csv": "a"}
    assert (bench.base / "made/tree.json").exists()


def test_missing_input_suggests_upload(bench: Bench) -> None:
    inputs = {"data": ("s3://bucket/data.csv", f"{IN}/data")}

    body = bench.run("Processing", "job", bench.processing(TREE, inputs=inputs, outputs=OUTPUTS))

    assert (
        "no objects under s3://bucket/data.csv, the source of input 'data'"
        in (body["FailureReason"])
    )
    assert body["FailureReason"].endswith(
        "put the data there with --upload FILE=s3://bucket/data.csv"
    )


def test_manifest_and_gzip_inputs(bench: Bench) -> None:
    bench.store.write("s3://bucket/deep/er/a.csv", b"a")
    bench.store.write("s3://bucket/deep/b.csv", b"b")
    bench.store.write("s3://bucket/packed/c.csv.gz", gzip.compress(b"c"))
    manifest = [{"prefix": "s3://bucket/deep/"}, "er/a.csv"]
    bench.store.write("s3://bucket/list.manifest", json.dumps(manifest).encode())
    inputs = {
        "list": ("s3://bucket/list.manifest", f"{IN}/list"),
        "packed": ("s3://bucket/packed/", f"{IN}/packed"),
    }
    request = bench.processing(TREE, inputs=inputs, outputs=OUTPUTS)
    request["ProcessingInputs"][0]["S3Input"]["S3DataType"] = "ManifestFile"
    request["ProcessingInputs"][1]["S3Input"]["S3CompressionType"] = "Gzip"
    assert tree(bench, request) == {"list/er/a.csv": "a", "packed/c.csv": "c"}


def test_config_files_and_instance_count(bench: Bench) -> None:
    script = """
import json, os
job = json.load(open("/opt/ml/config/processingjobconfig.json"))
resources = json.load(open("/opt/ml/config/resourceconfig.json"))
print("arn", job["ProcessingJobArn"], resources["hosts"], resources["current_host"])
print("private", [name for name in job if name.startswith("_") or name.endswith("Status")])
print("cwd", os.listdir("."), os.environ["AWS_REGION"])
"""
    request = bench.processing(script)
    request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 3
    body = bench.run("Processing", "job", request)
    log = bench.log("Processing", "job")
    assert f"arn {body['ProcessingJobArn']} ['algo-1'] algo-1" in log
    assert "private []" in log
    assert "cwd [] eu-west-1" in log
    assert "ProcessingResources.ClusterConfig.InstanceCount 3: one instance" in log


def test_failure_reports_the_log_and_keeps_outputs(bench: Bench) -> None:
    script = """
import pathlib, sys
pathlib.Path("/opt/ml/processing/out/part").write_text("kept")
pathlib.Path("/opt/ml/output/message").write_text("told")
print("almost")
sys.exit(3)
"""
    body = bench.run("Processing", "job", bench.processing(script, outputs=OUTPUTS))
    assert body["ProcessingJobStatus"] == "Failed"
    assert body["ExitMessage"] == "told"
    assert body["FailureReason"].startswith("AlgorithmError: told, exit code: 3")
    assert bench.text("s3://bucket/out/part") == "kept"

    body = bench.run("Processing", "two", bench.processing("print('almost'); 1 / 0"))
    reason = body["FailureReason"]
    assert "almost" in reason
    assert "ZeroDivisionError: division by zero, exit code: 1" in reason
    assert str(bench.home / "jobs/Processing/two/log") in reason


def test_long_reason_is_cut_in_the_middle(bench: Bench) -> None:
    script = "import sys; print('x' * 5000); print('last words'); sys.exit(1)"
    reason = bench.run("Processing", "job", bench.processing(script))["FailureReason"]
    assert len(reason) <= 1024
    assert reason.startswith("AlgorithmError: ")
    assert "last words, exit code: 1. Log: " in reason


def test_max_runtime_stops_the_job_and_keeps_outputs(bench: Bench) -> None:
    script = """
import time
open("/opt/ml/processing/out/part", "w").write("kept")
time.sleep(600)
"""
    body = bench.run("Processing", "job", bench.processing(script, outputs=OUTPUTS, seconds=1))
    assert body["ProcessingJobStatus"] == "Stopped"
    assert "MaxRuntimeInSeconds (1)" in body["FailureReason"]
    assert bench.text("s3://bucket/out/part") == "kept"


def test_missing_input_names_uri_and_path(bench: Bench) -> None:
    request = bench.processing("", inputs={"data": ("s3://bucket/absent.csv", IN)})
    reason = bench.run("Processing", "job", request)["FailureReason"]
    assert "s3://bucket/absent.csv" in reason
    assert "'data'" in reason
    assert str(bench.home / "s3/bucket/absent.csv") in reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"AppSpecification": {"ImageUri": "some/image:1"}},
            "'some/image:1': images are not run, so the job needs a Container",
        ),
        (
            {"ProcessingInputs": [{"InputName": "d", "DatasetDefinition": {}}]},
            "ProcessingInputs[0]: queries of Athena",
        ),
        (
            {
                "ProcessingInputs": [
                    {"InputName": "d", "S3Input": {"S3Uri": "a", "LocalPath": "/etc/x"}}
                ]
            },
            "LocalPath '/etc/x': not under /opt/ml",
        ),
        (
            {
                "ProcessingInputs": [
                    {"InputName": "d", "S3Input": {"S3Uri": "a", "LocalPath": "/opt/ml/../../x"}}
                ]
            },
            "/opt/ml/../../x is not under /opt/ml",
        ),
    ],
)
def test_unsupported_request_fails_with_the_reason(
    bench: Bench, change: dict[str, Any], reason: str
) -> None:
    body = bench.run("Processing", "job", bench.processing("") | change)
    assert body["ProcessingJobStatus"] == "Failed"
    assert reason in body["FailureReason"]


def test_missing_program_fails(bench: Bench) -> None:
    request = bench.processing("", entrypoint=["/bin/no-such-program"])
    reason = bench.run("Processing", "job", request)["FailureReason"]
    assert "/bin/no-such-program: No such file or directory, exit code: 127" in reason


def test_full_disk_is_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.create("Processing", "job", bench.processing("print('fine')", outputs=OUTPUTS))
    job = Job(bench.home, "Processing", "job", bench.base, bench.records)
    full = "No space left on device"

    def put(self: FolderStore, source: Path, uri: str, check: object) -> None:
        raise StoreError(uri, str(self.path_of(uri)), full) from OSError(errno.ENOSPC, full)

    monkeypatch.setattr(FolderStore, "put", put)
    (job.host_path(OUT)).mkdir(parents=True)
    (job.host_path(OUT) / "x").write_text("x")
    outcome = processing_job.run(job)
    assert outcome.status == "Failed"
    assert full in outcome.fields["FailureReason"]
    assert "s3://bucket/out/x" in outcome.fields["FailureReason"]


def test_unwritable_store_fails_the_job(bench: Bench) -> None:
    (bench.home / "s3").mkdir(parents=True)
    (bench.home / "s3/bucket").write_text("a file where the bucket's folder should be")
    script = "open('/opt/ml/processing/out/x', 'w').write('x')"
    body = bench.run("Processing", "job", bench.processing(script, outputs=OUTPUTS))
    assert body["ProcessingJobStatus"] == "Failed"
    assert "s3://bucket/out/x" in body["FailureReason"]


def test_script_with_its_own_aws_settings_gets_one_clear_reason(bench: Bench) -> None:
    """botocore's own error, and its message as the AWS CLI prints it."""
    raised = "import boto3; boto3.client('s3').list_buckets()"
    printed = "import sys; print('fatal error: Unable to locate credentials'); sys.exit(1)"
    for name, script in {"raised": raised, "printed": printed}.items():
        request = bench.processing(script, Environment={"AWS_CONFIG_FILE": "/dev/null"})
        reason = bench.run("Processing", name, request)["FailureReason"]
        assert reason.startswith("AlgorithmError: the script's AWS calls do not reach the local")
        assert "--backend aws" in reason
        assert "Traceback" not in reason
        assert "AWS_CONFIG_FILE" in bench.log("Processing", name)


def test_circular_link_fails_the_job(bench: Bench) -> None:
    script = f"import os; os.symlink('b', '{OUT}/a'); os.symlink('a', '{OUT}/b')"
    body = bench.run("Processing", "job", bench.processing(script, outputs=OUTPUTS))
    assert body["ProcessingJobStatus"] == "Failed"
    assert "a is a circular link" in body["FailureReason"]


def test_link_into_opt_ml_is_followed(bench: Bench) -> None:
    bench.store.write("s3://bucket/in/a.txt", b"shown")
    script = "import os; os.symlink('/opt/ml/processing/in/a.txt', '/opt/ml/processing/out/link')"
    inputs = {"in": ("s3://bucket/in/", IN)}
    body = bench.run("Processing", "job", bench.processing(script, inputs=inputs, outputs=OUTPUTS))
    assert body["ProcessingJobStatus"] == "Completed"
    assert bench.text("s3://bucket/out/link") == "shown"


def test_manifest_key_outside_the_job_is_rejected(bench: Bench) -> None:
    bench.store.write("s3://bucket/a", b"")
    manifest = [{"prefix": "s3://bucket/"}, "x/../../../../../a"]
    bench.store.write("s3://bucket/list.manifest", json.dumps(manifest).encode())
    request = bench.processing("", inputs={"list": ("s3://bucket/list.manifest", IN)})
    request["ProcessingInputs"][0]["S3Input"]["S3DataType"] = "ManifestFile"
    bench.create("Processing", "job", request)
    job = Job(bench.home, "Processing", "job", bench.base, bench.records)
    with pytest.raises(JobFailed, match="points outside the folder"):
        processing_job.run(job)
