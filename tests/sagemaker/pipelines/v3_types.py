"""Pipelines of the step types of SageMaker SDK 3.27; see ``../compile.py``."""

from __future__ import annotations

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.lineage.action import Action
from sagemaker.core.lineage.artifact import Artifact
from sagemaker.core.lineage.context import Context
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.parameters import ParameterBoolean, ParameterInteger, ParameterString
from sagemaker.core.workflow.properties import Properties
from sagemaker.mlops.workflow.automl_step import AutoMLStep
from sagemaker.mlops.workflow.callback_step import (
    CallbackOutput,
    CallbackOutputTypeEnum,
    CallbackStep,
)
from sagemaker.mlops.workflow.check_job_config import CheckJobConfig
from sagemaker.mlops.workflow.emr_serverless_step import EMRServerlessJobConfig, EMRServerlessStep
from sagemaker.mlops.workflow.emr_step import EMRStep, EMRStepConfig
from sagemaker.mlops.workflow.endpoint_step import EndpointConfigStep, EndpointStep
from sagemaker.mlops.workflow.inference_component_step import InferenceComponentStep
from sagemaker.mlops.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum
from sagemaker.mlops.workflow.lineage_step import (
    LineageAssociation,
    LineageEntityReference,
    LineageStep,
)
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.quality_check_step import (
    DataQualityCheckConfig,
    ModelQualityCheckConfig,
    QualityCheckStep,
)
from sagemaker.mlops.workflow.retry import StepExceptionTypeEnum, StepRetryPolicy
from sagemaker.mlops.workflow.steps import CacheConfig, JobStep, TuningStep
from v3_parts import (
    IMAGE,
    ROLE,
    SESSION,
    captured,
    lambda_step,
    model,
    out_of,
    pipeline,
    processing,
    training,
)

RUN = ExecutionVariables.PIPELINE_EXECUTION_ID


