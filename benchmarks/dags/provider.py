"""The abalone DAG by hand with the Amazon provider's operators, as its documentation shows them."""

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerConditionOperator,
    SageMakerModelOperator,
    SageMakerProcessingOperator,
    SageMakerRegisterModelVersionOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
)
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param

ROLE = "arn:aws:iam::111122223333:role/sagebridge-abalone"
ACCOUNT = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
SKLEARN = f"{ACCOUNT}/sagemaker-scikit-learn:1.4-2-cpu-py3"
XGBOOST = f"{ACCOUNT}/sagemaker-xgboost:3.0-5"
BUCKET = "s3://sagebridge-abalone"
RUN = f"{BUCKET}/executions/{{{{ run_id }}}}"
MODEL = (
    "{{ ti.xcom_pull(task_ids='AbaloneTrain')['Training']['ModelArtifacts']['S3ModelArtifacts'] }}"
)


def s3_input(name: str, uri: str, path: str) -> dict[str, object]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": path,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }


def s3_output(name: str) -> dict[str, object]:
    path = f"/opt/ml/processing/{name}"
    return {
        "OutputName": name,
        "S3Output": {"S3Uri": f"{RUN}/{name}", "LocalPath": path, "S3UploadMode": "EndOfJob"},
    }


def channel(name: str) -> dict[str, object]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{RUN}/{name}"}
    return {
        "ChannelName": name,
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": source},
    }


def processing(
    task_id: str, image: str, script: str, inputs: list[object], outputs: list[object]
) -> SageMakerProcessingOperator:
    code = "/opt/ml/processing/input/code"
    cluster = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    return SageMakerProcessingOperator(
        task_id=task_id,
        config={
            "ProcessingJobName": f"{task_id}-{{{{ ts_nodash }}}}",
            "RoleArn": ROLE,
            "ProcessingResources": {"ClusterConfig": cluster},
            "AppSpecification": {
                "ImageUri": image,
                "ContainerEntrypoint": ["python3", f"{code}/{script}"],
            },
            "ProcessingInputs": [*inputs, s3_input("code", f"{BUCKET}/code/{script}", code)],
            "ProcessingOutputConfig": {"Outputs": outputs},
        },
    )


def refuse(threshold: float) -> None:
    raise ValueError(f"Execution failed due to MSE > {threshold}")


with DAG(
    dag_id="provider_abalone",
    schedule=None,
    params={
        "ProcessingInstanceCount": Param(1, type="integer"),
        "ModelApprovalStatus": Param("PendingManualApproval", type="string"),
        "InputData": Param(f"{BUCKET}/data/abalone-dataset.csv", type="string"),
        "BatchData": Param(f"{BUCKET}/data/abalone-dataset-batch.csv", type="string"),
        "MseThreshold": Param(6.0, type="number"),
    },
):
    process = processing(
        "AbaloneProcess",
        SKLEARN,
        "preprocessing.py",
        [s3_input("input-1", "{{ params.InputData }}", "/opt/ml/processing/input")],
        [s3_output("train"), s3_output("validation"), s3_output("test")],
    )
    train = SageMakerTrainingOperator(
        task_id="AbaloneTrain",
        config={
            "TrainingJobName": "AbaloneTrain-{{ ts_nodash }}",
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": f"{RUN}/model"},
            "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
            "ResourceConfig": {
                "InstanceType": "ml.m5.xlarge",
                "InstanceCount": 1,
                "VolumeSizeInGB": 30,
            },
            "InputDataConfig": [channel("train"), channel("validation")],
            "HyperParameters": {
                "objective": "reg:squarederror",
                "num_round": "50",
                "max_depth": "5",
                "eta": "0.2",
                "gamma": "4",
                "min_child_weight": "6",
                "subsample": "0.7",
            },
        },
    )
    evaluate = processing(
        "AbaloneEval",
        XGBOOST,
        "evaluation.py",
        [
            s3_input("input-1", MODEL, "/opt/ml/processing/model"),
            s3_input("input-2", f"{RUN}/test", "/opt/ml/processing/test"),
        ],
        [s3_output("evaluation")],
    )
    register = SageMakerRegisterModelVersionOperator(
        task_id="AbaloneRegisterModel-RegisterModel",
        image_uri=XGBOOST,
        model_url=MODEL,
        package_group_name="sagebridge-abalone",
        model_approval="PendingManualApproval",  # type: ignore[arg-type]
    )
    create_model = SageMakerModelOperator(
        task_id="AbaloneCreateModel",
        config={
            "ModelName": "abalone-{{ ts_nodash }}",
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {"Image": XGBOOST, "ModelDataUrl": MODEL},
        },
    )
    transform = SageMakerTransformOperator(
        task_id="AbaloneTransform",
        config={
            "TransformJobName": "abalone-{{ ts_nodash }}",
            "ModelName": "abalone-{{ ts_nodash }}",
            "TransformInput": {
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "{{ params.BatchData }}"}
                },
                "ContentType": "text/csv",
                "SplitType": "Line",
            },
            "TransformOutput": {"S3OutputPath": f"{RUN}/predictions", "AssembleWith": "Line"},
            "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        },
    )
    fail = PythonOperator(
        task_id="AbaloneMSEFail",
        python_callable=refuse,
        op_args=["{{ params.MseThreshold }}"],
    )
    check = SageMakerConditionOperator(
        task_id="AbaloneMSECond",
        conditions=[
            {
                "type": "LessThanOrEqualTo",
                "left_value": "{{ ti.xcom_pull(task_ids='AbaloneEval')['mse'] }}",
                "right_value": "{{ params.MseThreshold }}",
            }
        ],
        if_task_ids=["AbaloneRegisterModel-RegisterModel", "AbaloneCreateModel"],
        else_task_ids=["AbaloneMSEFail"],
    )
    process >> train >> evaluate >> check >> [register, create_model, fail]
    create_model >> transform
