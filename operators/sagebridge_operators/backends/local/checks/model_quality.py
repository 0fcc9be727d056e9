"""Metrics of predictions against their ground truth, and violations of their thresholds.

Formats: "Model quality metrics" in the SageMaker guide.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics  # type: ignore[import-untyped, unused-ignore]

from sagebridge_operators.backends.local.algorithms.user_errors import UserError
from sagebridge_operators.backends.local.checks.dataset import column, label

Scores = Mapping[str, float]
KINDS = {
    "Regression": "regression",
    "BinaryClassification": "binary_classification",
    "MulticlassClassification": "multiclass_classification",
}
SAMPLES, PART, LEAST_ROWS = 5, 0.8, 200
"""The standard deviation is that of 5 samples of 80 %, if there are at least 200 rows."""
MOST_LABELS = 1000
BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}
CONSTANT = "_best_constant_classifier"
LESS, GREATER = "LessThanThreshold", "GreaterThanThreshold"
WORSE_IF_GREATER = ("mae", "mse", "rmse", "false_positive_rate", "false_negative_rate")


def statistics(table: pd.DataFrame, environment: Mapping[str, str]) -> dict[str, Any]:
    """The content of statistics.json."""
    problem = environment.get("problem_type", "")
    if problem not in KINDS:
        raise UserError(f"problem_type: expected {', '.join(KINDS)}, found {problem!r}")
    names = ("ground_truth_attribute", "inference_attribute", "probability_attribute")
    found = [environment.get(name) for name in names]
    if not found[0] or not any(found[1:]):
        raise UserError(f"expected {names[0]}, and {names[1]} or {names[2]}")
    given = pd.DataFrame(
        {n: column(table, one) for n, one in zip(names, found, strict=True) if one}
    )
    given = given.dropna()
    if given.empty:
        raise UserError("no row has both a prediction and a ground truth")
    if problem == "Regression":
        rows, scores, curves = _regression(given)
    else:
        rows, scores, curves = _classification(given, problem, environment)
    result: dict[str, Any] = dict(curves)
    deviations = _deviations(rows, scores)
    for name, value in scores(rows).items():
        result[name] = {"value": _number(value), "standard_deviation": deviations.get(name, "NaN")}
    return {
        "version": 0.0,
        "dataset": {"item_count": len(table)},
        f"{KINDS[problem]}_metrics": result,
    }


def _number(value: float) -> float | str:
    return float(value) if math.isfinite(value) else "NaN"


def _deviations(rows: pd.DataFrame, scores: Callable[[pd.DataFrame], Scores]) -> Scores:
    if len(rows) < LEAST_ROWS:
        return {}
    samples = [scores(rows.sample(frac=PART, random_state=seed)) for seed in range(SAMPLES)]
    deviations = pd.DataFrame(samples).std()
    return {str(name): _number(value) for name, value in deviations.items()}  # type: ignore[misc]


def _numeric(values: pd.Series[Any]) -> pd.Series[float]:
    try:
        return pd.to_numeric(values).astype(float)
    except ValueError as error:
        raise UserError(f"{values.name}: {error}") from None


def _regression(given: pd.DataFrame) -> tuple[pd.DataFrame, Callable[..., Scores], dict[str, Any]]:
    if "inference_attribute" not in given:
        raise UserError("Regression needs inference_attribute")
    rows = pd.DataFrame({"true": given.iloc[:, 0], "predicted": given["inference_attribute"]})

    def scores(rows: pd.DataFrame) -> Scores:
        pair = rows["true"], rows["predicted"]
        mse = metrics.mean_squared_error(*pair)
        return {
            "mae": metrics.mean_absolute_error(*pair),
            "mse": mse,
            "rmse": math.sqrt(mse),
            "r2": metrics.r2_score(*pair) if len(rows) > 1 else math.nan,
        }

    return rows.apply(_numeric), scores, {}


def _classification(
    given: pd.DataFrame, problem: str, environment: Mapping[str, str]
) -> tuple[pd.DataFrame, Callable[..., Scores], dict[str, Any]]:
    binary = problem == "BinaryClassification"
    rows = pd.DataFrame({"true": given["ground_truth_attribute"].map(label)})
    if "inference_attribute" in given:
        rows["predicted"] = given["inference_attribute"].map(label)
    elif not binary:
        raise UserError("MulticlassClassification needs inference_attribute")
    labels = sorted({*rows["true"], *rows.get("predicted", ())})
    positive = _positive(labels) if binary else ""
    if len(labels) > MOST_LABELS:
        raise UserError(f"{problem}: {len(labels)} different labels are too many")
    negative = next((one for one in labels if one != positive), "0")
    if binary and "probability_attribute" in given:
        rows["probability"] = _numeric(given["probability_attribute"])
        least = environment.get("probability_threshold_attribute") or "0.5"
        above = rows["probability"] >= float(_numeric(pd.Series([least], name="threshold"))[0])
        rows["predicted"] = rows.get("predicted", above.map({True: positive, False: negative}))
    labels = sorted({negative, positive}) if binary else labels
    matrix = metrics.confusion_matrix(rows["true"], rows["predicted"], labels=labels)
    curves: dict[str, Any] = {
        "confusion_matrix": {
            one: {other: int(count) for other, count in zip(labels, counts, strict=True)}
            for one, counts in zip(labels, matrix, strict=True)
        }
    }
    # How AWS chooses the constant class is not published. In its examples, it is the last one.
    constant = positive if binary else labels[-1]
    average = {"average": "binary", "pos_label": positive} if binary else {"average": "weighted"}
    prefix = "" if binary else "weighted_"

    def common(true: pd.Series[str], predicted: Any, end: str = "") -> dict[str, float]:
        options = {**average, "zero_division": 0.0}
        return {
            f"accuracy{end}": metrics.accuracy_score(true, predicted),
            f"{prefix}recall{end}": metrics.recall_score(true, predicted, **options),
            f"{prefix}precision{end}": metrics.precision_score(true, predicted, **options),
            **{
                f"{prefix}{name}{end}": metrics.fbeta_score(true, predicted, beta=beta, **options)
                for name, beta in BETAS.items()
            },
        }

    def scores(rows: pd.DataFrame) -> Scores:
        true = rows["true"]
        found = common(true, rows["predicted"])
        if binary:
            found |= _rates(true == positive, rows["predicted"] == positive)
        if binary and "probability" in rows:
            both = true.nunique() == len(labels)
            auc = metrics.roc_auc_score(true == positive, rows["probability"]) if both else math.nan
            found["auc"] = auc
        return found | common(true, np.full(len(rows), constant), CONSTANT)

    if binary and "probability" in rows:
        curves |= _curves(rows["true"] == positive, rows["probability"])
    return rows, scores, curves


def _positive(labels: list[str]) -> str:
    if len(labels) > 2:
        found = ", ".join(labels[:10])
        raise UserError(f"BinaryClassification: expected two labels, found {found}")
    return next((one for one in ("1", "true") if one in labels), labels[-1] if labels[1:] else "1")


def _rates(true: Any, predicted: Any) -> dict[str, float]:
    counts = metrics.confusion_matrix(true, predicted, labels=[False, True])
    with np.errstate(invalid="ignore"):  # a class may have no rows
        (tnr, fpr), (fnr, tpr) = counts / counts.sum(axis=1, keepdims=True)
    return {
        "true_positive_rate": tpr,
        "true_negative_rate": tnr,
        "false_positive_rate": fpr,
        "false_negative_rate": fnr,
    }


def _curves(true: Any, probability: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class may have no rows
        fpr, tpr, _ = metrics.roc_curve(true, probability)
        precision, recall, _ = metrics.precision_recall_curve(true, probability)
    return {
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": [_number(one) for one in fpr],
            "true_positive_rates": [_number(one) for one in tpr],
        },
        "precision_recall_curve": {
            "precisions": [_number(one) for one in precision[::-1]],
            "recalls": [_number(one) for one in recall[::-1]],
        },
    }


def constraints(found: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The content of constraints.json: each metric may not get worse."""
    kind = KINDS[environment["problem_type"]]
    limits = {
        name: {
            "threshold": one["value"],
            "comparison_operator": GREATER if name in WORSE_IF_GREATER else LESS,
        }
        for name, one in found[f"{kind}_metrics"].items()
        if not name.endswith(CONSTANT) and isinstance(one.get("value"), float)
    }
    return {"version": 0.0, f"{kind}_constraints": limits}


def violations(
    found: Mapping[str, Any], prior: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """The metrics that are beyond a threshold of the baseline.

    Raises:
        UserError: the baseline is not one for this problem type, or a metric is missing.
    """
    kind = KINDS[environment["problem_type"]]
    measured, limits = found[f"{kind}_metrics"], prior.get(f"{kind}_constraints")
    if not isinstance(limits, Mapping) or not limits:
        raise UserError(f"the baseline has no {kind}_constraints")
    for name, limit in limits.items():
        operator, threshold = limit.get("comparison_operator"), limit.get("threshold")
        if operator not in (LESS, GREATER) or not isinstance(threshold, int | float):
            raise UserError(
                f"{kind}_constraints.{name}: expected a threshold and {LESS} or {GREATER}"
            )
        one = measured.get(name, {})
        if not isinstance(value := one.get("value"), float):
            raise UserError(f"the baseline limits {name}, which this dataset does not have")
        if value < threshold if operator == LESS else value > threshold:
            yield {
                "constraint_check_type": operator,
                "description": f"Metric {name} with {value} +/- {one['standard_deviation']} was "
                f"{operator} '{threshold}'",
                "metric_name": name,
            }
