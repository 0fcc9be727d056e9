"""Script-mode sources and models on this machine, as the SDK's local mode names them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.local.conftest import Bench

TRAIN = "import helper, os; print('helped', helper.NAME, os.getcwd())"


@pytest.fixture
def folder(bench: Bench) -> Path:
    """A source folder next to the pipeline, with a name that a URI would quote."""
    source = bench.base / "my src%20"
    (source / "sub").mkdir(parents=True)
    (source / "train.py").write_text(TRAIN)
    (source / "helper.py").write_text("NAME = 'folder'")
    return source


def train(bench: Bench, name: str, source: str) -> str:
    """The failure reason and the log of a training job with this source."""
    code = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": f'"{source}"'}
    body = bench.run("Training", name, bench.training(code, {}))
    return str(body.get("FailureReason", "")) + bench.log("Training", name)


def test_folder_is_copied_to_the_job(bench: Bench, folder: Path) -> None:
    quoted = str(folder).replace("%", "%25").replace(" ", "%20")
    for number, source in enumerate(
        [f"file://{folder}", f"file://{quoted}/", f"file://{folder.name}", str(folder)]
    ):
        log = train(bench, f"job{number}", source)
        assert "helped folder" in log, source
    assert sorted(path.name for path in folder.iterdir()) == ["helper.py", "sub", "train.py"]


def test_archive_of_this_machine_is_unpacked(bench: Bench, folder: Path) -> None:
    with tarfile.open(bench.base / "sourcedir.tar.gz", "w:gz") as tar:
        for path in folder.iterdir():
            tar.add(path, path.name)
    assert "helped folder" in train(bench, "job", f"file://{bench.base}/sourcedir.tar.gz")


def test_missing_source_names_what_is_expected(bench: Bench, folder: Path) -> None:
    log = train(bench, "job", f"file://{bench.base}/absent")
    assert (
        f"no source (sagemaker_submit_directory) at file://{bench.base}/absent; expected a folder "
        f"or tar.gz: {bench.base}/absent"
    ) in log
    (folder / "train.py").unlink()
    log = train(bench, "other", f"file://{folder}")
    assert "does not contain the sagemaker_program train.py" in log
    assert "no source" in train(bench, "third", "file://not-there")


def test_model_folder_of_this_machine_is_copied(bench: Bench) -> None:
    model = bench.base / "model"
    (model / "code").mkdir(parents=True)
    (model / "weights").write_text("7")
    (model / "code/inference.py").write_text(
        "def model_fn(folder): return open(folder + '/weights').read()\n"
        "def transform_fn(model, body, kind, accept): return model + body\n"
    )
    bench.store.write("s3://bucket/batch/a.csv", b"1")
    container = {
        "Image": "image:1",
        "ModelDataUrl": f"file://{model}",
        "Environment": {
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": f"file://{model}/code",
        },
    }
    bench.records.insert("Model", "model", {"PrimaryContainer": container})
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/batch"}}
    request = {
        "ModelName": "model",
        "TransformInput": {"DataSource": source},
        "TransformOutput": {"S3OutputPath": "s3://bucket/predictions"},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
    }
    body = bench.run("Transform", "job", request)
    assert body["TransformJobStatus"] == "Completed", bench.log("Transform", "job")
    assert bench.text("s3://bucket/predictions/a.csv.out") == "71"


def test_overlong_member_of_an_archive_is_named(bench: Bench) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("train.py"))
        tar.addfile(tarfile.TarInfo("sub/" + "n" * 300))
    bench.store.write("s3://bucket/code.tar.gz", buffer.getvalue())
    log = train(bench, "job", "s3://bucket/code.tar.gz")
    assert "ClientError: s3://bucket/code.tar.gz: cannot unpack 'sub/nnnn" in log
    assert "(304 characters): the name is too long; use at most 255 bytes between two '/'" in log


def test_overlong_key_of_an_input_is_named(bench: Bench) -> None:
    key = "k" * 300
    inputs = {"in": (f"s3://bucket/{key}", "/opt/ml/processing/in")}
    body = bench.run("Processing", "job", bench.processing("", inputs=inputs))
    assert body["ProcessingJobStatus"] == "Failed"
    assert key[:100] in body["FailureReason"]
