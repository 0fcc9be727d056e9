"""Statistics and constraints of a dataset, and their violations.

Formats: "Schema for Statistics", "Schema for Constraints" and "Schema for Violations" in the
SageMaker guide. AWS's container uses Deequ, whose sources (Apache 2.0) have the rules that the
guide does not have: which columns have a domain, and how few samples correct a distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sagebridge_operators.backends.local.algorithms.user_errors import UserError

BUCKETS = 10
MOST_CATEGORIES = 120
MOST_UNIQUE = 0.1
"""The largest part of the categories of a domain that may occur only once."""
FEW_SAMPLES = 1.8
CONFIG: Mapping[str, Any] = {
    "evaluate_constraints": "Enabled",
    "emit_metrics": "Enabled",
    "datatype_check_threshold": 1.0,
    "domain_content_threshold": 1.0,
    "distribution_constraints": {
        "perform_comparison": "Enabled",
        "comparison_threshold": 0.1,
        "comparison_method": "Robust",
        "categorical_drift_method": "LInfinity",
    },
}
Violation = dict[str, str]


def value_types(column: pd.Series[Any]) -> pd.Series[str]:
    """The type of each value that is present."""
    present = column.dropna().astype(str)
    types = pd.Series("String", index=present.index, dtype=object)
    types[np.isfinite(_numbers(present))] = "Fractional"
    types[present.str.fullmatch(r"[+-]?\d+")] = "Integral"
    return types


def _numbers(column: pd.Series[Any]) -> pd.Series[float]:
    return pd.to_numeric(column, errors="coerce").astype(float)


def _inferred_type(types: pd.Series[str]) -> str:
    found = set(types)
    return next((one for one in ("String", "Fractional", "Integral") if one in found), "Unknown")


def statistics(table: pd.DataFrame, environment: Mapping[str, str]) -> dict[str, Any]:
    """The content of statistics.json."""
    features = [_feature(str(name), table[name]) for name in table]
    return {"version": 0.0, "dataset": {"item_count": len(table)}, "features": features}


def _feature(name: str, column: pd.Series[Any]) -> dict[str, Any]:
    kind, present = _inferred_type(value_types(column)), column.dropna()
    common = {"num_present": len(present), "num_missing": len(column) - len(present)}
    feature: dict[str, Any] = {"name": name, "inferred_type": kind}
    if kind in ("Integral", "Fractional"):
        values = np.sort(_numbers(present).to_numpy())
        return feature | {
            "numerical_statistics": {
                "common": common,
                "mean": float(values.mean()),
                "sum": float(values.sum()),
                "std_dev": float(values.std()),
                "min": float(values[0]),
                "max": float(values[-1]),
                "distribution": {"kll": {"buckets": _buckets(values)}},
            }
        }
    counts = present.value_counts()
    found: dict[str, Any] = {"common": common, "distinct_count": len(counts)}
    if 0 < len(counts) <= MOST_CATEGORIES:
        buckets = [{"value": str(one), "count": int(n)} for one, n in sorted(counts.items())]
        found["distribution"] = {"categorical": {"buckets": buckets}}
    return feature | {"string_statistics": found}


def _buckets(values: Any) -> list[dict[str, Any]]:
    """Buckets of equal width. Each has its lower bound, and the last one its upper bound too."""
    bounds = np.linspace(values[0], values[-1], BUCKETS + 1)
    counts = np.diff(_ranks(values, bounds))
    return [
        {"lower_bound": float(low), "upper_bound": float(high), "count": int(count)}
        for low, high, count in zip(bounds, bounds[1:], counts, strict=False)
    ]


def _ranks(values: Any, bounds: Any) -> Any:
    """How many sorted values are below each bound; for the last one also those that equal it."""
    last = np.searchsorted(values, bounds[-1], "right")
    return np.append(np.searchsorted(values, bounds[:-1], "left"), last)


def constraints(found: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The content of constraints.json that these statistics suggest."""
    config = dict(CONFIG)
    if method := environment.get("categorical_drift_method"):
        config = _merged(config, {"distribution_constraints": {"categorical_drift_method": method}})
    features = [_constraint(one) for one in found["features"]]
    return {"version": 0.0, "features": features, "monitoring_config": config}


def _constraint(feature: Mapping[str, Any]) -> dict[str, Any]:
    numeric, string = (feature.get(f"{kind}_statistics", {}) for kind in ("numerical", "string"))
    common = (numeric or string)["common"]
    total = common["num_present"] + common["num_missing"]
    found = {
        "name": feature["name"],
        "inferred_type": feature["inferred_type"],
        "completeness": common["num_present"] / total,
    }
    if numeric:
        found["num_constraints"] = {"is_non_negative": numeric["min"] >= 0}
    elif (counts := _categories(feature)) and sum(
        count == 1 for count in counts.values()
    ) <= MOST_UNIQUE * len(counts):
        found["string_constraints"] = {"domains": list(counts)}
    return found


def _categories(feature: Mapping[str, Any]) -> dict[str, int]:
    found = feature.get("string_statistics", {}).get("distribution", {}).get("categorical", {})
    return {one["value"]: one["count"] for one in found.get("buckets", ())}


