"""What Clarify's container does for the bias of a dataset: ``python -m ... data_bias``.

The configuration, the metrics and analysis.json are described in "Analysis configuration files",
"Pre-training bias metrics" and "Analysis results" of the SageMaker guide.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import rel_entr  # type: ignore[import-untyped, unused-ignore]

from sagebridge_operators.backends.local.algorithms.user_errors import UserError, base, report
from sagebridge_operators.backends.local.checks.data_quality import value_types
from sagebridge_operators.backends.local.checks.dataset import (
    column,
    label,
    read_dataset,
    read_document,
    write_document,
)

METRICS = {
    "CDDL": "Conditional Demographic Disparity in Labels (CDDL)",
    "CI": "Class Imbalance (CI)",
    "DPL": "Difference in Positive Proportions in Labels (DPL)",
    "JS": "Jensen-Shannon Divergence (JS)",
    "KL": "Kullback-Liebler Divergence (KL)",
    "KS": "Kolmogorov-Smirnov Distance (KS)",
    "LP": "L-p Norm (LP)",
    "TVD": "Total Variation Distance (TVD)",
}
CONTINUOUS = 0.05
"""Integers with at least this part of distinct values have thresholds, not categories."""
FORMATS = {
    "text/csv": "csv",
    "application/json": "json",
    "application/jsonlines": "json",
    "application/x-parquet": "parquet",
}
FOLDERS = ("analysis_config", "dataset", "analysis_result")
UNSUPPORTED = ("dataset_uri", "facet_dataset_uri", "features")


def run() -> None:
    """Write analysis.json as the configuration in the input ``analysis_config`` describes."""
    job = read_document(base() / "config/processingjobconfig.json")
    outputs = job.get("ProcessingOutputConfig", {}).get("Outputs", [])
    folders = {
        name: Path(one.get("S3Input", one.get("S3Output"))["LocalPath"])
        for one in (*job.get("ProcessingInputs", ()), *outputs)
        if (name := one.get("InputName", one.get("OutputName"))) in FOLDERS
    }
    if missing := [name for name in FOLDERS if name not in folders]:
        raise UserError(f"the job has no input or output {', '.join(missing)}")
    config = read_document(folders["analysis_config"] / "analysis_config.json")
    analysis = analyse(config, _dataset(config, folders["dataset"]))
    write_document(folders["analysis_result"] / "analysis.json", analysis)


def _dataset(config: Mapping[str, Any], folder: Path) -> pd.DataFrame:
    if found := [key for key in UNSUPPORTED if config.get(key)]:
        raise UserError(f"{', '.join(found)}: not supported on this machine")
    kind, headers = config.get("dataset_type", "text/csv"), config.get("headers")
    lines = kind != "application/json"
    table = read_dataset(folder, FORMATS.get(kind, kind), header=not headers, lines=lines)
    if headers and kind == "text/csv":
        if len(headers) != len(table.columns):
            raise UserError(f"{len(headers)} headers for {len(table.columns)} columns")
        table.columns = pd.Index(headers)
    return table


def analyse(config: Mapping[str, Any], table: pd.DataFrame) -> dict[str, Any]:
    """The content of analysis.json.

    Raises:
        UserError: an invalid configuration, or a method that needs a model.
    """
    methods = config.get("methods", {})
    if other := sorted(methods.keys() - {"pre_training_bias", "report"}):
        raise UserError(f"{', '.join(other)} needs AWS: here only pre_training_bias is calculated")
    names = methods.get("pre_training_bias", {}).get("methods", "all")
    names = list(METRICS) if names == "all" else sorted(names)
    if unknown := [name for name in names if name not in METRICS]:
        raise UserError(f"unknown metrics {', '.join(unknown)} (known: {', '.join(METRICS)})")
    target, values = config.get("label", ""), config.get("label_values_or_threshold")
    if not values:
        raise UserError("label_values_or_threshold is missing")
    labels = column(table, target)
    ((positive, chosen),) = _groups(labels, values)
    group = config.get("group_variable")
    facets = config.get("facet") or []
    found: dict[str, list[dict[str, Any]]] = {}
    for facet in [facets] if isinstance(facets, Mapping) else facets:
        values = column(table, facet["name_or_index"])
        found[str(values.name)] = [
            {
                "value_or_threshold": value,
                "metrics": list(
                    _metrics(names, rows, positive, None if group is None else column(table, group))
                ),
            }
            for rows, value in _groups(values, facet.get("value_or_threshold") or [])
        ]
    if not found:
        raise UserError("facet is missing")
    section = {"label": str(labels.name), "facets": found, "label_value_or_threshold": chosen}
    return {"version": "1.0", "pre_training_bias_metrics": section}


def _groups(values: pd.Series[Any], wanted: list[Any]) -> Iterator[tuple[pd.Series[bool], str]]:
    """The rows with one of the wanted values, or above the wanted threshold, and what was chosen.

    Without wanted values there is one group per value.
    """
    types = set(value_types(values))
    numeric = "String" not in types
    distinct = values.nunique()
    many = "Fractional" in types or distinct >= CONTINUOUS * values.count()
    if numeric and len(wanted) < 2 and distinct > 2 and many:
        if not wanted:
            raise UserError(f"the facet {values.name} has many values and needs a threshold")
        numbers, threshold = pd.to_numeric(values), pd.to_numeric(wanted[0], errors="coerce")
        if pd.isna(threshold):
            raise UserError(f"{values.name}: the threshold {wanted[0]!r} is not a number")
        above = numbers > threshold
        highest = numbers.max()
        yield above, f"({wanted[0]}, {highest}]"
        return
    keys = values.map(label)
    for one in [wanted] if wanted else [[value] for value in sorted(values.dropna().unique())]:
        yield keys.isin([label(value) for value in one]), ",".join(map(str, one))


def _metrics(
    names: list[str],
    facet: pd.Series[bool],
    positive: pd.Series[bool],
    group: pd.Series[Any] | None,
) -> Iterator[dict[str, Any]]:
    """The metrics; one that cannot be calculated has an ``error`` and no value."""
    found: dict[str, float] = {}
    problem = "the facet has no rows, or all rows"
    if facet.any() and not facet.all():
        problem = "the labels of the facet and those of the others have no value in common"
        found = _values(facet, positive)
    for name in names:
        value: float | None = found.get(name)
        error = problem
        if name == "CDDL":
            error = "group_variable is missing"
            if group is not None:
                value = _conditional_disparity(facet, positive, group)
        result = {"name": name, "description": METRICS[name], "value": value}
        yield result if value is not None else {**result, "error": error}


def _values(facet: pd.Series[bool], positive: pd.Series[bool]) -> dict[str, float]:
    rates = np.array([positive[~facet].mean(), positive[facet].mean()])
    ratio = facet.mean()
    values = {"CI": 1 - 2 * ratio, "DPL": rates[0] - rates[1]}
    both = np.column_stack([1 - rates, rates])
    # As in AWS's library, values that one of the two groups does not have are left out.
    others, own = both[:, (both > 0).all(axis=0)]
    if own.size:
        mean, difference = (own + others) / 2, np.abs(others - own)
        values |= {
            "JS": (rel_entr(others, mean).sum() + rel_entr(own, mean).sum()) / 2,
            "KL": rel_entr(others, own).sum(),
            "KS": difference.max(),
            "LP": np.linalg.norm(difference),
            "TVD": difference.sum() / 2,
        }
    return {name: float(value) for name, value in values.items()}


def _conditional_disparity(
    facet: pd.Series[bool], positive: pd.Series[bool], group: pd.Series[Any]
) -> float:
    """The facet's share of the rejected minus its share of the accepted: the mean of the groups."""
    rows = pd.DataFrame({"facet": facet.astype(float), "positive": positive, "group": group})
    shares = rows.pivot_table(index="group", columns="positive", values="facet", aggfunc="mean")
    shares = shares.reindex(columns=[False, True]).fillna(0.0)
    return float(np.average(shares[False] - shares[True], weights=rows.groupby("group").size()))


if __name__ == "__main__":
    sys.exit(report(run))
