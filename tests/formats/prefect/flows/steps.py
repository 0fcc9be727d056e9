"""Steps from helper functions and loops, with computed names."""

from prefect import flow

from sagebridge_operators.prefect import (
    condition,
    fail,
    finish,
    less_than_or_equal_to,
    model,
    processing,
    training,
)

ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/images:latest"
KINDS = {"linear": 1, "deep": 2}


def cluster(count, type="ml.m5.xlarge"):
    return {"ClusterConfig": {"InstanceCount": count, "InstanceType": type, "VolumeSizeInGB": 30}}


def train(kind, depth, data):
    return training(
        f"Train{kind.title()}",
        arguments={
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "HyperParameters": {"depth": str(depth)},
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": data.properties.ProcessingOutputConfig.Outputs[
                                "train"
                            ].S3Output.S3Uri,
                        }
                    },
                }
            ],
            "OutputDataConfig": {"S3OutputPath": "s3://example-bucket/models"},
            "ResourceConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.xlarge",
                "VolumeSizeInGB": 30,
            },
            "RoleArn": ROLE,
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    )


@flow(name="steps")
def steps(bucket: str, count: int = 1, limit: float = 0.5, *, deploy: bool = True):
    process = processing(
        "Process",
        arguments={
            "AppSpecification": {"ImageUri": IMAGE},
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "train",
                        "S3Output": {
                            "LocalPath": "/opt/ml/processing/train",
                            "S3UploadMode": "EndOfJob",
                            "S3Uri": f"s3://{bucket}/train",
                        },
                    }
                ]
            },
            "ProcessingResources": cluster(count),
            "RoleArn": ROLE,
        },
    )
    trained = [train(kind, depth, process) for kind, depth in KINDS.items()]
    check = condition("Check", conditions=[less_than_or_equal_to(limit, 0.8)])
    with check.met():
        for kind, one in zip(KINDS, trained, strict=True):
            model(
                f"Model-{kind}",
                arguments={
                    "ExecutionRoleArn": ROLE,
                    "PrimaryContainer": {
                        "Image": IMAGE,
                        "ModelDataUrl": one.properties.ModelArtifacts.S3ModelArtifacts,
                    },
                },
            )
    with check.unmet():
        if deploy:
            fail("TooHigh", error_message=f"above {limit}")
    return finish()
