"""The programs for the images of Model Monitor and Clarify: what they write for which data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.backends.local.algorithms.user_errors import UserError
from sagebridge_operators.backends.local.checks import data_quality, monitor
from tests.local.api_requests import image_job

if TYPE_CHECKING:
    from tests.local.conftest import Bench

ROWS = 1000


def table() -> pd.DataFrame:
    """A dataset with two numeric columns, a category, and names that are all different."""
    index = np.arange(ROWS)
    return pd.DataFrame(
        {
            "age": index % 50,
            "income": index / 10,
            "height": (index * 7) % ROWS / 100,
            "city": np.where(index % 4 == 0, "Oslo", "Rome"),
            "plan": np.where(index % 2 == 0, "free", "paid"),
            "name": [f"n{one}" for one in index],
        }
    )


def with_type(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(age=data["age"].astype(object).where(data.index > 4, 1.5))


def with_gaps(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(name=data["name"].where(data.index > 4))


def with_drift(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(income=data["income"] + 50)


def with_categories(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(city=data["city"].where(data.index > 4, "Bonn"))


def with_frequencies(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(plan="free")


def without_column(data: pd.DataFrame) -> pd.DataFrame:
    return data.drop(columns="height")


def with_column(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(more=1)


DRIFTS: Mapping[Callable[[pd.DataFrame], pd.DataFrame], tuple[str, str]] = {
    with_type: ("age", "data_type_check"),
    with_gaps: ("name", "completeness_check"),
    with_drift: ("income", "baseline_drift_check"),
    with_categories: ("city", "categorical_values_check"),
    with_frequencies: ("plan", "baseline_drift_check"),
    without_column: ("Missing columns", "missing_column_check"),
    with_column: ("Extra columns", "extra_column_check"),
}


class Desk:
    """The folders of a job of Model Monitor's container."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("data", "out", "output", "prior"):
            (root / folder).mkdir()

    def run(self, data: pd.DataFrame | str | None = None, **environment: str) -> str:
        """Analyse a dataset and return the message of the job."""
        if data is not None:
            text = data if isinstance(data, str) else data.to_csv(index=False)
            (self.root / "data/data.csv").write_text(text)
        given = {"dataset_format": '{"csv": {"header": true, "output_columns_position": "START"}}'}
        paths = {
            "dataset_source": str(self.root / "data"),
            "output_path": str(self.root / "out"),
        }
        monitor.run(given | paths | environment)
        return (self.root / "output/message").read_text()

    def check(self, data: pd.DataFrame | str, **environment: str) -> str:
        """Analyse a dataset against what the last job calculated."""
        for file in ("constraints", "statistics"):
            (self.root / "prior" / file).write_text(json.dumps(self.read(file)))
            environment.setdefault(f"baseline_{file}", str(self.root / "prior" / file))
        return self.run(data, **environment)

    def read(self, name: str) -> Any:
        return json.loads((self.root / f"out/{name}.json").read_text())

    def change(self, **config: Any) -> None:
        """Change the monitoring_config of the baseline."""
        found = self.read("constraints")
        found["monitoring_config"] |= config
        (self.root / "out/constraints.json").write_text(json.dumps(found))

    @property
    def violations(self) -> list[tuple[str, str]]:
        found = self.read("constraint_violations")["violations"]
        return [(one["feature_name"], one["constraint_check_type"]) for one in found]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return Desk(tmp_path)


def test_data_of_the_baseline_does_not_violate_it(desk: Desk) -> None:
    assert desk.run(table()) == "Completed: Job completed successfully."
    assert not (desk.root / "out/constraint_violations.json").exists()

    message = desk.check(table())

    assert message == "Completed: Job completed successfully with no violations."
    assert desk.violations == []