def deployment() -> Pipeline:
    """A model behind an endpoint, with an inference component."""
    name = ParameterString("Endpoint", default_value="example")
    train = training("Train")
    create = model("Create", train.properties.ModelArtifacts.S3ModelArtifacts)
    variant = {"VariantName": "all", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    configure = EndpointConfigStep(
        "Configure",
        SESSION.create_endpoint_config(
            name=Join(on="-", values=[name, RUN]),
            production_variants=[{**variant, "ModelName": create.properties.ModelName}],
        ),
        cache_config=CacheConfig(enable_caching=True, expire_after="P1D"),
        retry_policies=[StepRetryPolicy([StepExceptionTypeEnum.THROTTLING], max_attempts=2)],
    )
    serve = EndpointStep(
        "Serve", SESSION.create_endpoint(name, configure.properties.EndpointConfigName)
    )
    component = InferenceComponentStep(
        "Component",
        SESSION.create_inference_component(
            inference_component_name="example",
            endpoint_name=serve.properties.EndpointName,
            variant_name="all",
            specification={
                "ModelName": create.properties.ModelName,
                "ComputeResourceRequirements": {
                    "NumberOfCpuCoresRequired": 1,
                    "MinMemoryRequiredInMb": 1024,
                },
            },
            runtime_config={"CopyCount": 1},
        ),
    )
    report = lambda_step(
        "Report", {"endpoint": serve.properties.EndpointArn}, depends_on=[component]
    )
    return pipeline("deployment", [name], train, create, configure, serve, component, report)


def lineage() -> Pipeline:
    """What a training job read and wrote, in SageMaker's lineage."""
    train = training("Train")
    record = LineageStep(
        "Record",
        actions=[
            Action.create(
                action_name="train",
                source_uri=train.properties.TrainingJobArn,
                source_type="SageMakerTrainingJob",
                action_type="ModelTraining",
                status="Completed",
                sagemaker_session=SESSION,
            )
        ],
        artifacts=[
            Artifact.create(
                artifact_name="model",
                source_uri=train.properties.ModelArtifacts.S3ModelArtifacts,
                artifact_type="Model",
                properties={"run": RUN},
                sagemaker_session=SESSION,
            )
        ],
        contexts=[
            Context.create(
                context_name="example",
                source_uri="s3://example",
                context_type="Project",
                sagemaker_session=SESSION,
            )
        ],
        associations=[
            LineageAssociation(
                LineageEntityReference(name="train", type="Action"),
                LineageEntityReference(name="model", type="Artifact"),
                "Produced",
            ),
            LineageAssociation(
                LineageEntityReference(
                    arn="arn:aws:sagemaker:eu-west-1:111122223333:artifact/source"
                ),
                LineageEntityReference(name="example", type="Context"),
                "AssociatedWith",
            ),
        ],
    )
    report = lambda_step("Report", {"model": record.properties.ArtifactArns["model"]})
    return pipeline("lineage", [], train, record, report)


def job() -> Pipeline:
    """A job of CreateJob whose document refers to a step, and a step that reads the result."""
    base = ParameterString("Base", default_value="example-base")
    prepare = processing("Prepare", [base])
    request = {
        "JobName": "none",
        "RoleArn": ROLE,
        "JobCategory": "AgentRFT",
        "JobConfigSchemaVersion": "1.0.0",
        "JobConfigDocument": {
            "BaseModel": base,
            "InputDataConfig": {"S3Uri": out_of(prepare)},
            "OutputDataConfig": {"S3OutputPath": "s3://example/agents"},
        },
    }
    tune = JobStep(
        "Tune",
        step_args=captured("create_job", request),
        cache_config=CacheConfig(enable_caching=True, expire_after="P1D"),
        retry_policies=[StepRetryPolicy([StepExceptionTypeEnum.SERVICE_FAULT], max_attempts=2)],
    )
    report = lambda_step(
        "Report",
        {
            "job": tune.properties.JobArn,
            # JobStep's docstring has this path, but its Properties end at the document.
            "package": Properties(tune.name, "JobConfigDocument.OutputModelPackageArn", step=tune),
        },
    )
    return pipeline("job", [base], prepare, tune, report)


def top_models() -> Pipeline:
    """A Tuning job whose two best models become models."""
    rounds = ParameterInteger("Rounds", default_value=4)
    request = {
        "HyperParameterTuningJobName": "none",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "ResourceLimits": {"MaxNumberOfTrainingJobs": rounds, "MaxParallelTrainingJobs": 2},
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "error"},
            "ParameterRanges": {
                "IntegerParameterRanges": [
                    {"Name": "depth", "MinValue": "2", "MaxValue": "9", "ScalingType": "Auto"}
                ]
            },
        },
        "TrainingJobDefinition": {
            "RoleArn": ROLE,
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "error", "Regex": "error=(.*)"}],
            },
            "OutputDataConfig": {"S3OutputPath": "s3://example/models"},
            "ResourceConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 10,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    }
    tune = TuningStep("Tune", step_args=captured("tune", request))
    first, second = (
        model(name, tune.get_top_model_s3_uri(top_k, "example", "models"))
        for name, top_k in (("First", 0), ("Second", 1))
    )
    best = tune.properties.BestTrainingJob
    report = lambda_step(
        "Report",
        {
            "best": best.TrainingJobName,
            "error": best.FinalHyperParameterTuningJobObjectiveMetric.Value.to_string(),
        },
    )
    return pipeline("top-models", [rounds], tune, first, second, report)


def auto_ml(session: Session) -> None:
    del session


def automl() -> Pipeline:
    """An AutoML job whose best candidate becomes a model."""
    target = ParameterString("Target", default_value="rings")
    data = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://example/data"}}
    request = {
        "AutoMLJobName": "none",
        "RoleArn": ROLE,
        "InputDataConfig": [{"DataSource": data, "TargetAttributeName": target}],
        "OutputDataConfig": {"S3OutputPath": "s3://example/automl"},
        "AutoMLJobConfig": {"Mode": "ENSEMBLING"},
        "ProblemType": "Regression",
        "AutoMLJobObjective": {"MetricName": "MSE"},
    }
    # AutoMLStep looks up this method, which version 3 of the SDK does not have.
    Session.auto_ml = auto_ml
    search = AutoMLStep("Search", captured("auto_ml", request))
    best = search.properties.BestCandidate
    create = model("Create", best.InferenceContainers[0].ModelDataUrl)
    insights = search.properties.BestCandidateProperties.ModelInsightsJsonReportPath
    report = lambda_step("Report", {"candidate": best.CandidateName, "insights": insights})
    return pipeline("automl", [target], search, create, report)


