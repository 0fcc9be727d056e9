"""Training jobs: config files, channels, SM_* variables, artifacts and failures."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sagebridge_operators.backends.local import script_mode, supervisor
from sagebridge_operators.backends.local.data_transfer import extract
from sagebridge_operators.backends.local.supervised_job import JobFailed

if TYPE_CHECKING:
    from tests.local.conftest import Bench


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name.replace("__", "/").replace("_py", ".py"))
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def members(bench: Bench, uri: str) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(bench.store.read(uri))) as tar:
        return {
            member.name: content.read().decode()
            for member in tar
            if (content := tar.extractfile(member))
        }


def own(bench: Bench, script: str, **more: Any) -> dict[str, Any]:
    """A request with ContainerEntrypoint."""
    specification = {"ContainerEntrypoint": ["python", "-c", script], **more.pop("spec", {})}
    return bench.training({}, {}, specification=specification, **more)


def test_entrypoint_trains_and_uploads_artifacts(bench: Bench) -> None:
    script = """
import os, json
os.makedirs("/opt/ml/model/sub")
open("/opt/ml/model/sub/m", "w").write("model")
open("/opt/ml/output/data/report", "w").write("data")
print("job", os.environ["TRAINING_JOB_NAME"], os.environ["TRAINING_JOB_ARN"])
print("epoch 1 loss=0.5"); print("epoch 2 loss=2.5e-1")
"""
    metrics = [{"Name": "loss", "Regex": "loss=([0-9.e-]+)"}, {"Name": "none", "Regex": "x=(.*)"}]
    body = bench.run("Training", "job", own(bench, script, spec={"MetricDefinitions": metrics}))
    assert body["TrainingJobStatus"] == body["SecondaryStatus"] == "Completed"
    uri = "s3://bucket/models/job/output/model.tar.gz"
    assert body["ModelArtifacts"] == {"S3ModelArtifacts": uri}
    assert members(bench, uri) == {"sub/m": "model"}
    assert members(bench, "s3://bucket/models/job/output/output.tar.gz") == {"report": "data"}
    assert [(m["MetricName"], m["Value"]) for m in body["FinalMetricDataList"]] == [("loss", 0.25)]
    stages = [transition["Status"] for transition in body["SecondaryStatusTransitions"]]
    assert stages == ["Downloading", "Training", "Uploading", "Completed"]
    assert all("EndTime" in transition for transition in body["SecondaryStatusTransitions"])
    assert f"job job {body['TrainingJobArn']}" in bench.log("Training", "job")


def test_failure_file_is_the_failure_reason(bench: Bench) -> None:
    script = """
import sys
open("/opt/ml/output/failure", "w").write("the data is empty")
open("/opt/ml/output/data/x", "w").write("kept")
sys.exit(2)
"""
    body = bench.run("Training", "job", own(bench, script))
    assert body["TrainingJobStatus"] == body["SecondaryStatus"] == "Failed"
    assert body["FailureReason"].startswith("AlgorithmError: the data is empty, exit code: 2")
    assert "ModelArtifacts" not in body
    assert members(bench, "s3://bucket/models/job/output/output.tar.gz") == {"x": "kept"}


def test_max_runtime_uploads_the_model_so_far(bench: Bench) -> None:
    script = "import time; open('/opt/ml/model/m', 'w').write('half'); time.sleep(600)"
    request = own(bench, script, StoppingCondition={"MaxRuntimeInSeconds": 1})
    body = bench.run("Training", "job", request)
    assert (body["TrainingJobStatus"], body["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert members(bench, body["ModelArtifacts"]["S3ModelArtifacts"]) == {"m": "half"}


def test_stopped_job_with_exit_code_0_is_stopped(bench: Bench) -> None:
    script = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
time.sleep(600)
"""
    bench.start("Training", "job", own(bench, script))
    bench.wait_for_log("Training", "job", "ready")
    supervisor.request_stop(bench.home, "Training", "job")
    body = bench.wait("Training", "job")
    assert (body["TrainingJobStatus"], body["SecondaryStatus"]) == ("Stopped", "Stopped")


