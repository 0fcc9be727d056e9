"""Native rendering: a parameter stays a number; XComArgs instead of templates."""

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerModelOperator,
    SageMakerRegisterModelVersionOperator,
    SageMakerTrainingOperator,
)
from airflow.sdk import dag


@dag(
    schedule=None,
    params={"depth": 5, "instances": 2},
    render_template_as_native_obj=True,
    default_args={"aws_conn_id": "sagemaker"},
)
def native():
    train = SageMakerTrainingOperator(
        task_id="train",
        config={
            "TrainingJobName": "train",
            "RoleArn": "arn:aws:iam::111122223333:role/train",
            "AlgorithmSpecification": {"TrainingImage": "xgboost:3", "TrainingInputMode": "File"},
            "HyperParameters": {"max_depth": "{{ params.depth }}"},
            "OutputDataConfig": {"S3OutputPath": "s3://models/out/"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": "{{ params.instances }}",
                "VolumeSizeInGB": 30,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    )
    register = SageMakerRegisterModelVersionOperator(
        task_id="register",
        image_uri="xgboost:3",
        model_url=f"s3://models/{train.output['Training']}",
        package_group_name="depths",
    )
    SageMakerModelOperator(
        task_id="model",
        config={
            "ModelName": "from-package",
            "ExecutionRoleArn": "arn:aws:iam::111122223333:role/train",
            "Containers": [{"ModelPackageName": register.output}],
            "Tags": [
                {"Key": "artifacts", "Value": "s3://models/out/train/output/model.tar.gz"},
            ],
        },
    )


native()
