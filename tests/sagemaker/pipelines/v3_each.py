"""Pipelines with ForEach, triggers and Cleanup; see ``../compile.py``."""

from __future__ import annotations

from sagemaker.core.workflow.conditions import ConditionGreaterThan
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.parameters import ParameterString
from sagemaker.mlops.workflow.cleanup_step import CleanupStep, S3CleanupSource
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.for_each_step import (
    CurrentItem,
    ForEachSelector,
    ForEachStep,
    IterationOutput,
)
from sagemaker.mlops.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.step_dependency import StepDependency, TriggerCondition
from v3_parts import (
    lambda_step,
    model,
    out_of,
    pipeline,
    processing,
    training,
)

FAILED, ANY, STOPPED = TriggerCondition.FAILED, TriggerCondition.ANY, TriggerCondition.STOPPED
SCORE = LambdaOutput("Score", LambdaOutputTypeEnum.Float)


def each_parameter() -> Pipeline:
    """One training job for each object in a parameter."""
    regions = ParameterString(
        "Regions", default_value='[{"name": "eu", "depth": {"max": "3"}}, {"name": "us"}]'
    )
    names = ParameterString("Names", default_value='["a", "b", "c"]')
    item = CurrentItem()
    data = Join(on="/", values=["s3://example", item, "data"])
    fan = ForEachStep("Fan", names, 2, [training("Train", data)])
    regional = ForEachStep(
        "Regional", regions, 1, [lambda_step("Measure", {"region": item.name, "all": item})]
    )
    report = lambda_step(
        "Report",
        {
            "trained": fan.properties.SucceededStepCount,
            "items": regional.properties.InputItemCount,
            "status": fan.properties.Status,
        },
    )
    return pipeline("each-parameter", [regions, names], fan, regional, report)


def each_selected() -> Pipeline:
    """Items from a step's output; the best one is used if it is good enough."""
    plan = lambda_step("Plan", {}, LambdaOutput("items", LambdaOutputTypeEnum.String))
    score = lambda_step("Rate", {"item": CurrentItem()}, SCORE)
    fan = ForEachStep(
        "Fan",
        plan.properties.Outputs["items"],
        3,
        [score],
        ForEachSelector("MaxBy", IterationOutput(score).OutputParameters["Score"]),
        display_name="Rate all",
    )
    best = fan.properties.Selected.OutputParameters["Score"]
    check = ConditionStep(
        "Check",
        conditions=[ConditionGreaterThan(best, 0.5)],
        if_steps=[lambda_step("Use", {"best": best})],
        else_steps=[FailStep("Refuse", error_message="no item is good enough")],
    )
    return pipeline("each-selected", [], plan, fan, check)


def each_body() -> Pipeline:
    """A body of two dependent steps over a list, and steps that read one iteration."""
    first = ParameterString("First", default_value="s")
    item = CurrentItem()
    out = Join(on="/", values=["s3://example", ExecutionVariables.PIPELINE_EXECUTION_ID, item])
    prepare = processing("Prepare", [item], out)
    train = training("Train", out_of(prepare))
    metrics = IterationOutput(train).FinalMetricDataList["error"].Value
    fan = ForEachStep(
        "Fan", [first, "m", "l"], 2, [prepare, train], ForEachSelector("MinBy", metrics)
    )
    second = fan.properties.IterationOutputs[1]
    create = model("Create", second.Train.ModelArtifacts.S3ModelArtifacts)
    keep = model("Keep", fan.properties.Selected.ModelArtifacts.S3ModelArtifacts)
    report = lambda_step(
        "Report",
        {
            "folder": second.Prepare.ProcessingOutputConfig.Outputs["out"].S3Output.S3Uri,
            "steps": fan.properties.TotalStepCount,
            "failed": fan.properties.FailedStepCount,
        },
        depends_on=[create, keep],
    )
    return pipeline("each-body", [first], fan, create, keep, report)


def each_rescued() -> Pipeline:
    """A step that runs when an iteration has failed, and one that runs in any case."""
    names = ParameterString("Names", default_value='["a", "b"]')
    prepare = processing("Prepare")
    data = Join(on="/", values=[out_of(prepare), CurrentItem()])
    fan = ForEachStep("Fan", names, 2, [training("Train", data)], depends_on=[prepare])
    rescue = lambda_step("Rescue", depends_on=[StepDependency(fan, FAILED)])
    last = lambda_step("Last", {"run": "over"}, depends_on=[StepDependency(fan, ANY)])
    return pipeline("each-rescued", [names], prepare, fan, rescue, last)


def handlers() -> Pipeline:
    """A handler of a failure, and a last step that always runs."""
    prepare = processing("Prepare")
    train = training("Train", out_of(prepare))
    alarm = lambda_step("Alarm", {"what": "training"}, depends_on=[StepDependency(train, FAILED)])
    last = lambda_step(
        "Last", depends_on=[StepDependency(prepare, ANY), StepDependency(train, ANY)]
    )
    create = model("Create", train.properties.ModelArtifacts.S3ModelArtifacts)
    return pipeline("handlers", [], prepare, train, alarm, last, create)


def mixed_triggers() -> Pipeline:
    """Entries of several kinds in one DependsOn, and a reference."""
    a, b, c = training("A"), training("B"), training("C")
    mixed = lambda_step(
        "Mixed",
        {"a": a.properties.TrainingJobName},
        depends_on=[a, StepDependency(b, FAILED), StepDependency(c, ANY)],
    )
    stopped = lambda_step("OnStop", depends_on=[StepDependency(b, STOPPED)])
    plain = lambda_step("Plain", depends_on=[a, StepDependency(c, TriggerCondition.COMPLETED)])
    return pipeline("mixed-triggers", [], a, b, c, mixed, stopped, plain)


def cleanup() -> Pipeline:
    """Deletes what steps wrote, even if the training has failed."""
    name = ParameterString("File", default_value="temporary.csv")
    prepare = processing("Prepare", folder="s3://example/temporary")
    train = training("Train", out_of(prepare))
    clean = CleanupStep(
        "Clean",
        [
            S3CleanupSource(train),
            S3CleanupSource(
                prepare,
                [
                    "s3://example/temporary/all.csv",
                    Join(on="/", values=["s3://example/temporary", name]),
                ],
            ),
        ],
        depends_on=[StepDependency(train, ANY)],
    )
    return pipeline("cleanup", [name], prepare, train, clean)
