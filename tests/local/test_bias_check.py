"""Bias checks on this machine: the metrics of Clarify, and how they are compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from sagebridge.authoring.runnable import why_not_local
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.backends.local.algorithms.user_errors import UserError
from sagebridge_operators.backends.local.checks import data_bias
from sagebridge_operators.steps.clarify_check import bias_violations
from tests.local.api_requests import image_job

if TYPE_CHECKING:
    from tests.local.conftest import Bench

CONFIG: dict[str, Any] = {
    "dataset_type": "text/csv",
    "label": "hired",
    "label_values_or_threshold": [1],
    "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}],
    "group_variable": "team",
    "methods": {"pre_training_bias": {"methods": "all"}, "report": {"name": "report"}},
}


def people(hired_women: int = 1) -> pd.DataFrame:
    """Four women and six men, three of whom are hired, in two teams."""
    return pd.DataFrame(
        {
            "sex": ["f"] * 4 + ["m"] * 6,
            "hired": [int(one < hired_women) for one in range(4)] + [1, 1, 1, 0, 0, 0],
            "team": ["a", "a", "b", "b"] + ["a", "b"] * 3,
            "age": [20.5, 30.5, 40.5, 50.5] * 2 + [60.5, 70.5],
        }
    ).astype(str)


def bias(config: Mapping[str, Any], data: pd.DataFrame) -> dict[str, Any]:
    """The metrics of the only facet."""
    section = data_bias.analyse(config, data)["pre_training_bias_metrics"]
    ((group,),) = section["facets"].values()
    return {"value_or_threshold": group["value_or_threshold"]} | {
        one["name"]: one["value"] for one in group["metrics"]
    }


def test_bias_metrics_of_a_facet() -> None:
    # Rates of hired: 1/4 of the women, 1/2 of the men.
    women, men = np.array([0.75, 0.25]), np.array([0.5, 0.5])
    mean = (women + men) / 2
    assert bias(CONFIG, people()) == pytest.approx(
        {
            "value_or_threshold": "f",
            # Women in team a: 1 of 2 rejected, 1 of 3 hired; in team b: 2 of 4, 0 of 1.
            "CDDL": ((1 / 2 - 1 / 3) + (2 / 4 - 0 / 1)) / 2,
            "CI": 0.2,
            "DPL": 0.25,
            "JS": ((men * np.log(men / mean)).sum() + (women * np.log(women / mean)).sum()) / 2,
            "KL": (men * np.log(men / women)).sum(),
            "KS": 0.25,
            "LP": np.sqrt(2 * 0.25**2),
            "TVD": 0.25,
        }
    )


def test_threshold_selects_the_rows_above_it() -> None:
    facet = {"name_or_index": 3, "value_or_threshold": [40]}
    found = bias(CONFIG | {"facet": [facet]}, people())
    assert found["value_or_threshold"] == "(40, 70.5]"
    assert found["CI"] == pytest.approx(-0.2)


def test_analysis_is_compared_with_that_of_other_data() -> None:
    section = "pre_training_bias_metrics"
    config = CONFIG | {"facet": [{"name_or_index": "age", "value_or_threshold": [40]}]}
    older = people().replace({"age": {"70.5": "80.5"}})
    assert (
        list(
            bias_violations(
                section, data_bias.analyse(config, people()), data_bias.analyse(config, older)
            )
        )
        == []
    )

    prior, drifted = (data_bias.analyse(CONFIG, people(hired)) for hired in (1, 0))
    found = {one["metric_name"]: one for one in bias_violations(section, prior, drifted)}

    assert found.keys() == {"CDDL", "DPL", "JS", "KL", "KS", "LP"}  # CI did not change
    assert found["DPL"] == {
        "facet": "sex",
        "facet_value": "f",
        "metric_name": "DPL",
        "constraint_check_type": "bias_drift_check",
        "description": "Value 0.5 does not meet the constraint requirement; the baseline is 0.25",
    }


@pytest.mark.parametrize("check", ["DATA_BIAS", "MODEL_BIAS", "MODEL_EXPLAINABILITY"])
def test_checks_of_a_model_need_aws(check: str) -> None:
    step = Step("Check", "ClarifyCheck", extra=plain({"CheckType": check}))
    found = why_not_local(step, Pipeline())
    if check == "DATA_BIAS":
        assert found == []
    else:
        reason = f"CheckType '{check}': the analysis needs AWS, where it invokes the model on an"
        assert found == [(f"{reason} endpoint", "Check")]


def test_metric_without_a_value_has_an_error() -> None:
    config = {name: value for name, value in CONFIG.items() if name != "group_variable"}
    found = data_bias.analyse(config, people())["pre_training_bias_metrics"]["facets"]["sex"][0]
    assert found["metrics"][0] == {
        "name": "CDDL",
        "description": "Conditional Demographic Disparity in Labels (CDDL)",
        "value": None,
        "error": "group_variable is missing",
    }


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"methods": {"shap": {}}}, "shap needs AWS"),
        ({"methods": {"post_training_bias": {}}}, "post_training_bias needs AWS"),
        ({"methods": {"pre_training_bias": {"methods": ["XX"]}}}, "unknown metrics XX"),
        ({"label": "x"}, "no column 'x'"),
        ({"facet": []}, "facet is missing"),
        (
            {"facet": [{"name_or_index": "age", "value_or_threshold": ["old"]}]},
            "age: the threshold 'old' is not a number",
        ),
        ({"facet": [{"name_or_index": "age"}]}, "age has many values and needs a threshold"),
        ({"label_values_or_threshold": None}, "label_values_or_threshold is missing"),
    ],
)
def test_invalid_bias_check_fails_with_one_reason(config: dict[str, Any], error: str) -> None:
    with pytest.raises(UserError, match=error):
        data_bias.analyse(CONFIG | config, people())


def test_image_of_clarify_runs_as_a_job(bench: Bench) -> None:
    bench.store.write("s3://bucket/data/a.csv", people().to_csv(index=False).encode())
    bench.store.write("s3://bucket/c/analysis_config.json", json.dumps(CONFIG).encode())
    inputs = {
        "analysis_config": "s3://bucket/c/analysis_config.json",
        "dataset": "s3://bucket/data",
    }
    body = bench.run(
        "Processing", "job", image_job(bench, "sagemaker-clarify-processing:1.0", inputs)
    )
    assert body["ProcessingJobStatus"] == "Completed", body.get("FailureReason")
    found = json.loads(bench.text("s3://bucket/out/analysis.json"))
    assert found["pre_training_bias_metrics"]["label_value_or_threshold"] == "1"
