"""Operators of the Amazon provider as steps.

Operators are matched by class name. The arguments of a step are the request that the operator's
``execute`` would send.
"""

from __future__ import annotations

from collections.abc import Mapping

from sagebridge.formats.airflow.provider import aws_operators, config_operators, keyword_operators
from sagebridge.formats.airflow.provider.provider_task import OperatorKind, property_output
from sagebridge.model.display import words

PACKAGE = "airflow.providers.amazon.aws.operators."
PACKAGES = (PACKAGE, "airflow.providers.amazon.aws.sensors.")
CONDITION = "SageMakerConditionOperator"


def _of(operator: config_operators.ConfigOperator) -> OperatorKind:
    return OperatorKind(operator.build, outputs=operator.outputs, names=operator.names)


KINDS: Mapping[str, OperatorKind] = {
    **aws_operators.KINDS,
    "SageMakerProcessingOperator": OperatorKind(
        config_operators.processing,
        ("config", "output_files_to_xcom"),
        outputs=config_operators.processing_outputs,
        names=config_operators.PROCESSING.names,
    ),
    "SageMakerTrainingOperator": _of(config_operators.TRAINING),
    "SageMakerTuningOperator": _of(config_operators.TUNING),
    "SageMakerModelOperator": _of(config_operators.MODEL),
    "SageMakerEndpointConfigOperator": _of(config_operators.ENDPOINT_CONFIG),
    "SageMakerTransformOperator": OperatorKind(
        config_operators.transform,
        outputs=config_operators.transform_outputs,
        names=config_operators.part_names("Transform"),
    ),
    "SageMakerEndpointOperator": OperatorKind(
        config_operators.endpoint,
        ("config", "operation"),
        outputs=config_operators.endpoint_outputs,
        names=config_operators.part_names("Endpoint"),
    ),
    "SageMakerRegisterModelVersionOperator": OperatorKind(
        keyword_operators.register,
        words(
            "image_uri model_url package_group_name package_group_desc package_desc "
            "model_approval extras config"
        ),
        outputs=lambda _, name: property_output(name, "ModelPackageArn", rest=False),
    ),
    "SageMakerAutoMLOperator": OperatorKind(
        keyword_operators.auto_ml,
        words(
            "job_name s3_input target_attribute s3_output role_arn compressed_input "
            "time_limit autodeploy_endpoint_name extras config"
        ),
        outputs=lambda _, name: property_output(name, "BestCandidate"),
    ),
    "LambdaInvokeFunctionOperator": aws_operators.choice(
        "LambdaInvokeFunctionOperator",
        keyword_operators.is_lambda_step,
        keyword_operators.invoke,
        keyword_operators.lambda_output,
    ),
    "EmrAddStepsOperator": OperatorKind(
        keyword_operators.emr,
        ("job_flow_id", "job_flow_name", "steps", "execution_role_arn"),
        steps=keyword_operators.emr_names,
        outputs=keyword_operators.emr_outputs,
    ),
}
NATIVE: Mapping[str, OperatorKind] = {
    "fail": OperatorKind(keyword_operators.fail, ("op_kwargs", "python_callable")),
    "register_model": OperatorKind(
        keyword_operators.registered,
        ("op_kwargs", "python_callable"),
        outputs=lambda _, name: property_output(name, "ModelPackageArn", rest=False),
    ),
}
"""How tasks are read that call a function of native DAG files (formats/airflow/native)."""