@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: drift.__name__)
def test_one_changed_column_has_one_violation(
    desk: Desk, drift: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    desk.run(table())

    message = desk.check(drift(table()))

    assert desk.violations == [DRIFTS[drift]]
    assert message == "CompletedWithViolations: Job completed successfully with 1 violations."


def test_each_changed_column_has_its_violation(desk: Desk) -> None:
    desk.run(table())
    data = table()
    for drift in DRIFTS:
        data = drift(data)

    desk.check(data)

    assert sorted(desk.violations) == sorted(DRIFTS.values())


def test_files_have_the_published_format(desk: Desk) -> None:
    desk.run("age,city,none\n1,Oslo,\n4,Oslo,\n,Rome,\n")
    statistics, constraints = desk.read("statistics"), desk.read("constraints")

    assert statistics["dataset"] == {"item_count": 3}
    age, city, none = statistics["features"]
    buckets = age["numerical_statistics"].pop("distribution")["kll"]["buckets"]
    assert age == {
        "name": "age",
        "inferred_type": "Integral",
        "numerical_statistics": {
            "common": {"num_present": 2, "num_missing": 1},
            "mean": 2.5,
            "sum": 5.0,
            "std_dev": 1.5,
            "min": 1.0,
            "max": 4.0,
        },
    }
    assert [one["count"] for one in buckets] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert (buckets[0]["lower_bound"], buckets[-1]["upper_bound"]) == (1.0, 4.0)
    assert city["string_statistics"] == {
        "common": {"num_present": 3, "num_missing": 0},
        "distinct_count": 2,
        "distribution": {
            "categorical": {
                "buckets": [{"value": "Oslo", "count": 2}, {"value": "Rome", "count": 1}]
            }
        },
    }
    assert none["inferred_type"] == "Unknown"
    assert constraints["features"][0] == {
        "name": "age",
        "inferred_type": "Integral",
        "completeness": 2 / 3,
        "num_constraints": {"is_non_negative": True},
    }
    assert constraints["monitoring_config"]["distribution_constraints"]["comparison_threshold"]


def test_domain_is_suggested_for_few_repeated_values(desk: Desk) -> None:
    desk.run(table())
    found = {one["name"]: one for one in desk.read("constraints")["features"]}
    assert found["city"]["string_constraints"] == {"domains": ["Oslo", "Rome"]}
    assert "string_constraints" not in found["name"]


def test_few_samples_make_no_drift_unless_the_method_is_simple(desk: Desk) -> None:
    data = table().head(20)
    desk.run(data)
    desk.check(data.head(10))
    assert desk.violations == []

    desk.run(data)
    desk.change(distribution_constraints={"comparison_method": "Simple"})
    desk.check(data.head(10))
    assert ("income", "baseline_drift_check") in desk.violations
    (found,) = (
        one["description"]
        for one in desk.read("constraint_violations")["violations"]
        if one["feature_name"] == "income"
    )
    assert found == "Baseline drift distance: 0.5 exceeds threshold: 0.1"


@pytest.mark.parametrize(
    ("config", "drift"),
    [
        ({"evaluate_constraints": "Disabled"}, with_column),
        ({"datatype_check_threshold": 0.9}, with_type),
        ({"domain_content_threshold": 0.9}, with_categories),
        ({"distribution_constraints": {"perform_comparison": "Disabled"}}, with_drift),
        ({"distribution_constraints": {"comparison_threshold": 0.6}}, with_drift),
        ({"distribution_constraints": {"comparison_threshold": 0.6}}, with_frequencies),
        ({"distribution_constraints": {"categorical_comparison_threshold": 0.6}}, with_frequencies),
    ],
)
def test_monitoring_config_loosens_a_check(
    desk: Desk, config: dict[str, Any], drift: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    desk.run(table())
    desk.change(**config)
    desk.check(drift(table()))
    assert desk.violations == []


def test_feature_overrides_the_monitoring_config(desk: Desk) -> None:
    desk.run(table())
    found = desk.read("constraints")
    found["features"][1]["monitoringConfigOverrides"] = {
        "distribution_constraints": {"comparison_threshold": 0.6}
    }
    (desk.root / "out/constraints.json").write_text(json.dumps(found))
    desk.check(with_frequencies(with_drift(table())))
    assert desk.violations == [("plan", "baseline_drift_check")]


@pytest.mark.parametrize(
    ("format_", "text", "names"),
    [
        ({"csv": {"header": False}}, "1,x\n2.5,\n", ["_c0", "_c1"]),
        ({"Csv": {"Header": True}}, "a,b\n1,x\n2.5,\n", ["a", "b"]),
        ({"json": {"lines": True}}, '{"a": 1, "b": "x"}\n{"a": 2.5}\n', ["a", "b"]),
        ({"Json": {"Line": False}}, '[{"a": 1, "b": "x"}, {"a": 2.5, "b": null}]', ["a", "b"]),
        ({"json": {"lines": True}}, '{"a": {"c": 1}, "b": "x"}\n{"a": {"c": 2.5}}', ["b", "a.c"]),
    ],
)
def test_formats_of_the_dataset(
    desk: Desk, format_: dict[str, Any], text: str, names: list[str]
) -> None:
    desk.run(text, dataset_format=json.dumps(format_))
    found = {one["name"]: one for one in desk.read("constraints")["features"]}
    assert list(found) == names
    types = {one["inferred_type"]: one["completeness"] for one in found.values()}
    assert types == {"Fractional": 1.0, "String": 0.5}


def test_scripts_of_the_user_run_before_and_after(desk: Desk) -> None:
    (desk.root / "before.py").write_text(
        "def preprocess_handler(line, logger):\n"
        "    a, b = line.split(',')\n"
        "    return [] if a == 'a' else {'a': a, 'sum': int(a) + int(b)}\n"
    )
    (desk.root / "after.py").write_text(
        f"def postprocess_handler():\n    open({str(desk.root / 'done')!r}, 'w').close()\n"
    )
    desk.run(
        "a,b\n1,2\n3,4\n",
        record_preprocessor_script=str(desk.root / "before.py"),
        post_analytics_processor_script=str(desk.root / "after.py"),
    )
    total = desk.read("statistics")["features"][1]
    assert (total["name"], total["numerical_statistics"]["sum"]) == ("sum", 10.0)
    assert (desk.root / "done").exists()


@pytest.mark.parametrize(
    ("environment", "text", "error"),
    [
        ({}, "", "has no rows"),
        ({"dataset_format": '{"sagemakerCaptureJson": {}}'}, "1", "'sagemakercapturejson' is not"),
        ({"dataset_format": "csv"}, "1", "dataset_format: expected one format"),
        ({"dataset_format": '{"parquet": {}}'}, "1", "[Pp]arquet"),
        ({"dataset_format": '{"json": {}}'}, "{", "is not json"),
        ({"dataset_format": '{"json": {}}'}, "[1]", "expected JSON objects, found '1'"),
        ({"analysis_type": "MODEL_BIAS"}, "a\n1", "MODEL_BIAS needs AWS"),
        ({"analysis_type": "MODEL_QUALITY"}, "a\n1", "problem_type: expected Regression"),
        ({"baseline_constraints": "none.json"}, "a\n1", "none.json cannot be read"),
        ({"output_path": ""}, "a\n1", "the variable output_path is missing"),
    ],
)
def test_invalid_job_fails_with_one_reason(
    desk: Desk, environment: dict[str, str], text: str, error: str
) -> None:
    with pytest.raises(UserError, match=error):
        desk.run(text, **environment)


def test_unsupported_method_of_a_baseline_is_an_error(desk: Desk) -> None:
    desk.run(table(), categorical_drift_method="ChiSquared")
    with pytest.raises(UserError, match="categorical_drift_method ChiSquared is not supported"):
        desk.check(table())


@pytest.mark.parametrize("field", ["completeness", "string_constraints"])
def test_baseline_of_another_format_is_an_error(field: str) -> None:
    prior = {"features": [{"name": "a", "inferred_type": "String", field: None}]}
    with pytest.raises(UserError, match="the baseline of the column a does not have the published"):
        list(data_quality.violations(pd.DataFrame({"a": ["x"]}), prior, {}))


MODEL = {"analysis_type": "MODEL_QUALITY"}
BINARY = MODEL | {
    "problem_type": "BinaryClassification",
    "ground_truth_attribute": "label",
    "inference_attribute": "prediction",
}
CONFUSED = "label,prediction,p\n0,0,0.1\n0,1,0.2\n0,1,0.3\n1,1,0.9\n"


def values(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: one["value"] for name, one in metrics.items() if "value" in one}


def test_binary_metrics_are_those_of_the_published_example(desk: Desk) -> None:
    desk.run(CONFUSED, **BINARY, probability_attribute="p")
    metrics = desk.read("statistics")["binary_classification_metrics"]
    assert metrics["confusion_matrix"] == {"0": {"0": 1, "1": 2}, "1": {"0": 0, "1": 1}}
    assert metrics["auc"] == {"value": 1.0, "standard_deviation": "NaN"}
    assert values(metrics) == pytest.approx(
        {
            "recall": 1.0,
            "precision": 0.3333333333333333,
            "accuracy": 0.5,
            "recall_best_constant_classifier": 1.0,
            "precision_best_constant_classifier": 0.25,
            "accuracy_best_constant_classifier": 0.25,
            "true_positive_rate": 1.0,
            "true_negative_rate": 0.33333333333333337,
            "false_positive_rate": 0.6666666666666666,
            "false_negative_rate": 0.0,
            "auc": 1.0,
            "f0_5": 0.3846153846153846,
            "f1": 0.5,
            "f2": 0.7142857142857143,
            "f0_5_best_constant_classifier": 0.29411764705882354,
            "f1_best_constant_classifier": 0.4,
            "f2_best_constant_classifier": 0.625,
        }
    )


def test_multiclass_metrics_are_those_of_the_published_example(desk: Desk) -> None:
    counts = {"0,0": 1180, "0,1": 510, "1,0": 268, "1,1": 138}
    rows = "".join(f"{row}\n" * count for row, count in counts.items())
    desk.run(
        rows,
        **BINARY
        | {
            "problem_type": "MulticlassClassification",
            "dataset_format": '{"csv": {"header": false}}',
        }
        | {"ground_truth_attribute": "_c0", "inference_attribute": "1"},
    )
    metrics = desk.read("statistics")["multiclass_classification_metrics"]
    assert values(metrics) == pytest.approx(
        {
            "accuracy": 0.6288167938931297,
            "weighted_recall": 0.6288167938931297,
            "weighted_precision": 0.6983172269629505,
            "weighted_f0_5": 0.6803947317178771,
            "weighted_f1": 0.6571162346664904,
            "weighted_f2": 0.6384024354394601,
            "accuracy_best_constant_classifier": 0.19370229007633588,
            "weighted_recall_best_constant_classifier": 0.19370229007633588,
            "weighted_precision_best_constant_classifier": 0.03752057718081697,
            "weighted_f0_5_best_constant_classifier": 0.04473443104152011,
            "weighted_f1_best_constant_classifier": 0.06286421244683643,
            "weighted_f2_best_constant_classifier": 0.10570313141262414,
        }
    )
    assert 0 < metrics["accuracy"]["standard_deviation"] < 0.02


@pytest.mark.parametrize("threshold", [None, "0.25"])
def test_probability_becomes_a_label(desk: Desk, threshold: str | None) -> None:
    environment = BINARY | {"inference_attribute": "", "probability_attribute": "$.p"}
    if threshold:
        environment["probability_threshold_attribute"] = threshold
    desk.run(CONFUSED, **environment)
    matrix = desk.read("statistics")["binary_classification_metrics"]["confusion_matrix"]
    assert matrix["0"] == ({"0": 2, "1": 1} if threshold else {"0": 3, "1": 0})


REGRESSION = MODEL | {
    "problem_type": "Regression",
    "ground_truth_attribute": "y",
    "inference_attribute": "x",
}


def test_worse_model_violates_the_thresholds_of_the_baseline(desk: Desk) -> None:
    desk.run("x,y\n1,1\n2,2\n3,4\n", **REGRESSION)
    limits = desk.read("constraints")["regression_constraints"]
    assert limits["r2"]["comparison_operator"] == "LessThanThreshold"
    assert desk.check("x,y\n1,1\n2,2\n3,4\n", **REGRESSION).startswith("Completed: ")

    assert desk.check("x,y\n1,1\n2,2\n2,4\n", **REGRESSION).startswith("CompletedWithViolations: ")

    found = desk.read("constraint_violations")["violations"]
    assert {one["metric_name"]: one["constraint_check_type"] for one in found} == {
        "mae": "GreaterThanThreshold",
        "mse": "GreaterThanThreshold",
        "rmse": "GreaterThanThreshold",
        "r2": "LessThanThreshold",
    }
    assert found[1]["description"].startswith("Metric mse with 1.3333333333333333 +/- NaN was ")


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"inference_attribute": "z"}, "no column 'z'; it has x, y"),
        ({"inference_attribute": ""}, "expected ground_truth_attribute, and inference_attribute"),
        ({"problem_type": "BinaryClassification"}, "expected two labels, found 1, 10, 100, 1000"),
        ({"problem_type": "MulticlassClassification"}, "1001 different labels are too many"),
        ({"baseline_constraints": "{}"}, "the baseline has no regression_constraints"),
    ],
)
def test_invalid_model_check_fails_with_one_reason(
    desk: Desk, environment: dict[str, str], error: str
) -> None:
    if "baseline_constraints" in environment:
        file = desk.root / "prior/constraints"
        file.write_text(environment["baseline_constraints"])
        environment = {"baseline_constraints": str(file)}
    rows = "".join(f"{one},{one + 1}\n" for one in range(1, 1001))
    with pytest.raises(UserError, match=error):
        desk.run(f"x,y\n{rows}", **REGRESSION | environment)


