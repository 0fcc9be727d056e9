"""Operators of Airflow's Amazon provider as steps.

Each is known by its class's name; what its ``execute`` sends is what the step's arguments are.
"""

from __future__ import annotations

from collections.abc import Mapping

from sagebridge.formats.airflow.provider import jobs, services
from sagebridge.formats.airflow.provider.task import Kind, under

PACKAGE = "airflow.providers.amazon.aws.operators."
CONDITION = "SageMakerConditionOperator"


def _of(simple: jobs.Simple) -> Kind:
    return Kind(simple.build, outputs=simple.outputs, names=simple.names)


KINDS: Mapping[str, Kind] = {
    "SageMakerProcessingOperator": Kind(
        jobs.processing,
        ("config", "output_files_to_xcom"),
        outputs=jobs.processing_outputs,
        names=jobs.PROCESSING.names,
    ),
    "SageMakerTrainingOperator": _of(jobs.TRAINING),
    "SageMakerTuningOperator": _of(jobs.TUNING),
    "SageMakerModelOperator": _of(jobs.MODEL),
    "SageMakerEndpointConfigOperator": _of(jobs.ENDPOINT_CONFIG),
    "SageMakerTransformOperator": Kind(
        jobs.transform, outputs=jobs.transform_outputs, names=jobs.part_names("Transform")
    ),
    "SageMakerEndpointOperator": Kind(
        jobs.endpoint,
        ("config", "operation"),
        outputs=jobs.endpoint_outputs,
        names=jobs.part_names("Endpoint"),
    ),
    "SageMakerRegisterModelVersionOperator": Kind(
        services.register,
        (
            "image_uri",
            "model_url",
            "package_group_name",
            "package_group_desc",
            "package_desc",
            "model_approval",
            "extras",
            "config",
        ),
        outputs=lambda _, name: under(name, "ModelPackageArn", rest=False),
    ),
    "SageMakerAutoMLOperator": Kind(
        services.auto_ml,
        (
            "job_name",
            "s3_input",
            "target_attribute",
            "s3_output",
            "role_arn",
            "compressed_input",
            "time_limit",
            "autodeploy_endpoint_name",
            "extras",
            "config",
        ),
        outputs=lambda _, name: under(name, "BestCandidate"),
    ),
    "LambdaInvokeFunctionOperator": Kind(
        services.invoke,
        ("function_name", "payload", "qualifier", "invocation_type", "client_context"),
    ),
    "EmrAddStepsOperator": Kind(
        services.emr,
        ("job_flow_id", "job_flow_name", "steps", "execution_role_arn"),
        steps=services.emr_names,
        outputs=services.emr_outputs,
    ),
    "SqsPublishOperator": Kind(
        services.sqs, ("sqs_queue", "message_content", *services.SQS_DROPPED)
    ),
}
