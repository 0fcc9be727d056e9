"""A tuned model up to its endpoint, next to operators without a step type."""

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerCreateExperimentOperator,
    SageMakerDeleteModelOperator,
    SageMakerEndpointConfigOperator,
    SageMakerEndpointOperator,
    SageMakerModelOperator,
    SageMakerRegisterModelVersionOperator,
    SageMakerStartPipelineOperator,
    SageMakerStopPipelineOperator,
    SageMakerTuningOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerTuningSensor
from airflow.sdk import DAG

ROLE = "arn:aws:iam::111122223333:role/r"
with DAG("e", schedule=None):
    t = SageMakerTuningOperator(
        task_id="t",
        config={
            "HyperParameterTuningJobName": "tune",
            "HyperParameterTuningJobConfig": {
                "Strategy": "Bayesian",
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1},
            },
            "TrainingJobDefinition": {"RoleArn": ROLE},
        },
    )
    s = SageMakerTuningSensor(task_id="s", job_name="tune")
    m = SageMakerModelOperator(
        task_id="m",
        config={
            "ModelName": "m",
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {
                "Image": "i",
                "ModelDataUrl": "s3://b/{{ ti.xcom_pull('t')['Tuning']['BestTrainingJob']"
                "['TrainingJobName'] }}/output/model.tar.gz",
            },
        },
    )
    ec = SageMakerEndpointConfigOperator(
        task_id="ec",
        config={
            "EndpointConfigName": "ec",
            "ProductionVariants": [{"VariantName": "v", "ModelName": "m"}],
        },
    )
    ep = SageMakerEndpointOperator(
        task_id="ep",
        config={"EndpointName": "ep", "EndpointConfigName": "ec"},
        operation="update",
        wait_for_completion=False,
    )
    st = SageMakerStartPipelineOperator(task_id="st", pipeline_name="p")
    dl = SageMakerDeleteModelOperator(
        task_id="dl", config={"ModelName": "m"}, trigger_rule="all_done"
    )
    nb = SageMakerStopPipelineOperator(task_id="sp", pipeline_exec_arn="x")
    exp = SageMakerCreateExperimentOperator(task_id="exp", name="n")
    t >> s >> m >> ec >> ep >> st >> dl
    rv = SageMakerRegisterModelVersionOperator(
        task_id="rv",
        image_uri="i",
        model_url="{{ ti.xcom_pull('t')['Tuning']['BestTrainingJob']['TrainingJobArn'] }}",
        package_group_name="g",
    )
