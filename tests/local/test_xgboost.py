"""The built-in XGBoost algorithm, as a job and function by function."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

from sagebridge_operators.backends.local.algorithms import user_errors
from sagebridge_operators.backends.local.algorithms import xgboost as algorithm
from sagebridge_operators.backends.local.algorithms.user_errors import UserError

if TYPE_CHECKING:
    from tests.local.conftest import Bench

ROWS = [(2.0 * i + i % 3, i, i % 3) for i in range(90)]
CSV = "\n".join(",".join(map(str, row)) for row in ROWS)
# The abalone notebook's own.
NOTEBOOK = {
    "objective": "reg:linear",
    "num_round": "5",
    "max_depth": "5",
    "eta": "0.2",
    "gamma": "4",
    "min_child_weight": "6",
    "subsample": "0.7",
    "silent": "0",
    "seed": "7",
}


def model_file(bench: Bench, body: dict[str, Any]) -> bytes:
    archive = bench.store.read(body["ModelArtifacts"]["S3ModelArtifacts"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["xgboost-model"]
        content = tar.extractfile("xgboost-model")
        assert content
        return content.read()


@pytest.fixture
def data(bench: Bench) -> Bench:
    bench.store.write("s3://bucket/train/a.csv", CSV.encode())
    bench.store.write("s3://bucket/validation/a.csv", CSV.encode())
    return bench


CHANNELS = {"train": "s3://bucket/train/", "validation": "s3://bucket/validation/"}


def test_tuning_metric_of_the_image_is_in_the_description(data: Bench) -> None:
    tuned = NOTEBOOK | {"_tuning_objective_metric": "validation:mse"}
    body = data.run("Training", "job", data.training(tuned, CHANNELS))
    metrics = [one["MetricName"] for one in body.get("FinalMetricDataList", ())]
    assert "validation:mse" in metrics, data.log("Training", "job")


def test_request_of_the_notebook_trains_a_pickled_booster(data: Bench) -> None:
    body = data.run("Training", "job", data.training(NOTEBOOK, CHANNELS))
    log = data.log("Training", "job")
    assert body["TrainingJobStatus"] == "Completed", log
    rounds = [line for line in log.splitlines() if line.startswith("[")]
    assert len(rounds) == 5
    assert rounds[0].startswith("[0]\ttrain-rmse:")
    assert "\tvalidation-rmse:" in rounds[0]
    assert "reg:linear is now deprecated" not in log
    metrics = {metric["MetricName"]: metric["Value"] for metric in body["FinalMetricDataList"]}
    assert f"train-rmse:{metrics['train:rmse']:.5f}" in rounds[-1]
    assert "validation:rmse" in metrics
    model = pickle.loads(model_file(data, body))
    predictions = model.predict(xgboost.DMatrix(np.array([row[1:] for row in ROWS])))
    assert np.corrcoef(predictions, [row[0] for row in ROWS])[0, 1] > 0.9


def test_newer_image_saves_a_reproducible_model(data: Bench) -> None:
    image = "0.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1"
    for name in ("one", "two"):
        data.start("Training", name, data.training(NOTEBOOK, CHANNELS, image=image))
    models = [model_file(data, data.wait("Training", name)) for name in ("one", "two")]
    assert models[0] == models[1]
    loaded = xgboost.Booster()
    loaded.load_model(bytearray(models[0]))
    assert loaded.num_boosted_rounds() == 5


def test_invalid_hyperparameter_is_a_client_error(data: Bench) -> None:
    request = data.training(NOTEBOOK | {"num_round": "ten"}, CHANNELS)
    body = data.run("Training", "job", request)
    assert body["TrainingJobStatus"] == "Failed"
    words = "ClientError: Hyperparameter num_round must be a positive integer, not 'ten'"
    assert body["FailureReason"].startswith(words)
    assert "Traceback" not in data.log("Training", "job")


@pytest.mark.parametrize(
    ("objective", "metrics", "labels"),
    [
        ("binary:logistic", "accuracy,f1,error", [0, 1, 1, 0]),
        ("multi:softmax", "balanced_accuracy", [0, 1, 2, 0]),
        ("multi:softprob", "accuracy,mlogloss", [0, 1, 2, 0]),
        ("reg:squarederror", "mse,r2,rmse", [0, 10, 20, 0]),
    ],
)
def test_metrics_of_the_image_are_evaluated(
    objective: str, metrics: str, labels: list[float]
) -> None:
    given = {"num_round": "3", "objective": objective, "eval_metric": metrics}
    if "multi" in objective:
        given["num_class"] = "3"
    booster, run = algorithm.parameters(given)
    data = xgboost.DMatrix(np.array([[one] for one in labels] * 20), label=labels * 20)
    history: dict[str, Any] = {}
    xgboost.train(booster, data, evals=[(data, "train")], evals_result=history, **run)
    assert set(history["train"]) >= set(metrics.split(","))  # and the default metric
    for name in {"accuracy", "balanced_accuracy", "f1"} & set(history["train"]):
        assert history["train"][name][-1] == 1
    if "mse" in history["train"]:
        assert history["train"]["mse"][-1] == pytest.approx(history["train"]["rmse"][-1] ** 2)


@pytest.mark.parametrize(
    ("given", "evaluated"),
    [("", ["mae"]), ("rmse", ["rmse", "mae"]), ("mae,rmse", ["rmse", "mae"])],
)
def test_objective_of_a_tuning_job_is_evaluated_last(given: str, evaluated: list[str]) -> None:
    """As the image does; early stopping uses the last metric."""
    tuned = {"num_round": "1", "eval_metric": given, "_tuning_objective_metric": "validation:mae"}
    assert algorithm.parameters(tuned)[0] == {"eval_metric": evaluated}


def test_hyperparameters_are_converted() -> None:
    booster, run = algorithm.parameters(
        NOTEBOOK
        | {
            "early_stopping_rounds": "3",
            "eval_metric": "rmse,mae",
            "max_depth": '"6"',
            "_tuning_objective_metric": "validation:rmse",
        }
    )
    assert run == {"num_boost_round": 5, "early_stopping_rounds": 3}
    assert booster == {
        "objective": "reg:squarederror",
        "max_depth": 6,
        "eta": 0.2,
        "gamma": 4,
        "min_child_weight": 6,
        "subsample": 0.7,
        "seed": 7,
        "verbosity": 1,
        "eval_metric": ["mae", "rmse"],
    }
    with pytest.raises(UserError, match="num_round is required"):
        algorithm.parameters({})
    with pytest.raises(UserError, match="early_stopping_rounds must be a positive integer"):
        algorithm.parameters({"num_round": "5", "early_stopping_rounds": "0"})


@pytest.fixture
def channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    folder = user_errors.base() / "input/data/train"
    folder.mkdir(parents=True)
    return folder


def test_csv_with_label_weight_and_missing_values(channel: Path) -> None:
    (channel / "a.csv").write_text("1,2,3\n4,,6\n")
    (channel / "b.csv").write_text("7,8,9")
    plain = algorithm.load_channel("train", "text/csv;label_size=1", weights=False)
    assert (plain.num_row(), plain.num_col(), plain.num_nonmissing()) == (3, 2, 5)
    assert plain.get_label().tolist() == [1, 4, 7]
    (channel / "a.csv").write_text("1,2,3\n4,0.5,6\n")
    weighted = algorithm.load_channel("train", "csv", weights=True)
    assert weighted.num_col() == 1
    assert weighted.get_weight().tolist() == [2, 0.5, 8]


def test_libsvm_rows(channel: Path) -> None:
    (channel / "a").write_text("1 1:2 3:4\n0:2.5 0:1 # a comment\n")
    rows = algorithm.load_channel("train", "text/libsvm", weights=False)
    assert (rows.num_row(), rows.num_col(), rows.num_nonmissing()) == (2, 4, 3)
    assert rows.get_label().tolist() == [1, 0]
    assert rows.get_weight().tolist() == [1, 2.5]


def test_unknown_content_type_and_invalid_libsvm_are_rejected(channel: Path) -> None:
    (channel / "a").write_text("0.0,0,0\n")
    with pytest.raises(
        UserError, match="unsupported content type 'application/x-recordio-protobuf'"
    ):
        algorithm.load_channel("train", "application/x-recordio-protobuf", weights=False)
    with pytest.raises(UserError, match=r"row 1 is not libsvm: '0\.0,0,0'"):
        algorithm.load_channel("train", "text/libsvm", weights=False)


def test_unknown_objective_is_rejected(channel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (channel / "a.csv").write_text("1,2\n")
    config = channel.parents[1] / "config"
    config.mkdir()
    (config / "inputdataconfig.json").write_text('{"train": {"ContentType": "text/csv"}}')
    given = {"num_round": "1", "objective": "reg:nothing"}
    (config / "hyperparameters.json").write_text(json.dumps(given))
    with pytest.raises(UserError, match="reg:nothing"):
        algorithm.train("save")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label,x\n1,2\n", "row 1, column 1: 'label' is not a number; CSV must have no header"),
        ("1,2\n3,x\n", "row 2, column 2: 'x' is not a number"),
        ("1,2\n3\n", "row 2 has 1 columns, row 1 has 2"),
        ("1\n2\n", "1 columns are too few"),
        (",2\n", "a label \\(first column\\) is missing"),
        ("", "'train' has no data"),
    ],
)
def test_invalid_csv_is_rejected(channel: Path, text: str, words: str) -> None:
    (channel / "a.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        algorithm.load_channel("train", "text/csv", weights=False)
