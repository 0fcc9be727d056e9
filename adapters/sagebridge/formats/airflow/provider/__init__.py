"""Operators of Airflow's Amazon provider as steps.

Each is known by its class's name; what its ``execute`` sends is what the step's arguments are.
"""

from __future__ import annotations

from collections.abc import Mapping

from sagebridge.formats.airflow.provider import aws_services, sagemaker_jobs
from sagebridge.formats.airflow.provider.provider_task import Kind, under

PACKAGE = "airflow.providers.amazon.aws.operators."
CONDITION = "SageMakerConditionOperator"


def _of(simple: sagemaker_jobs.Simple) -> Kind:
    return Kind(simple.build, outputs=simple.outputs, names=simple.names)


KINDS: Mapping[str, Kind] = {
    "SageMakerProcessingOperator": Kind(
        sagemaker_jobs.processing,
        ("config", "output_files_to_xcom"),
        outputs=sagemaker_jobs.processing_outputs,
        names=sagemaker_jobs.PROCESSING.names,
    ),
    "SageMakerTrainingOperator": _of(sagemaker_jobs.TRAINING),
    "SageMakerTuningOperator": _of(sagemaker_jobs.TUNING),
    "SageMakerModelOperator": _of(sagemaker_jobs.MODEL),
    "SageMakerEndpointConfigOperator": _of(sagemaker_jobs.ENDPOINT_CONFIG),
    "SageMakerTransformOperator": Kind(
        sagemaker_jobs.transform,
        outputs=sagemaker_jobs.transform_outputs,
        names=sagemaker_jobs.part_names("Transform"),
    ),
    "SageMakerEndpointOperator": Kind(
        sagemaker_jobs.endpoint,
        ("config", "operation"),
        outputs=sagemaker_jobs.endpoint_outputs,
        names=sagemaker_jobs.part_names("Endpoint"),
    ),
    "SageMakerRegisterModelVersionOperator": Kind(
        aws_services.register,
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
        aws_services.auto_ml,
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
        aws_services.invoke,
        ("function_name", "payload", "qualifier", "invocation_type", "client_context"),
    ),
    "EmrAddStepsOperator": Kind(
        aws_services.emr,
        ("job_flow_id", "job_flow_name", "steps", "execution_role_arn"),
        steps=aws_services.emr_names,
        outputs=aws_services.emr_outputs,
    ),
    "SqsPublishOperator": Kind(
        aws_services.sqs, ("sqs_queue", "message_content", *aws_services.SQS_DROPPED)
    ),
}