def spark() -> Pipeline:
    """Spark on a running cluster, on a cluster of the step, and without a cluster."""
    cluster = ParameterString("Cluster", default_value="j-EXAMPLE")
    instances = [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}]
    here = EMRStep(
        "Here",
        "On a running cluster",
        "d",
        cluster,
        EMRStepConfig(
            "command-runner.jar", ["spark-submit", "s3://example/job.py"], output_args={"out": RUN}
        ),
        cache_config=CacheConfig(enable_caching=True, expire_after="P1D"),
    )
    own = EMRStep(
        "Own",
        "On its own cluster",
        "d",
        None,
        EMRStepConfig("s3://example/job.jar", [here.emr_outputs["out"]], main_class="Job"),
        cluster_config={
            "ReleaseLabel": "emr-7.0.0",
            "Applications": [{"Name": "Spark"}],
            "Instances": {"InstanceGroups": instances},
            "JobFlowRole": "example",
            "ServiceRole": "example",
        },
    )
    without = EMRServerlessStep(
        "Without",
        "Without a cluster",
        "d",
        job_config=EMRServerlessJobConfig(
            job_driver={"sparkSubmit": {"entryPoint": "s3://example/job.py"}},
            execution_role_arn=ROLE,
        ),
        application_id="application",
        depends_on=[own],
    )
    report = lambda_step("Report", {"state": own.properties.Status.State}, depends_on=[without])
    return pipeline("spark", [cluster], here, own, without, report)


def quality() -> Pipeline:
    """Data and model quality checks, and a step that reads their baselines."""
    register = ParameterBoolean("Register", default_value=True)
    prepare = processing("Prepare")
    where = CheckJobConfig(role=ROLE, sagemaker_session=SESSION)
    data = QualityCheckStep(
        "Data",
        DataQualityCheckConfig(
            baseline_dataset=out_of(prepare),
            dataset_format={"csv": {"header": True}},
            output_s3_uri=Join(on="/", values=["s3://example", RUN, "data"]),
        ),
        where,
        skip_check=True,
        register_new_baseline=register,
        model_package_group_name="example",
    )
    predictions = QualityCheckStep(
        "Predictions",
        ModelQualityCheckConfig(
            baseline_dataset=out_of(prepare),
            dataset_format={"csv": {"header": True}},
            output_s3_uri=Join(on="/", values=["s3://example", RUN, "model"]),
            problem_type="Regression",
            inference_attribute="_c0",
            ground_truth_attribute="_c1",
        ),
        where,
        skip_check=True,
        register_new_baseline=True,
        model_package_group_name="example",
        depends_on=[data],
    )
    report = lambda_step(
        "Report",
        {
            "constraints": data.properties.CalculatedBaselineConstraints,
            "statistics": predictions.properties.CalculatedBaselineStatistics,
        },
    )
    return pipeline("quality", [register], prepare, data, predictions, report)


def calls() -> Pipeline:
    """Values of every type, from a Lambda function through a queue to another function."""
    kinds = LambdaOutputTypeEnum
    ask = lambda_step(
        "Ask",
        {"run": RUN},
        LambdaOutput("text", kinds.String),
        LambdaOutput("count", kinds.Integer),
        LambdaOutput("share", kinds.Float),
        LambdaOutput("ready", kinds.Boolean),
    )
    outputs = ask.properties.Outputs
    wait = CallbackStep(
        "Wait",
        sqs_queue_url="https://sqs.eu-west-1.amazonaws.com/111122223333/example",
        inputs={"text": outputs["text"], "count": outputs["count"]},
        outputs=[
            CallbackOutput("answer", CallbackOutputTypeEnum.String),
            CallbackOutput("rounds", CallbackOutputTypeEnum.Integer),
        ],
    )
    answers = wait.properties.Outputs
    use = lambda_step(
        "Use",
        {
            "answer": answers["answer"],
            "rounds": answers["rounds"],
            "share": outputs["share"],
            "ready": outputs["ready"],
            "line": Join(on=" ", values=[outputs["text"], answers["rounds"]]),
        },
    )
    return pipeline("calls", [], ask, wait, use)