def test_script_mode_environment(bench: Bench) -> None:
    script = """
import argparse, json, os
import helper
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--rate", type=float)
parser.add_argument("-k")
known = vars(parser.parse_args())
shown = {name: value for name, value in os.environ.items() if name.startswith("SM_")}
channel = open(os.environ["SM_CHANNEL_TRAIN"] + "/a.csv").read()
with open(os.path.join(os.environ["SM_MODEL_DIR"], "seen.json"), "w") as out:
    json.dump([known, shown, channel, helper.NAME, os.getcwd()], out)
"""
    source = archive(train_py=script, helper_py="NAME = 'helped'")
    bench.store.write("s3://bucket/code/sourcedir.tar.gz", source)
    bench.store.write("s3://bucket/train/a.csv", b"1,2")
    request = bench.training(
        {
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": '"s3://bucket/code/sourcedir.tar.gz"',
            "epochs": "3",
            "rate": '"0.5"',
            "k": "[1, 2]",
        },
        {"train": "s3://bucket/train/"},
    )
    body = bench.run("Training", "job", request)
    assert body["TrainingJobStatus"] == "Completed", bench.log("Training", "job")
    text = members(bench, body["ModelArtifacts"]["S3ModelArtifacts"])["seen.json"]
    known, shown, channel, helped, cwd = json.loads(text)
    assert known == {"epochs": 3, "rate": 0.5, "k": "[1, 2]"}
    assert json.loads(shown["SM_HPS"]) == {"epochs": 3, "rate": "0.5", "k": [1, 2]}
    assert shown["SM_HP_EPOCHS"] == "3"
    assert json.loads(shown["SM_CHANNELS"]) == ["train"]
    assert json.loads(shown["SM_USER_ARGS"]) == ["--epochs", "3", "-k", "[1, 2]", "--rate", "0.5"]
    assert json.loads(shown["SM_TRAINING_ENV"])["hyperparameters"]["epochs"] == 3
    assert shown["SM_MODULE_NAME"] == "train"
    assert shown["SM_CURRENT_INSTANCE_TYPE"] == "ml.m5.large"
    assert (channel, helped, cwd) == ("1,2", "helped", "/opt/ml/code")


