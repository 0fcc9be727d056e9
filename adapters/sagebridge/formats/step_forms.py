"""How the Airflow and Prefect writers say each step type: its name, and members of its own."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_CHECK = {
    "check_type": "CheckType",
    "skip_check": "SkipCheck",
    "fail_on_violation": "FailOnViolation",
    "register_new_baseline": "RegisterNewBaseline",
    "model_package_group_name": "ModelPackageGroupName",
    "supplied_baseline_statistics": "SuppliedBaselineStatistics",
    "supplied_baseline_constraints": "SuppliedBaselineConstraints",
}


@dataclass(frozen=True, slots=True)
class StepForm:
    """``operator`` is Airflow's class, ``members`` the arguments for members that only it has.

    ``function`` is Prefect's function.
    """

    type: str
    operator: str
    members: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def function(self) -> str:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", self.type).lower()
        return f"{words}_" if keyword.iskeyword(words) else words


FORMS: Mapping[str, StepForm] = MappingProxyType(
    {
        form.type: form
        for form in (
            StepForm("Processing", "ProcessingOperator"),
            StepForm("Training", "TrainingOperator"),
            StepForm("Tuning", "TuningOperator"),
            StepForm("AutoML", "AutoMLOperator"),
            StepForm("Model", "ModelOperator"),
            StepForm("RegisterModel", "RegisterModelOperator"),
            StepForm("Transform", "TransformOperator"),
            StepForm("Condition", "ConditionOperator"),
            StepForm("Fail", "FailOperator"),
            StepForm("Lambda", "LambdaOperator", {"function_arn": "FunctionArn"}),
            StepForm("Callback", "CallbackOperator", {"sqs_queue_url": "SqsQueueUrl"}),
            StepForm("ClarifyCheck", "ClarifyCheckOperator", {**_CHECK, "model_name": "ModelName"}),
            StepForm("QualityCheck", "QualityCheckOperator", _CHECK),
            StepForm("EMR", "EMROperator"),
            StepForm("EMRServerless", "EMRServerlessOperator"),
            StepForm("Endpoint", "EndpointOperator"),
            StepForm("EndpointConfig", "EndpointConfigOperator"),
            StepForm("InferenceComponent", "InferenceComponentOperator"),
        )
    }
)
"""Every step type that AWS's guide or the SDK has. Any other is a ``StepOperator``."""
