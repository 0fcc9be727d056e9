"""The abalone pipeline: predict the rings of a shell from sex, sizes and weights.

Compiling the pipeline does not read other files and does not call AWS:

    python pipelines/abalone/pipeline.py --write     write definition.json next to this file
    python pipelines/abalone/pipeline.py --check     exit with 1 if definition.json is stale

The pipeline uses version 2 of the SDK (2.257), so that its steps have the same names as in the AWS
notebook. Version 3 has only one ModelStep and names its steps differently.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import boto3
from sagemaker import image_uris
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.model_metrics import MetricsSource, ModelMetrics
from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.sklearn.processing import SKLearnProcessor
from sagemaker.transformer import Transformer
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionLessThanOrEqualTo
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import CreateModelStep, ProcessingStep, TrainingStep, TransformStep

DEFINITION = Path(__file__).with_name("definition.json")

INSTANCE = "ml.m5.xlarge"
"""Instance type of the jobs, and the one that the model package supports."""

XGBOOST = "3.0-5"
"""The newest image. Images from 1.3 on save models in XGBoost's own format, not as a pickle. Any
XGBoost 3 can load it, and evaluation.py does not execute code from a model file."""

SKLEARN = "1.4-2"
"""The newest scikit-learn image; preprocessing.py uses only its Python and numpy."""


def session(region: str) -> PipelineSession:
    """Return a session for compiling: no credentials, no local SDK defaults, no telemetry."""
    return PipelineSession(
        boto_session=boto3.Session(
            aws_access_key_id="none",
            aws_secret_access_key="none",  # noqa: S106 - a placeholder: boto3 does not look for others
            region_name=region,
        ),
        sagemaker_config={
            "SchemaVersion": "1.0",
            "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
        },
    )


def get_pipeline(
    bucket: str = "sagebridge-abalone",
    role: str = "arn:aws:iam::111122223333:role/sagebridge-abalone",
    region: str = "us-east-1",
) -> Pipeline:
    """Return the pipeline. Its scripts are in ``code/`` of the bucket, its data in ``data/``.

    A run writes to ``executions/<execution id>/``, so runs do not overwrite each other.
    """
    processing_instance_count = ParameterInteger("ProcessingInstanceCount", default_value=1)
    model_approval_status = ParameterString(
        "ModelApprovalStatus", default_value="PendingManualApproval"
    )
    input_data = ParameterString(
        "InputData", default_value=f"s3://{bucket}/data/abalone-dataset.csv"
    )
    batch_data = ParameterString(
        "BatchData", default_value=f"s3://{bucket}/data/abalone-dataset-batch.csv"
    )
    mse_threshold = ParameterFloat("MseThreshold", default_value=6.0)

    compiling = session(region)
    common: dict[str, Any] = {"role": role, "sagemaker_session": compiling}
    xgboost_image = image_uris.retrieve("xgboost", region, version=XGBOOST, instance_type=INSTANCE)

    def output(name: str) -> Join:
        return Join(
            on="/",
            values=[f"s3://{bucket}/executions", ExecutionVariables.PIPELINE_EXECUTION_ID, name],
        )

    process = ProcessingStep(
        "AbaloneProcess",
        step_args=SKLearnProcessor(
            framework_version=SKLEARN,
            instance_type=INSTANCE,
            instance_count=processing_instance_count,
            **common,
        ).run(
            code=f"s3://{bucket}/code/preprocessing.py",
            arguments=["--seed", "0"],
            inputs=[ProcessingInput(source=input_data, destination="/opt/ml/processing/input")],
            outputs=[
                ProcessingOutput(
                    output_name=name,
                    source=f"/opt/ml/processing/{name}",
                    destination=output(name),
                )
                for name in ("train", "validation", "test")
            ],
        ),
    )
    datasets = process.properties.ProcessingOutputConfig.Outputs

    train = TrainingStep(
        "AbaloneTrain",
        step_args=Estimator(
            image_uri=xgboost_image,
            instance_type=INSTANCE,
            instance_count=1,
            output_path=output("model"),
            debugger_hook_config=False,
            disable_profiler=True,
            hyperparameters={
                "objective": "reg:squarederror",
                "num_round": 50,
                "max_depth": 5,
                "eta": 0.2,
                "gamma": 4,
                "min_child_weight": 6,
                "subsample": 0.7,
            },
            **common,
        ).fit(
            {
                name: TrainingInput(datasets[name].S3Output.S3Uri, content_type="text/csv")
                for name in ("train", "validation")
            }
        ),
    )
    artifacts = train.properties.ModelArtifacts.S3ModelArtifacts

    report = PropertyFile("EvaluationReport", output_name="evaluation", path="evaluation.json")
    evaluate = ProcessingStep(
        "AbaloneEval",
        step_args=ScriptProcessor(
            image_uri=xgboost_image,
            command=["python3"],
            instance_type=INSTANCE,
            instance_count=1,
            **common,
        ).run(
            code=f"s3://{bucket}/code/evaluation.py",
            inputs=[
                ProcessingInput(source=artifacts, destination="/opt/ml/processing/model"),
                ProcessingInput(
                    source=datasets["test"].S3Output.S3Uri,
                    destination="/opt/ml/processing/test",
                ),
            ],
            outputs=[
                ProcessingOutput(
                    output_name="evaluation",
                    source="/opt/ml/processing/evaluation",
                    destination=output("evaluation"),
                )
            ],
        ),
        property_files=[report],
    )
    evaluation = evaluate.properties.ProcessingOutputConfig.Outputs["evaluation"].S3Output.S3Uri

    model = Model(image_uri=xgboost_image, model_data=artifacts, **common)
    register = ModelStep(
        "AbaloneRegisterModel",
        step_args=model.register(
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=[INSTANCE],
            transform_instances=[INSTANCE],
            model_package_group_name="sagebridge-abalone",
            approval_status=model_approval_status,
            model_metrics=ModelMetrics(
                model_statistics=MetricsSource(
                    content_type="application/json",
                    s3_uri=Join(on="/", values=[evaluation, "evaluation.json"]),
                )
            ),
        ),
    )
    # ModelStep would append "-CreateModel" to the name (sagemaker/workflow/model_step.py). The
    # notebook's step has no suffix.
    create = CreateModelStep("AbaloneCreateModel", model=model)
    transform = TransformStep(
        "AbaloneTransform",
        step_args=Transformer(
            model_name=create.properties.ModelName,
            instance_type=INSTANCE,
            instance_count=1,
            accept="text/csv",
            assemble_with="Line",
            output_path=output("predictions"),
            sagemaker_session=compiling,
        ).transform(batch_data, content_type="text/csv", split_type="Line"),
    )
    fail = FailStep(
        "AbaloneMSEFail",
        error_message=Join(on=" ", values=["Execution failed due to MSE >", mse_threshold]),
    )

    check = ConditionStep(
        "AbaloneMSECond",
        conditions=[
            ConditionLessThanOrEqualTo(
                left=JsonGet(
                    step_name=evaluate.name,
                    property_file=report,
                    json_path="regression_metrics.mse.value",
                ),
                right=mse_threshold,
            )
        ],
        if_steps=[register, create, transform],
        else_steps=[fail],
    )
    return Pipeline(
        name="abalone",
        parameters=[
            processing_instance_count,
            model_approval_status,
            input_data,
            batch_data,
            mse_threshold,
        ],
        steps=[process, train, evaluate, check],
        sagemaker_session=compiling,
    )


def compiled() -> str:
    return json.dumps(json.loads(get_pipeline().definition()), indent=2) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write definition.json")
    action.add_argument(
        "--check", action="store_true", help="check that definition.json is current"
    )
    arguments = parser.parse_args()
    logging.disable(
        logging.WARNING
    )  # the SDK warns about each job name that it leaves to SageMaker
    text = compiled()
    if arguments.write:
        DEFINITION.write_text(text)
    elif not DEFINITION.exists() or DEFINITION.read_text() != text:
        print(f"{DEFINITION.name} is stale: run python {sys.argv[0]} --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
