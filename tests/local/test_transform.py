"""Batch transform: output files, splitting, batching, filters and joins."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sagebridge_operators.backends.local import inference, serving
from sagebridge_operators.backends.local.algorithms import xgboost as algorithm
from sagebridge_operators.backends.local.algorithms.user_errors import UserError
from tests.local.models import IMAGE, tarball

if TYPE_CHECKING:
    from tests.local.conftest import Bench


def transform(prefix: str, model: str = "model", **more: Any) -> dict[str, Any]:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": prefix}}
    return {
        "ModelName": model,
        "TransformInput": {"DataSource": source, **more.pop("given", {})},
        "TransformOutput": {"S3OutputPath": "s3://bucket/out", **more.pop("output", {})},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
        **more,
    }


def test_one_prediction_per_row_and_relative_keys(boosted: Bench) -> None:
    boosted.store.write("s3://bucket/batch/a.csv", b"1,2\n3,4\n5,4\n")
    boosted.store.write("s3://bucket/batch/sub/b.csv", b"2,2\n")
    body = boosted.run("Transform", "job", transform("s3://bucket/batch"))
    assert body["TransformJobStatus"] == "Completed", boosted.log("Transform", "job")
    lines = boosted.text("s3://bucket/out/a.csv.out").splitlines()
    assert [float(line) for line in lines] == pytest.approx([3, 7, 9], abs=1)
    assert float(boosted.text("s3://bucket/out/sub/b.csv.out")) == pytest.approx(4, abs=1)


def test_filters_join_and_compression(boosted: Bench) -> None:
    boosted.store.write("s3://bucket/batch/a.csv.gz", gzip.compress(b"id1,1,2\nid2,3,4\n"))
    request = transform(
        "s3://bucket/batch/a.csv.gz",
        given={"CompressionType": "Gzip", "SplitType": "Line", "ContentType": "text/csv"},
        output={"AssembleWith": "Line", "Accept": "text/csv"},
        DataProcessing={"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )
    body = boosted.run("Transform", "job", request)
    assert body["TransformJobStatus"] == "Completed", boosted.log("Transform", "job")
    rows = [line.split(",") for line in boosted.text("s3://bucket/out/a.csv.gz.out").splitlines()]
    assert [row[0] for row in rows] == ["id1", "id2"]
    assert [float(row[1]) for row in rows] == pytest.approx([3, 7], abs=1)


@pytest.mark.parametrize("given", ["", "encoder.csv_to_dmatrix(body.rstrip())"])
def test_script_reads_requests_as_in_the_xgboost_image(boosted: Bench, given: str) -> None:
    """With the image's module, which is not published, or with the default input_fn."""
    script = """
import pickle
import sagemaker_xgboost_container.encoder as encoder
def model_fn(model_dir): return pickle.load(open(f"{model_dir}/xgboost-model", "rb"))
"""
    if given:
        script += f"def input_fn(body, content_type): return {given}\n"
    model = boosted.store.read("s3://bucket/model.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(model)) as tar:
        content = tar.extractfile("xgboost-model")
        assert content
        files = {"xgboost-model": content.read(), "code/serve.py": script.encode()}
    boosted.store.write("s3://bucket/script.tar.gz", tarball(files))
    container = {
        "Image": IMAGE,
        "ModelDataUrl": "s3://bucket/script.tar.gz",
        "Environment": {"SAGEMAKER_PROGRAM": "serve.py"},
    }
    boosted.records.insert("Model", "script", {"PrimaryContainer": container})
    boosted.store.write("s3://bucket/batch/a.csv", b"1,2\n3,4\n")
    request = transform("s3://bucket/batch/", "script", output={"Accept": "text/csv"})
    body = boosted.run("Transform", "job", request)
    assert body["TransformJobStatus"] == "Completed", boosted.log("Transform", "job")
    lines = boosted.text("s3://bucket/out/a.csv.out").splitlines()
    assert [float(line) for line in lines] == pytest.approx([3, 7], abs=1)


def test_wrong_feature_count_names_both_numbers(boosted: Bench) -> None:
    boosted.store.write("s3://bucket/batch/a.csv", b"1,2,3\n")
    body = boosted.run("Transform", "job", transform("s3://bucket/batch/"))
    assert body["TransformJobStatus"] == "Failed"
    assert "expects 2 features per row, but the input has 3" in body["FailureReason"]
    assert not boosted.store.exists("s3://bucket/out/a.csv.out")


def test_model_from_a_package_uses_its_container(scripted: Bench) -> None:
    model = scripted.records.get("Model", "model")
    assert model
    package = {"InferenceSpecification": {"Containers": model["Containers"]}}
    scripted.records.insert("ModelPackage", "group/1", package)
    arn = "arn:aws:sagemaker:eu-west-1:000000000000:model-package/group/1"
    for name, version in (("known", arn), ("unknown", arn + "1")):
        container = {"ModelPackageName": version}
        scripted.records.insert("Model", name, {"PrimaryContainer": container})
    scripted.store.write("s3://bucket/batch/a.csv", b"2\n")
    body = scripted.run("Transform", "one", transform("s3://bucket/batch/", "known"))
    assert body["TransformJobStatus"] == "Completed", scripted.log("Transform", "one")
    assert scripted.text("s3://bucket/out/a.csv.out") == "6.0\n"
    body = scripted.run("Transform", "two", transform("s3://bucket/batch/", "unknown"))
    assert "group/11 has 0 containers" in body["FailureReason"]


@pytest.mark.parametrize(
    ("strategy", "payloads"), [("SingleRecord", 3), ("MultiRecord", 1), (None, 1)]
)
def test_script_gets_payloads_by_batch_strategy(
    scripted: Bench, strategy: str | None, payloads: int
) -> None:
    scripted.store.write("s3://bucket/batch/a.csv", b"1\n2\n3\n")
    request = transform(
        "s3://bucket/batch/a.csv",
        given={"SplitType": "Line", "ContentType": "text/csv"},
        **({"BatchStrategy": strategy} if strategy else {}),
    )
    body = scripted.run("Transform", "job", request)
    log = scripted.log("Transform", "job")
    assert body["TransformJobStatus"] == "Completed", log
    assert log.count("payload ") == payloads
    assert scripted.text("s3://bucket/out/a.csv.out") == "3.0\n6.0\n9.0\n"


def test_failed_script_keeps_complete_files(scripted: Bench) -> None:
    scripted.store.write("s3://bucket/batch/a.csv", b"1\n")
    scripted.store.write("s3://bucket/batch/b.csv", b"not a number\n")
    body = scripted.run("Transform", "job", transform("s3://bucket/batch/"))
    assert body["TransformJobStatus"] == "Failed"
    assert "could not convert string to float: 'not a number'" in body["FailureReason"]
    assert scripted.text("s3://bucket/out/a.csv.out") == "3.0\n"
    assert not scripted.store.exists("s3://bucket/out/b.csv.out")


def test_unsupported_request_fails_with_the_reason(bench: Bench) -> None:
    def reason(name: str, model: dict[str, Any] | None, **more: Any) -> str:
        if model is not None:
            bench.records.insert("Model", name, {"ModelName": name, **model})
        body = bench.run("Transform", name, transform("s3://bucket/in/", name, **more))
        assert body["TransformJobStatus"] == "Failed"
        return str(body["FailureReason"])

    bench.store.write("s3://bucket/empty.tar.gz", tarball({}))
    bench.store.write("s3://bucket/in/a.csv", b"1\n")
    empty = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/empty.tar.gz"}
    assert "the model 'absent' does not exist" in reason("absent", None)
    several = empty | {"Mode": "MultiModel"}
    assert "does not support" in reason("several", {"Containers": [empty, several]})
    gone = empty | {"ModelDataUrl": "s3://bucket/gone.tar.gz"}
    assert str(bench.home / "s3/bucket/gone.tar.gz") in reason("gone", {"PrimaryContainer": gone})
    other = empty | {"Image": "some/image:1"}
    assert "cannot run the image some/image:1" in reason("other", {"PrimaryContainer": other})
    assert "does not contain xgboost-model" in reason("empty", {"PrimaryContainer": empty})
    split = {"SplitType": "RecordIO"}
    assert "SplitType 'RecordIO': not supported" in reason(
        "split", {"PrimaryContainer": empty}, given=split
    )


def plan(**more: Any) -> dict[str, Any]:
    return {
        "content_type": "text/csv",
        "accept": "text/csv",
        "split": "None",
        "batch": "MultiRecord",
        "max_payload": 1,
        "processing": {},
    } | more


def test_payloads_are_filled_up_to_the_limit() -> None:
    line = b"x" * 300_000 + b"\n"
    sizes = [len(part) for part in inference.payloads(line * 7, plan(split="Line"))]
    assert sizes == [900_003, 900_003, 300_001]
    assert list(inference.payloads(line * 7, plan(max_payload=0))) == [line * 7]
    assert list(inference.payloads(b"a\n\nb", plan(split="Line", batch="SingleRecord"))) == [
        b"a\n",
        b"b",
    ]
    with pytest.raises(UserError, match=r"over MaxPayloadInMB \(1\); SplitType Line"):
        list(inference.payloads(line * 7, plan()))
    with pytest.raises(UserError, match="over MaxPayloadInMB"):
        list(inference.payloads(b"x" * 1_100_000, plan(split="Line")))


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("$", "abcd"),
        ("$[1:]", "bcd"),
        ("$[:-1]", "abc"),
        ("$[0,-1]", "ad"),
        ("$[2]", "c"),
    ],
)
def test_csv_filters(path: str, fields: str) -> None:
    assert inference.selector(path)(list("abcd")) == list(fields)


