"""ClarifyCheck: a CreateProcessingJob with Clarify's container, whose analysis is compared here.

The container only writes its analysis to ``analysis.json``. The rules of the comparison are those
of Clarify's monitoring jobs, "Bias Drift Violations" and "Model Feature Attribution Drift
Violations" in the SageMaker guide. AWS does not publish how Pipelines compares.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sagebridge.model.pipeline import Step
from sagebridge_operators.run_errors import StepFailed, StoreError
from sagebridge_operators.steps.check_baselines import (
    Check,
    Flags,
    Violation,
    folder_of,
    items,
    prior_baseline,
    read_json,
    refused,
)
from sagebridge_operators.steps.job_type import Services

_Item = TypeVar("_Item")
ANALYSIS, CONFIG = "analysis.json", "analysis_config"
LEAST_NDCG = 0.9
_BIAS = {"DATA_BIAS": "pre_training_bias_metrics", "MODEL_BIAS": "post_training_bias_metrics"}
_UPPER_BOUND = re.compile(r"(?<=\d), [^,]+\]\Z")
_BALANCED = {"DI": 1.0}
"""The value of a bias metric without bias, if it is not 0: disparate impact is a ratio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClarifyCheck(Check):
    def prepare(
        self, step: Step, arguments: Mapping[str, Any], *, name: str, services: Services
    ) -> dict[str, Any]:
        """As for every check; the analysis configuration also gets the model's name."""
        arguments = Check.prepare(self, step, arguments, name=name, services=services)
        prior, written = prior_baseline(arguments), f"{folder_of(arguments)}/{ANALYSIS}"
        if not Flags.of(step).skip and prior["Constraints"] == written:
            text = (
                f"the job would overwrite the baseline {written} before it is compared; write the "
                "analysis to another folder, for example one with Execution.PipelineExecutionId"
            )
            raise StepFailed(text, kind="request")
        if not (model := step.extra.get("ModelName")):
            return arguments
        inputs = [
            _with_model(one, str(model), name, services) if one.get("InputName") == CONFIG else one
            for one in arguments["ProcessingInputs"]
        ]
        return {**arguments, "ProcessingInputs": inputs}

    def key_attributes(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The request with the configuration that is in the arguments, not with its copy."""
        inputs = [
            _without_job(one, str(request[self.name_key])) if one["InputName"] == CONFIG else one
            for one in request["ProcessingInputs"]
        ]
        return {**request, "ProcessingInputs": inputs}

    def violations(
        self, flags: Flags, description: Mapping[str, Any], services: Services
    ) -> list[Violation]:
        uris = (prior_baseline(description)["Constraints"], f"{folder_of(description)}/{ANALYSIS}")
        try:
            prior, current = (read_json(uri, services) for uri in uris)
        except StoreError as unread:
            raise StepFailed(f"the baseline cannot be compared: {unread}", kind="check") from None
        if flags.type == "MODEL_EXPLAINABILITY":
            return list(attribution_violations(prior, current))
        return list(bias_violations(_BIAS[flags.type], prior, current))


def _with_model(
    given: Mapping[str, Any], model: str, job: str, services: Services
) -> Mapping[str, Any]:
    """The input with the configuration, or with a copy of it that names the model.

    The SageMaker SDK uploads the configuration before the model has a name, and leaves it out.
    """
    from botocore.exceptions import ClientError

    source = str(given["S3Input"]["S3Uri"])
    try:
        config = read_json(source, services)
    except StoreError as unread:
        raise StepFailed(f"{CONFIG}: {unread}", kind="request") from None
    predictor = config.get("predictor") or {}
    if "model_name" in predictor or "endpoint_name" in predictor:
        return given
    folder, _, file = source.rpartition("/")
    uri = f"{folder}/{job}/{file}"
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = json.dumps({**config, "predictor": {**predictor, "model_name": model}})
    try:
        services.client("s3").put_object(Bucket=bucket, Key=key, Body=body.encode())
    except ClientError as error:
        raise refused(error, f"the copy of {CONFIG} with ModelName") from None
    return {**given, "S3Input": {**given["S3Input"], "S3Uri": uri}}


def _without_job(given: Mapping[str, Any], job: str) -> Mapping[str, Any]:
    uri = str(given["S3Input"]["S3Uri"]).replace(f"/{job}/", "/")
    return {**given, "S3Input": {**given["S3Input"], "S3Uri": uri}}


def bias_violations(
    section: str, prior: Mapping[str, Any], current: Mapping[str, Any]
) -> Iterator[Violation]:
    """The metrics of a section that are farther from no bias than in the prior analysis."""
    now = dict(_metrics(section, current))
    for key, before in _not_empty(_metrics(section, prior), section):
        facet, value, metric = key
        if before is None:
            continue
        found, balanced = now.get(key), _BALANCED.get(metric, 0.0)
        if found is None:
            problem = "The analysis has no value"
        elif abs(found - balanced) > abs(before - balanced):
            problem = f"Value {found} does not meet the constraint requirement"
        else:
            continue
        yield {
            "facet": facet,
            "facet_value": value,
            "metric_name": metric,
            "constraint_check_type": "bias_drift_check",
            "description": f"{problem}; the baseline is {before}",
        }


def _metrics(
    section: str, analysis: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, str, str], float | None]]:
    """The metrics of a section by facet, its value and name; None for one without a number."""
    for facet, groups in items(analysis, section, "facets"):
        for group in groups:
            # The upper bound of an interval, such as "(40, 90]", is the largest value of the data.
            value = _UPPER_BOUND.sub(", ...]", str(group.get("value_or_threshold", "")))
            for metric in group.get("metrics", ()):
                yield (facet, value, str(metric.get("name"))), _number(metric.get("value"))


def attribution_violations(
    prior: Mapping[str, Any], current: Mapping[str, Any]
) -> Iterator[Violation]:
    """The labels whose global SHAP values rank the features too differently."""
    now = dict(items(current, "explanations", "kernel_shap"))
    labels = items(prior, "explanations", "kernel_shap")
    for label, before in _not_empty(labels, "explanations.kernel_shap"):
        score = ndcg(_attributions(before), _attributions(now.get(label, {})))
        if score >= LEAST_NDCG:
            continue
        yield {
            "label": label,
            "metric_name": "shap",
            "constraint_check_type": "feature_attribution_drift_check",
            "description": f"Feature attribution drift {score} exceeds threshold {LEAST_NDCG}",
        }


def _attributions(label: Mapping[str, Any]) -> dict[str, float]:
    values = ((name, _number(value)) for name, value in items(label, "global_shap_values"))
    return {name: value for name, value in values if value is not None}


def ndcg(prior: Mapping[str, float], current: Mapping[str, float]) -> float:
    """The normalized discounted cumulative gain of a ranking of features, from 0 to 1.

    The gain of a feature is its prior attribution. Features without a current one come last.
    """
    ranked = sorted({**prior, **current}, key=lambda name: -current.get(name, -math.inf))
    best = sum(gain / math.log2(n) for n, gain in enumerate(sorted(prior.values())[::-1], 2))
    found = sum(prior.get(name, 0.0) / math.log2(n) for n, name in enumerate(ranked, 2))
    return found / best if best else 1.0


def _not_empty(found: Iterable[_Item], path: str) -> list[_Item]:
    """A check that compares nothing must not succeed."""
    if not (listed := list(found)):
        raise StepFailed(f"the baseline has nothing to compare in {path}", kind="check")
    return listed


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value)


STEP = ClarifyCheck(
    type="ClarifyCheck",
    s3_calls=("GetObject", "PutObject"),
    files={"Constraints": ANALYSIS},
    registered={
        "DATA_BIAS": {"Constraints": "Bias.PreTrainingConstraints"},
        "MODEL_BIAS": {"Constraints": "Bias.PostTrainingConstraints"},
        "MODEL_EXPLAINABILITY": {"Constraints": "Explainability.Constraints"},
    },
)