def _merged(*configs: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for one in configs:
        key = "distribution_constraints"
        merged |= {**one, key: {**merged.get(key, {}), **one.get(key, {})}}
    return merged


def violations(
    table: pd.DataFrame, prior: Mapping[str, Any], prior_statistics: Mapping[str, Any]
) -> Iterator[Violation]:
    """What of a dataset violates the constraints, or differs from the statistics, of a baseline.

    Raises:
        UserError: the baseline does not have the published format, or a method without support.
    """
    try:
        wanted = {str(one["name"]): one for one in prior["features"]}
        before = {str(one["name"]): one for one in prior_statistics.get("features", ())}
    except (KeyError, TypeError) as error:
        raise UserError(f"the baseline has no list of features with names: {error!r}") from None
    config = _merged(CONFIG, prior.get("monitoring_config") or {})
    if config["evaluate_constraints"] == "Disabled":
        return
    for kind, names in (
        ("missing", [name for name in wanted if name not in table]),
        ("extra", [str(name) for name in table if str(name) not in wanted]),
    ):
        if names:
            yield _violation(
                f"{kind.title()} columns",
                f"{kind}_column_check",
                f"There are {kind} columns in current dataset: {', '.join(names)}. Number of "
                f"columns in current dataset: {len(table.columns)}, Number of columns in baseline "
                f"constraints: {len(wanted)}",
            )
    for name, feature in wanted.items():
        if name in table:
            own = _merged(config, feature.get("monitoringConfigOverrides") or {})
            try:
                found = list(_findings(table[name], feature, before.get(name, {}), own))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                what = f"the baseline of the column {name} does not have the published format"
                raise UserError(f"{what}: {error!r}") from None
            for check, text in found:
                yield _violation(name, check, text)


def _violation(name: str, check: str, text: str) -> Violation:
    return {"feature_name": name, "constraint_check_type": check, "description": text}


def _findings(
    column: pd.Series[Any],
    feature: Mapping[str, Any],
    before: Mapping[str, Any],
    config: Mapping[str, Any],
) -> Iterator[tuple[str, str]]:
    """The checks that a column fails, with a description each."""
    types, present = value_types(column), column.dropna()
    kind, least = feature.get("inferred_type", "Unknown"), config["datatype_check_threshold"]
    if kind != "Unknown" and len(present) and (match := _match(types, kind)) < least:
        text = (
            f"Expected data type: {kind}, Expected match: {least:.1%}. Observed: Only {match:.1%}"
        )
        yield (
            "data_type_check",
            f"Data type match requirement is not met. {text} of data is {kind}.",
        )
    complete = len(present) / len(column)
    if complete < (wanted := feature.get("completeness", 0.0)):
        yield "completeness_check", f"Completeness {complete} is below the baseline's {wanted}"
    domain, least = (
        feature.get("string_constraints", {}).get("domains"),
        config["domain_content_threshold"],
    )
    if domain and len(present) and (match := float(present.isin(domain).mean())) < least:
        unknown = ", ".join(sorted(set(present[~present.isin(domain)]))[:10])
        text = f"Only {match:.1%} of the values are in the baseline's domain, expected {least:.1%}"
        yield "categorical_values_check", f"{text}; unknown values: {unknown}"
    rules = config["distribution_constraints"]
    most = rules["comparison_threshold"]
    if rules["perform_comparison"] == "Disabled":
        return
    if counts := _categories(before):
        most = rules.get("categorical_comparison_threshold", most)
        if rules["categorical_drift_method"] != "LInfinity":
            method = rules["categorical_drift_method"]
            raise UserError(f"categorical_drift_method {method} is not supported (LInfinity is)")
    distance = _distance(present, before, counts, rules["comparison_method"])
    if distance > most:
        yield (
            "baseline_drift_check",
            f"Baseline drift distance: {distance} exceeds threshold: {most}",
        )


def _match(types: pd.Series[str], kind: str) -> float:
    """The part of the values that have a type; integers are fractional numbers, too.

    A column of strings may have numbers among them.
    """
    if kind == _inferred_type(types):
        return 1.0
    return float(types.isin([kind, "Integral"] if kind == "Fractional" else [kind]).mean())


def _distance(
    present: pd.Series[Any], before: Mapping[str, Any], counts: Mapping[str, int], method: str
) -> float:
    """The largest difference of two distributions; 0.0 if there is nothing to compare.

    Distributions of numbers are compared at the bounds of the baseline's buckets, where both are
    exact, so the distance is never more than AWS's, which compares at all points.
    """
    if counts:
        table = pd.DataFrame({"before": pd.Series(counts), "now": present.value_counts()}).fillna(0)
        sizes = table.sum()
        now_and_before = table / sizes
    else:
        numeric = before.get("numerical_statistics", {}).get("distribution", {}).get("kll", {})
        buckets = numeric.get("buckets", ())
        numbers = _numbers(present)
        values = np.sort(numbers[np.isfinite(numbers)].to_numpy())
        if not len(buckets):
            return 0.0
        bounds = [*(one["lower_bound"] for one in buckets), buckets[-1]["upper_bound"]]
        ranks = {"before": np.cumsum([0, *(one["count"] for one in buckets)])}
        table = pd.DataFrame(ranks | {"now": _ranks(values, bounds)})
        sizes = pd.Series({"before": ranks["before"][-1], "now": len(values)})
        now_and_before = table / sizes
    if not sizes.all():
        return 0.0
    distance = float((now_and_before["now"] - now_and_before["before"]).abs().max())
    if method.lower().endswith("simple"):
        return distance
    return max(0.0, distance - FEW_SAMPLES * float(np.sqrt((1 / sizes).sum())))