def test_unsupported_filters_are_rejected() -> None:
    with pytest.raises(UserError, match=r"\$\.features"):
        inference.selector("$.features")
    join = {"JoinSource": "Input"}
    with pytest.raises(UserError, match="only text/csv"):
        inference.with_data_processing(
            bytes.upper, plan(accept="application/json", processing=join)
        )
    model = inference.with_data_processing(lambda payload: b"1\n", plan(processing=join))
    with pytest.raises(UserError, match="1 results for 2 records"):
        model(b"a\nb\n")
    model = inference.with_data_processing(bytes.upper, plan(processing={"OutputFilter": "$[3]"}))
    with pytest.raises(UserError, match="too few fields"):
        model(b"a,b\n")


def test_json_output(boosted: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "xgboost-model").rename(tmp_path / "model/xgboost-model")
    model = serving.xgboost_model(tmp_path / "model")
    _, _, body = model(b"1,2\n3,4\n", "text/csv", "application/json")
    assert [one["score"] for one in json.loads(body)["predictions"]] == pytest.approx([3, 7], abs=1)
    booster = algorithm.load(tmp_path / "model")
    algorithm.save(booster, tmp_path / "model/xgboost-model", "save")
    model = serving.xgboost_model(tmp_path / "model")
    _, _, body = model(b"1,2\n3,4\n", "text/csv", "application/jsonlines")
    assert len(body.splitlines()) == 2
    with pytest.raises(UserError, match="Accept 'image/png'"):
        model(b"1,2\n", "text/csv", "image/png")
