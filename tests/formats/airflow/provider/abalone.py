"""Train on the abalone data and register the model if its error is small enough."""

from datetime import UTC, datetime

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerConditionOperator,
    SageMakerModelOperator,
    SageMakerProcessingOperator,
    SageMakerRegisterModelVersionOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
)
from airflow.sdk import DAG, Param

ROLE = "arn:aws:iam::111122223333:role/abalone"
SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5"
PROCESSED = "{{ ti.xcom_pull('preprocess')['Processing']['ProcessingOutputConfig']['Outputs']"
ARTIFACTS = "{{ ti.xcom_pull('train')['Training']['ModelArtifacts']['S3ModelArtifacts'] }}"
MSE = "ti.xcom_pull('evaluate')['OutputFiles']['EvaluationReport']['regression_metrics']['mse']"


def resources(count="1"):
    return {
        "ClusterConfig": {
            "InstanceType": "ml.m5.xlarge",
            "InstanceCount": count,
            "VolumeSizeInGB": 30,
        }
    }


def processing_input(name, uri, path):
    s3_input = {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": s3_input}


def processing_output(name):
    s3_output = {
        "S3Uri": f"s3://abalone/{{{{ run_id }}}}/{name}",
        "LocalPath": f"/opt/ml/processing/{name}",
        "S3UploadMode": "EndOfJob",
    }
    return {"OutputName": name, "S3Output": s3_output}


def channel(name, output):
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{PROCESSED}[{output}]['S3Output']['S3Uri'] }}}}"}
    return {
        "ChannelName": name,
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": source},
    }


with DAG(
    "abalone",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    schedule=None,
    params={
        "input_data": Param("s3://abalone/abalone.csv", type="string", description="The table"),
        "instance_count": Param(1, type="integer"),
        "mse_threshold": 6.0,
    },
):
    preprocess = SageMakerProcessingOperator(
        task_id="preprocess",
        config={
            "ProcessingJobName": "abalone-preprocess",
            "RoleArn": ROLE,
            "ProcessingResources": resources("{{ params.instance_count }}"),
            "AppSpecification": {
                "ImageUri": SKLEARN,
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/preprocessing.py"],
            },
            "ProcessingInputs": [
                processing_input("input", "{{ params.input_data }}", "/opt/ml/processing/input"),
                processing_input("code", "s3://abalone/code", "/opt/ml/processing/code"),
            ],
            "ProcessingOutputConfig": {
                "Outputs": [processing_output(name) for name in ("train", "validation", "test")]
            },
        },
    )
    train = SageMakerTrainingOperator(
        task_id="train",
        config={
            "TrainingJobName": "abalone-train-{{ ts_nodash }}",
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
            "HyperParameters": {"objective": "reg:squarederror", "num_round": "50"},
            "InputDataConfig": [channel("train", 0), channel("validation", 1)],
            "OutputDataConfig": {"S3OutputPath": "s3://abalone/{{ run_id }}/model"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.xlarge",
                "InstanceCount": 1,
                "VolumeSizeInGB": 30,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    )
    evaluate = SageMakerProcessingOperator(
        task_id="evaluate",
        config={
            "ProcessingJobName": "abalone-evaluate",
            "RoleArn": ROLE,
            "ProcessingResources": resources(),
            "AppSpecification": {
                "ImageUri": XGBOOST,
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/evaluation.py"],
            },
            "ProcessingInputs": [
                processing_input("model", ARTIFACTS, "/opt/ml/processing/model"),
                processing_input(
                    "test", f"{PROCESSED}[2]['S3Output']['S3Uri'] }}}}", "/opt/ml/processing/test"
                ),
            ],
            "ProcessingOutputConfig": {"Outputs": [processing_output("evaluation")]},
        },
        output_files_to_xcom=[
            {
                "result_name": "EvaluationReport",
                "output_name": "evaluation",
                "file_name": "evaluation.json",
            }
        ],
    )
    check_mse = SageMakerConditionOperator(
        task_id="check_mse",
        condition_type="LessThanOrEqualTo",
        left_value=f"{{{{ {MSE}['value'] }}}}",
        right_value="{{ params.mse_threshold }}",
        if_task_ids=["register", "create_model"],
    )
    register = SageMakerRegisterModelVersionOperator(
        task_id="register",
        image_uri=XGBOOST,
        model_url=ARTIFACTS,
        package_group_name="abalone",
        package_desc="Age of abalone",
        extras={"SkipModelValidation": "None"},
    )
    create_model = SageMakerModelOperator(
        task_id="create_model",
        config={
            "ModelName": "abalone-{{ ts_nodash }}",
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {"Image": XGBOOST, "ModelDataUrl": ARTIFACTS},
        },
    )
    transform = SageMakerTransformOperator(
        task_id="transform",
        config={
            "TransformJobName": "abalone-transform",
            "ModelName": "abalone-{{ ts_nodash }}",
            "TransformInput": {
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://abalone/batch.csv"}
                },
                "ContentType": "text/csv",
                "SplitType": "Line",
            },
            "TransformOutput": {"S3OutputPath": "s3://abalone/{{ run_id }}/predictions"},
            "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        },
    )
    preprocess >> train >> evaluate >> check_mse >> [register, create_model]
    create_model >> transform
