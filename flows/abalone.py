"""AbalonePipeline: a Prefect flow that sagebridge wrote from a SageMaker pipeline definition."""

from prefect import flow
from sagebridge_operators.prefect import (
    PropertyFile,
    begin,
    condition,
    execution,
    fail,
    finish,
    join,
    json_get,
    less_than_or_equal_to,
    model,
    parameter,
    processing,
    register_model,
    stop_jobs,
    training,
    transform,
)


@flow(name="AbalonePipeline", on_cancellation=[stop_jobs], on_crashed=[stop_jobs])
def abalone_pipeline(
    ProcessingInstanceCount: int = 1,
    ModelApprovalStatus: str = "PendingManualApproval",
    InputData: str = "s3://sagebridge-abalone/data/abalone-dataset.csv",
    BatchData: str = "s3://sagebridge-abalone/data/abalone-dataset-batch.csv",
    MseThreshold: float = 6.0,
) -> object:
    """AbalonePipeline."""
    begin(
        definition={
            "Metadata": {},
            "PipelineExperimentConfig": {
                "ExperimentName": execution.pipeline_name,
                "TrialName": execution.pipeline_execution_id,
            },
        }
    )

    abalone_process = processing(
        "AbaloneProcess",
        arguments={
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceType": "ml.m5.xlarge",
                    "InstanceCount": parameter("ProcessingInstanceCount"),
                    "VolumeSizeInGB": 30,
                }
            },
            "AppSpecification": {
                "ImageUri": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3",
                "ContainerArguments": ["--seed", "0"],
                "ContainerEntrypoint": [
                    "python3",
                    "/opt/ml/processing/input/code/preprocessing.py",
                ],
            },
            "RoleArn": "arn:aws:iam::111122223333:role/sagebridge-abalone",
            "ProcessingInputs": [
                {
                    "InputName": "input-1",
                    "AppManaged": False,
                    "S3Input": {
                        "S3Uri": parameter("InputData"),
                        "LocalPath": "/opt/ml/processing/input",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                        "S3DataDistributionType": "FullyReplicated",
                        "S3CompressionType": "None",
                    },
                },
                {
                    "InputName": "code",
                    "AppManaged": False,
                    "S3Input": {
                        "S3Uri": "s3://sagebridge-abalone/code/preprocessing.py",
                        "LocalPath": "/opt/ml/processing/input/code",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                        "S3DataDistributionType": "FullyReplicated",
                        "S3CompressionType": "None",
                    },
                },
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "train",
                        "AppManaged": False,
                        "S3Output": {
                            "S3Uri": join(
                                "/",
                                "s3://sagebridge-abalone/executions",
                                execution.pipeline_execution_id,
                                "train",
                            ),
                            "LocalPath": "/opt/ml/processing/train",
                            "S3UploadMode": "EndOfJob",
                        },
                    },
                    {
                        "OutputName": "validation",
                        "AppManaged": False,
                        "S3Output": {
                            "S3Uri": join(
                                "/",
                                "s3://sagebridge-abalone/executions",
                                execution.pipeline_execution_id,
                                "validation",
                            ),
                            "LocalPath": "/opt/ml/processing/validation",
                            "S3UploadMode": "EndOfJob",
                        },
                    },
                    {
                        "OutputName": "test",
                        "AppManaged": False,
                        "S3Output": {
                            "S3Uri": join(
                                "/",
                                "s3://sagebridge-abalone/executions",
                                execution.pipeline_execution_id,
                                "test",
                            ),
                            "LocalPath": "/opt/ml/processing/test",
                            "S3UploadMode": "EndOfJob",
                        },
                    },
                ]
            },
        },
    )

    abalone_train = training(
        "AbaloneTrain",
        arguments={
            "AlgorithmSpecification": {
                "TrainingInputMode": "File",
                "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5",
            },
            "OutputDataConfig": {
                "S3OutputPath": join(
                    "/",
                    "s3://sagebridge-abalone/executions",
                    execution.pipeline_execution_id,
                    "model",
                )
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
            "ResourceConfig": {
                "VolumeSizeInGB": 30,
                "InstanceCount": 1,
                "InstanceType": "ml.m5.xlarge",
            },
            "RoleArn": "arn:aws:iam::111122223333:role/sagebridge-abalone",
            "InputDataConfig": [
                {
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": abalone_process.properties.ProcessingOutputConfig.Outputs[
                                "train"
                            ].S3Output.S3Uri,
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                    "ContentType": "text/csv",
                    "ChannelName": "train",
                },
                {
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": abalone_process.properties.ProcessingOutputConfig.Outputs[
                                "validation"
                            ].S3Output.S3Uri,
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                    "ContentType": "text/csv",
                    "ChannelName": "validation",
                },
            ],
            "HyperParameters": {
                "objective": "reg:squarederror",
                "num_round": "50",
                "max_depth": "5",
                "eta": "0.2",
                "gamma": "4",
                "min_child_weight": "6",
                "subsample": "0.7",
            },
            "ProfilerConfig": {"DisableProfiler": True},
        },
    )

    abalone_eval = processing(
        "AbaloneEval",
        arguments={
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceType": "ml.m5.xlarge",
                    "InstanceCount": 1,
                    "VolumeSizeInGB": 30,
                }
            },
            "AppSpecification": {
                "ImageUri": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5",
                "ContainerEntrypoint": [
                    "python3",
                    "/opt/ml/processing/input/code/evaluation.py",
                ],
            },
            "RoleArn": "arn:aws:iam::111122223333:role/sagebridge-abalone",
            "ProcessingInputs": [
                {
                    "InputName": "input-1",
                    "AppManaged": False,
                    "S3Input": {
                        "S3Uri": abalone_train.properties.ModelArtifacts.S3ModelArtifacts,
                        "LocalPath": "/opt/ml/processing/model",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                        "S3DataDistributionType": "FullyReplicated",
                        "S3CompressionType": "None",
                    },
                },
                {
                    "InputName": "input-2",
                    "AppManaged": False,
                    "S3Input": {
                        "S3Uri": abalone_process.properties.ProcessingOutputConfig.Outputs[
                            "test"
                        ].S3Output.S3Uri,
                        "LocalPath": "/opt/ml/processing/test",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                        "S3DataDistributionType": "FullyReplicated",
                        "S3CompressionType": "None",
                    },
                },
                {
                    "InputName": "code",
                    "AppManaged": False,
                    "S3Input": {
                        "S3Uri": "s3://sagebridge-abalone/code/evaluation.py",
                        "LocalPath": "/opt/ml/processing/input/code",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                        "S3DataDistributionType": "FullyReplicated",
                        "S3CompressionType": "None",
                    },
                },
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "evaluation",
                        "AppManaged": False,
                        "S3Output": {
                            "S3Uri": join(
                                "/",
                                "s3://sagebridge-abalone/executions",
                                execution.pipeline_execution_id,
                                "evaluation",
                            ),
                            "LocalPath": "/opt/ml/processing/evaluation",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
        },
        property_files=[
            PropertyFile(
                name="EvaluationReport",
                output_name="evaluation",
                file_path="evaluation.json",
            )
        ],
    )

    abalone_mse_cond = condition(
        "AbaloneMSECond",
        conditions=[
            less_than_or_equal_to(
                json_get(
                    "AbaloneEval", "EvaluationReport", "regression_metrics.mse.value"
                ),
                parameter("MseThreshold"),
            )
        ],
    )
    with abalone_mse_cond.met():
        register_model(
            "AbaloneRegisterModel-RegisterModel",
            arguments={
                "ModelPackageGroupName": "sagebridge-abalone",
                "ModelMetrics": {
                    "ModelQuality": {
                        "Statistics": {
                            "ContentType": "application/json",
                            "S3Uri": join(
                                "/",
                                abalone_eval.properties.ProcessingOutputConfig.Outputs[
                                    "evaluation"
                                ].S3Output.S3Uri,
                                "evaluation.json",
                            ),
                        }
                    },
                    "Bias": {},
                    "Explainability": {},
                },
                "InferenceSpecification": {
                    "Containers": [
                        {
                            "Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5",
                            "Environment": {},
                            "ModelDataUrl": abalone_train.properties.ModelArtifacts.S3ModelArtifacts,
                        }
                    ],
                    "SupportedContentTypes": ["text/csv"],
                    "SupportedResponseMIMETypes": ["text/csv"],
                    "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.xlarge"],
                    "SupportedTransformInstanceTypes": ["ml.m5.xlarge"],
                },
                "ModelApprovalStatus": parameter("ModelApprovalStatus"),
                "SkipModelValidation": "None",
            },
        )

        abalone_create_model = model(
            "AbaloneCreateModel",
            arguments={
                "ExecutionRoleArn": "arn:aws:iam::111122223333:role/sagebridge-abalone",
                "PrimaryContainer": {
                    "Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5",
                    "Environment": {},
                    "ModelDataUrl": abalone_train.properties.ModelArtifacts.S3ModelArtifacts,
                },
            },
        )

        transform(
            "AbaloneTransform",
            arguments={
                "ModelName": abalone_create_model.properties.ModelName,
                "TransformInput": {
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": parameter("BatchData"),
                        }
                    },
                    "ContentType": "text/csv",
                    "SplitType": "Line",
                },
                "TransformOutput": {
                    "S3OutputPath": join(
                        "/",
                        "s3://sagebridge-abalone/executions",
                        execution.pipeline_execution_id,
                        "predictions",
                    ),
                    "AssembleWith": "Line",
                    "Accept": "text/csv",
                },
                "TransformResources": {
                    "InstanceCount": 1,
                    "InstanceType": "ml.m5.xlarge",
                },
            },
        )
    with abalone_mse_cond.unmet():
        fail(
            "AbaloneMSEFail",
            error_message=join(
                " ", "Execution failed due to MSE >", parameter("MseThreshold")
            ),
        )

    return finish()