def test_shell_program_has_its_own_interpreter_and_installs_nothing(bench: Bench) -> None:
    """As the program of the SDK's step that repacks a model (_repack_script_launcher.sh)."""
    script = '#!/bin/bash\n[[ "$SM_HP_ANSWER" == 4* ]] && cp requirements.txt /opt/ml/model\n'
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz") as tar:
        for name, text in {"go.sh": script, "requirements.txt": "no-such-package"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    bench.store.write("s3://bucket/sourcedir.tar.gz", buffer.getvalue())
    hyperparameters = {
        "answer": "42",
        "sagemaker_program": '"go.sh"',
        "sagemaker_submit_directory": '"s3://bucket/sourcedir.tar.gz"',
    }
    body = bench.run("Training", "job", bench.training(hyperparameters, {}))
    assert body["TrainingJobStatus"] == "Completed", bench.log("Training", "job")
    found = members(bench, body["ModelArtifacts"]["S3ModelArtifacts"])
    assert found == {"requirements.txt": "no-such-package"}


def test_scripts_of_equal_size_and_time_are_not_mixed_up(bench: Bench) -> None:
    script = "import helper; open('/opt/ml/model/name', 'w').write(helper.NAME)"
    for name in ("one", "two"):
        uri = f"s3://bucket/{name}/sourcedir.tar.gz"
        bench.store.write(uri, archive(train_py=script, helper_py=f"NAME = '{name}'"))
        code = {"sagemaker_program": "train.py", "sagemaker_submit_directory": uri}
        body = bench.run("Training", name, bench.training(code, {}))
        assert members(bench, body["ModelArtifacts"]["S3ModelArtifacts"]) == {"name": name}


# Of sagemaker-training 5.1.4's Environment.to_env_vars, in a job with one channel.
TOOLKIT_VARIABLES = """
SM_CHANNELS SM_CHANNEL_TRAIN SM_CURRENT_HOST SM_CURRENT_INSTANCE_GROUP
SM_CURRENT_INSTANCE_GROUP_HOSTS SM_CURRENT_INSTANCE_TYPE SM_DISTRIBUTION_INSTANCE_GROUPS
SM_FRAMEWORK_MODULE SM_FRAMEWORK_PARAMS SM_HOSTS SM_HPS SM_INPUT_CONFIG_DIR SM_INPUT_DATA_CONFIG
SM_INPUT_DIR SM_INSTANCE_GROUPS SM_INSTANCE_GROUPS_DICT SM_IS_HETERO SM_LOG_LEVEL SM_MODEL_DIR
SM_MODULE_DIR SM_MODULE_NAME SM_NETWORK_INTERFACE_NAME SM_NUM_CPUS SM_NUM_GPUS SM_NUM_NEURONS
SM_OUTPUT_DATA_DIR SM_OUTPUT_DIR SM_OUTPUT_INTERMEDIATE_DIR SM_RESOURCE_CONFIG SM_TRAINING_ENV
SM_USER_ARGS SM_USER_ENTRY_POINT
"""


def test_all_toolkit_variables_are_set() -> None:
    resources = {
        "current_instance_type": "local",
        "current_group_name": "g",
        "instance_groups": [{"instance_group_name": "g", "hosts": ["algo-1"]}],
    }
    variables = script_mode.environment({"sagemaker_program": "t.py"}, {"train": {}}, resources)
    assert not set(TOOLKIT_VARIABLES.split()) - set(variables)


def test_unsupported_request_fails_with_the_reason(bench: Bench) -> None:
    plain = bench.training({}, {}, image="some/image:1")
    reason = bench.run("Training", "plain", plain)["FailureReason"]
    assert "'some/image:1': images are not run" in reason
    hyperparameters = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": "s3://bucket/code/none.tar.gz",
    }
    reason = bench.run("Training", "absent", bench.training(hyperparameters, {}))["FailureReason"]
    assert str(bench.home / "s3/bucket/code/none.tar.gz") in reason
    bench.store.write("s3://bucket/code/none.tar.gz", archive(other_py=""))
    reason = bench.run("Training", "other", bench.training(hyperparameters, {}))["FailureReason"]
    assert "does not contain the sagemaker_program train.py" in reason
    bench.store.write("s3://bucket/code/none.tar.gz", b"no archive")
    reason = bench.run("Training", "broken", bench.training(hyperparameters, {}))["FailureReason"]
    assert "none.tar.gz cannot be unpacked" in reason
    request = bench.training({}, {"train": "s3://bucket/nowhere/"})
    reason = bench.run("Training", "channel", request)["FailureReason"]
    assert "s3://bucket/nowhere/" in reason
    assert str(bench.home / "s3/bucket/nowhere") in reason
    request["InputDataConfig"][0]["InputMode"] = "Pipe"
    assert "Pipe mode is not supported" in bench.run("Training", "pipe", request)["FailureReason"]


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "link/outside"])
def test_archive_cannot_write_outside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, filtered: bool
) -> None:
    if not filtered:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    elif not hasattr(tarfile, "data_filter"):
        return
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(JobFailed, match=r"evil"):
        extract(path, tmp_path / "in", "s3://bucket/evil.tar.gz")
    assert not (tmp_path / "outside").exists()


def test_checkpoints_are_restored_and_uploaded(bench: Bench) -> None:
    script = """
from pathlib import Path
state = Path("/opt/ml/checkpoints/state")
state.write_text(state.read_text() + "+1" if state.exists() else "1")
"""
    request = own(bench, script, CheckpointConfig={"S3Uri": "s3://bucket/checkpoints"})
    for name in ("one", "two"):
        assert bench.run("Training", name, request)["TrainingJobStatus"] == "Completed"
    assert bench.text("s3://bucket/checkpoints/state") == "1+1"


def test_metric_with_a_slow_pattern_is_omitted(bench: Bench) -> None:
    metrics = [
        {"Name": "endless", "Regex": "(a+)+$"},
        {"Name": "broken", "Regex": "("},
        {"Name": "loss", "Regex": "loss=(.*)"},
    ]
    script = "print('a' * 60 + 'b'); print('loss=1')"
    body = bench.run("Training", "job", own(bench, script, spec={"MetricDefinitions": metrics}))
    assert body["TrainingJobStatus"] == "Completed"
    assert [m["MetricName"] for m in body["FinalMetricDataList"]] == ["loss"]
    assert "'endless' is omitted: '(a+)+$' took more than 5 s" in bench.log("Training", "job")
    assert "invalid regular expression" in bench.log("Training", "job")
