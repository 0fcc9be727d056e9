"""Which members the objects of a definition have, and which step types take them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sagebridge.formats.sagemaker.rules.definition import Problem
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.visit import escape

DEFINITION = frozenset(
    ("Version", "Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Steps")
)
CONFIGS: Mapping[str, tuple[str, ...]] = {
    "PipelineExperimentConfig": ("ExperimentName", "TrialName"),
    "MlflowConfig": ("MlflowResourceArn", "MlflowExperimentName"),
}
PARAMETER = frozenset(("Name", "Type", "DefaultValue", "EnumValues", "Description"))
RETRY_POLICY = frozenset(
    ("ExceptionType", "IntervalSeconds", "BackoffRate", "MaxAttempts", "ExpireAfterMin")
)
CACHE = frozenset(("Enabled", "ExpireAfter"))
PROPERTY_FILE = frozenset(("PropertyFileName", "OutputName", "FilePath"))
OUTPUT_PARAMETER = frozenset(("OutputName", "OutputType"))
BRANCHING = frozenset(("Conditions", "IfSteps", "ElseSteps"))

STEP_TYPES = frozenset(
    (
        "AutoML",
        "Callback",
        "ClarifyCheck",
        "Condition",
        "EMR",
        "EMRServerless",
        "Endpoint",
        "EndpointConfig",
        "Fail",
        "InferenceComponent",
        "Lambda",
        "Lineage",
        "Model",
        "Processing",
        "QualityCheck",
        "RegisterModel",
        "Training",
        "Transform",
        "Tuning",
    )
)
JOBS = frozenset(("Processing", "Training", "Tuning", "AutoML", "Transform"))
CHECKS = frozenset(("ClarifyCheck", "QualityCheck"))
EVERY_STEP = frozenset(("Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description"))
SOME_STEPS: Mapping[str, frozenset[str]] = {
    "CacheConfig": JOBS | CHECKS | {"EMR", "EMRServerless", "Lambda", "Callback"},
    "RetryPolicies": JOBS | CHECKS | {"Model", "RegisterModel", "EMR", "EMRServerless"},
    "PropertyFiles": frozenset(("Processing",)),
    "OutputParameters": frozenset(("Lambda", "Callback")),
    "FunctionArn": frozenset(("Lambda",)),
    "SqsQueueUrl": frozenset(("Callback",)),
    "CheckType": CHECKS,
    "SkipCheck": CHECKS,
    "FailOnViolation": CHECKS,
    "RegisterNewBaseline": CHECKS,
    "ModelPackageGroupName": CHECKS,
    "SuppliedBaselineConstraints": CHECKS,
    "SuppliedBaselineStatistics": frozenset(("QualityCheck",)),
    "ModelName": frozenset(("ClarifyCheck",)),
}


def unknown_members(
    raw: Mapping[str, Any], known: Collection[str], pointer: str, what: str
) -> Iterator[Problem]:
    """A warning for each member that the object has no word for; translations keep it."""
    for name in raw:
        if name not in known:
            yield Problem(
                "unknown-member",
                f"{pointer}/{escape(name)}",
                f"{what} has no member {shown(name)}{did_you_mean(name, known)}",
                "warning",
            )