def test_value_types_of_strings() -> None:
    texts = ["1", "-2", "+3", "1.0", "1e3", ".5", "nan", "inf", "True", "1,5", " ", None]
    types = data_quality.value_types(pd.Series(texts, dtype=object))
    assert list(types) == ["Integral"] * 3 + ["Fractional"] * 3 + ["String"] * 5


def test_image_of_model_monitor_runs_as_a_job(bench: Bench) -> None:
    bench.store.write("s3://bucket/data/a.csv", table().to_csv(index=False).encode())
    variables = {
        "dataset_source": "/opt/ml/processing/input/data",
        "dataset_format": '{"csv": {"header": true}}',
        "output_path": "/opt/ml/processing/output",
    }
    image, inputs = "sagemaker-model-monitor-analyzer", {"data": "s3://bucket/data"}
    body = bench.run("Processing", "job", image_job(bench, image, inputs, Environment=variables))
    assert body["ProcessingJobStatus"] == "Completed", body.get("FailureReason")
    assert body["ExitMessage"] == "Completed: Job completed successfully."
    assert json.loads(bench.text("s3://bucket/out/constraints.json"))["features"]
    log = LocalBackend(bench.home, bench.base).job_log("QualityCheck", "job").read()
    assert "a program of sagebridge analyzes the data" in log[0]
    assert log[-1] == body["ExitMessage"]
