"""Check steps on the faulty AWS: which baseline they use, and what they find."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from sagebridge.model.expressions import Get, plain, properties_of
from sagebridge.model.pipeline import Step
from sagebridge.model.step_settings import CacheConfig
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.outputs import references_to
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.selection import Source
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.clarify_check import ndcg
from tests.fakes import STARTED
from tests.faulty_aws.fault_rules import FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.standard.samples import ROLE, SAMPLES, bias
from tests.standard.world import World

CheckType = Literal["ClarifyCheck", "QualityCheck"]
SUPPLIED, REGISTERED = "s3://bucket/prior", "s3://bucket/approved"
ANALYSIS = "s3://bucket/analysis_result/analysis.json"
REPORT = "s3://bucket/quality_check_output/constraint_violations.json"
USED = "BaselineUsedForDriftCheckConstraints"
VIOLATED = "CompletedWithViolations: Job completed successfully with 1 violations."
VIOLATION = {
    "feature_name": "age",
    "constraint_check_type": "completeness_check",
    "description": "Completeness 0.5 is below 1.0",
}


def check(type_: CheckType, **extra: Any) -> Step:
    """The sample of a type with other keys next to its arguments; None removes one."""
    step = SAMPLES[type_].step()
    merged = {**step.extra, **extra}
    return replace(step, extra=plain({k: v for k, v in merged.items() if v is not None}))


def run(
    world: World,
    step: Step,
    folder: Path,
    number: int = 0,
    names: Sequence[str] = ("CalculatedBaselineConstraints", "CalculatedBaselineStatistics", USED),
) -> dict[str, Any]:
    """Run a step; ``names`` are its properties that a later step refers to."""
    container = {"Image": "image", "Environment": {}}
    container["Environment"] = {name: getattr(properties_of(step.name), name) for name in names}
    later = Step("Later", "Model", arguments=plain({"PrimaryContainer": container}))
    records = ExecutionRecords(Folder(folder))
    execution = Execution(
        f"{number}123456789ab", "checks", "airflow", "dag/run", STARTED, {"Text": ""}
    )
    references = references_to(step.name, (step, later))
    task = StepTask(
        step, execution, world.backend(), records, lambda step: None, references=references
    )
    return StepDriver(task).run()


def approve(world: World, member: str, folder: str, approval: str = "Approved") -> None:
    """Register a version with a baseline, such as ``Bias.PreTrainingConstraints``."""
    sagemaker = world.aws.client("sagemaker")
    group = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
    if not group:
        sagemaker.create_model_package_group(ModelPackageGroupName="group")
    outer, _, inner = member.partition(".")
    files = [inner] if inner else ["Constraints", "Statistics"]
    sources = {
        one: {"ContentType": "application/json", "S3Uri": f"{folder}/{one.lower()}.json"}
        for one in files
    }
    sagemaker.create_model_package(
        ModelPackageGroupName="group",
        ModelApprovalStatus=approval,
        DriftCheckBaselines={outer: sources},
    )
    world.clock.sleep(1.0)  # versions are listed by the time of their creation


@pytest.mark.parametrize(
    ("skip", "register", "compared", "used"),
    [
        (False, False, True, "prior"),
        (False, True, True, "calculated"),
        (True, False, False, "prior"),
        (True, True, False, "calculated"),
    ],
)
@pytest.mark.parametrize("type_", ["ClarifyCheck", "QualityCheck"])
def test_baseline_and_check_follow_the_flags(
    world: World,
    tmp_path: Path,
    type_: CheckType,
    skip: bool,
    register: bool,
    compared: bool,
    used: str,
) -> None:
    prior = f"{SUPPLIED}/constraints.json"
    calculated = ANALYSIS
    if type_ == "QualityCheck":
        calculated = "s3://bucket/quality_check_output/constraints.json"
    world.aws.put_json({prior: bias(0.1), ANALYSIS: bias(0.2), REPORT: {"violations": [VIOLATION]}})
    world.aws.add_scripts(JobScript(members={"ExitMessage": VIOLATED}))
    step = check(
        type_,
        SkipCheck=skip,
        RegisterNewBaseline=register,
        SuppliedBaselineConstraints=prior,
        FailOnViolation=False,
    )
    outputs = run(world, step, tmp_path)
    assert outputs["properties"]["CalculatedBaselineConstraints"] == calculated
    assert outputs["properties"][USED] == {"prior": prior, "calculated": calculated}[used]
    assert ("violations" in outputs) == compared


@pytest.mark.parametrize(
    ("type_", "kind", "member"),
    [
        ("ClarifyCheck", "DATA_BIAS", "Bias.PreTrainingConstraints"),
        ("ClarifyCheck", "MODEL_BIAS", "Bias.PostTrainingConstraints"),
        ("ClarifyCheck", "MODEL_EXPLAINABILITY", "Explainability.Constraints"),
        ("QualityCheck", "DATA_QUALITY", "ModelDataQuality"),
        ("QualityCheck", "MODEL_QUALITY", "ModelQuality"),
    ],
)
def test_baseline_of_latest_approved_version_is_used(
    world: World, tmp_path: Path, type_: CheckType, kind: str, member: str
) -> None:
    approve(world, member, "s3://bucket/older")
    approve(world, member, REGISTERED)
    approve(world, member, "s3://bucket/rejected", "Rejected")
    file = member.partition(".")[2].lower() or "constraints"
    step = check(
        type_,
        CheckType=kind,
        SkipCheck=True,
        RegisterNewBaseline=False,
        ModelPackageGroupName="group",
        SuppliedBaselineConstraints=None,
        SuppliedBaselineStatistics=None,
    )
    assert run(world, step, tmp_path)["properties"][USED] == f"{REGISTERED}/{file}.json"
    supplied = replace(
        step,
        name="Other",
        extra=plain({**step.extra, "SuppliedBaselineConstraints": f"{SUPPLIED}/own.json"}),
    )
    assert run(world, supplied, tmp_path)["properties"][USED] == f"{SUPPLIED}/own.json"


@pytest.mark.parametrize("group", [None, "group", "unknown"])
@pytest.mark.parametrize("type_", ["ClarifyCheck", "QualityCheck"])
def test_missing_baseline_fails_before_the_job(
    world: World, tmp_path: Path, type_: CheckType, group: str | None
) -> None:
    approve(world, "ModelQuality", REGISTERED)  # of another kind of check
    step = check(
        type_,
        ModelPackageGroupName=group,
        SuppliedBaselineConstraints="",
        SuppliedBaselineStatistics=None,
    )
    for number, skip in enumerate((False, True)):
        flags = {"SkipCheck": skip, "RegisterNewBaseline": not skip}
        failing = replace(step, extra=plain({**step.extra, **flags}))
        with pytest.raises(StepFailed, match="supply a baseline, or set SkipCheck"):
            run(world, failing, tmp_path, number)
    assert world.aws.resources("ProcessingJob") == []
    both = {**step.extra, "SkipCheck": True, "RegisterNewBaseline": True}
    outputs = run(world, replace(step, extra=plain(both)), tmp_path, 2)
    assert outputs["properties"][USED] == outputs["calculated_constraints"]


def test_violations_that_the_container_reports_fail_the_step(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world.aws.put_json({REPORT: {"violations": [VIOLATION]}})
    world.aws.add_scripts(JobScript(members={"ExitMessage": VIOLATED}))
    with pytest.raises(StepFailed) as failed:
        run(world, check("QualityCheck"), tmp_path)
    assert str(failed.value) == (
        "DATA_QUALITY found 1 violation of the baseline s3://bucket/prior/constraints.json: "
        "age: completeness_check (Completeness 0.5 is below 1.0)"
    )
    outputs = run(world, check("QualityCheck", FailOnViolation=False), tmp_path, 1)
    assert outputs["violations"] == ["age: completeness_check (Completeness 0.5 is below 1.0)"]
    assert "age: completeness_check (Completeness 0.5 is below 1.0)" in caplog.text


def test_later_run_reads_a_baseline_that_was_not_recorded(world: World, tmp_path: Path) -> None:
    step, backend = check("QualityCheck"), world.backend()
    run(world, step, tmp_path, names=())
    records = ExecutionRecords(Folder(tmp_path))
    source = Source("0123456789ab", records, lambda attempt: backend)
    reference = Get.parse(f"Steps.QualityCheck.{USED}")
    assert reference is not None
    assert source.value(reference, step)[0] == "s3://bucket/prior/constraints.json"


def test_report_of_an_earlier_job_is_not_read(world: World, tmp_path: Path) -> None:
    world.aws.put_json({REPORT: {"violations": [VIOLATION]}})
    assert "violations" not in run(world, check("QualityCheck"), tmp_path)


@pytest.mark.parametrize(
    ("message", "text"),
    [(VIOLATED, "with 1 violations"), ("", "the result of the check is unknown")],
)
def test_check_without_readable_report_fails(
    world: World, tmp_path: Path, message: str, text: str
) -> None:
    world.aws.create_bucket("bucket")
    world.aws.add_scripts(JobScript(members={"ExitMessage": message}))
    with pytest.raises(StepFailed, match=text) as failed:
        run(world, check("QualityCheck"), tmp_path)
    assert failed.value.kind == "check"


@pytest.mark.parametrize(
    ("before", "after", "violated"),
    [(0.2, 0.1, False), (0.2, -0.3, True), (0.2, -0.2, False), (0.2, None, True)],
)
def test_bias_must_not_move_away_from_zero(
    world: World, tmp_path: Path, before: float, after: Any, violated: bool
) -> None:
    world.aws.put_json({f"{SUPPLIED}/analysis.json": bias(before), ANALYSIS: bias(after)})
    if not violated:
        run(world, check("ClarifyCheck"), tmp_path)
        return
    with pytest.raises(StepFailed, match=r"DATA_BIAS found 1 violation .*: Sex 0 CI: bias_drift"):
        run(world, check("ClarifyCheck"), tmp_path)


def test_disparate_impact_must_not_move_away_from_one(world: World, tmp_path: Path) -> None:
    def impact(value: float) -> dict[str, Any]:
        text = json.dumps(bias(value)).replace('"CI"', '"DI"').replace("pre_", "post_")
        return dict(json.loads(text))

    world.aws.put_json({f"{SUPPLIED}/analysis.json": impact(0.8), ANALYSIS: impact(1.0)})
    run(world, check("ClarifyCheck", CheckType="MODEL_BIAS"), tmp_path)
    world.aws.put_json({ANALYSIS: impact(0.5)})
    with pytest.raises(StepFailed, match=r"Value 0.5 does not meet .*; the baseline is 0.8"):
        run(world, check("ClarifyCheck", CheckType="MODEL_BIAS"), tmp_path, 1)


def explained(**values: float) -> dict[str, Any]:
    return {"explanations": {"kernel_shap": {"label0": {"global_shap_values": values}}}}


def test_attributions_must_keep_their_order(world: World, tmp_path: Path) -> None:
    step = check("ClarifyCheck", CheckType="MODEL_EXPLAINABILITY")
    prior = {f"{SUPPLIED}/analysis.json": explained(age=0.9, sex=0.1, size=0.5)}
    world.aws.put_json({**prior, ANALYSIS: explained(age=0.7, sex=0.2, size=0.3)})
    run(world, step, tmp_path)
    world.aws.put_json({ANALYSIS: explained(age=0.1, sex=0.9, size=0.3)})
    with pytest.raises(StepFailed, match=r"label0 shap: feature_attribution_drift_check"):
        run(world, step, tmp_path, 1)


def test_ndcg_is_the_published_formula() -> None:
    """As scikit-learn's ndcg_score of these lists, which the SageMaker guide refers to."""
    prior = {"a": 10.0, "b": 0.0, "c": 0.0, "d": 1.0, "e": 5.0}
    current = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 4.0, "e": 70.0}
    assert ndcg(prior, current) == pytest.approx(0.6956940443813076)
    assert ndcg(prior, prior) == 1.0


@pytest.mark.parametrize("prior", [{}, {"pre_training_bias_metrics": {"facets": {}}}, []])
def test_baseline_without_metrics_is_not_a_success(
    world: World, tmp_path: Path, prior: Any
) -> None:
    world.aws.put_json({f"{SUPPLIED}/analysis.json": prior, ANALYSIS: bias(0.1)})
    with pytest.raises(StepFailed) as failed:
        run(world, check("ClarifyCheck"), tmp_path)
    assert failed.value.kind == "check"


def test_unreadable_baseline_fails_the_step(world: World, tmp_path: Path) -> None:
    world.aws.put_json({ANALYSIS: bias(0.1)})
    with pytest.raises(StepFailed, match=r"prior/analysis.json: no such object"):
        run(world, check("ClarifyCheck"), tmp_path)


def test_outage_during_the_comparison_is_waited_for(world: World, tmp_path: Path) -> None:
    world.aws.put_json(SAMPLES["ClarifyCheck"].objects)
    world.aws.add_faults(FaultRule(fault="error", operation="GetObject", seconds=120.0))
    run(world, check("ClarifyCheck"), tmp_path)
    assert len(world.aws.resources("ProcessingJob")) == 1


def test_job_that_overwrites_its_baseline_is_not_started(world: World, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="would overwrite the baseline"):
        run(world, check("ClarifyCheck", SuppliedBaselineConstraints=ANALYSIS), tmp_path)
    assert world.aws.resources("ProcessingJob") == []


@pytest.mark.parametrize("predictor", [{}, {"model_name": "own"}])
def test_analysis_configuration_names_the_model(
    world: World, tmp_path: Path, predictor: Mapping[str, Any]
) -> None:
    config = "s3://bucket/config/analysis_config.json"
    world.aws.put_json({config: {"headers": ["a"], "predictor": {**predictor, "n": 1}}})
    step = check("ClarifyCheck", CheckType="MODEL_BIAS", SkipCheck=True, ModelName="the-model")
    source = {"S3Uri": config, "LocalPath": "/opt/ml/processing/input/config"}
    inputs = [{"InputName": "analysis_config", "S3Input": {**source, "S3DataType": "S3Prefix"}}]
    step = replace(
        step,
        arguments=plain({**SAMPLES["ClarifyCheck"].arguments, "ProcessingInputs": inputs}),
    )
    run(world, step, tmp_path)
    (made,) = world.aws.requests("CreateProcessingJob")
    (found,) = [
        one for one in made.members["ProcessingInputs"] if one["InputName"] == "analysis_config"
    ]
    bucket, _, key = found["S3Input"]["S3Uri"].removeprefix("s3://").partition("/")
    read = json.loads(world.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    assert read["predictor"] == {"n": 1, "model_name": predictor.get("model_name", "the-model")}
    assert read["headers"] == ["a"]
    assert (found["S3Input"]["S3Uri"] == config) == bool(predictor)


def test_job_with_a_copied_configuration_is_found_in_the_cache(
    world: World, tmp_path: Path
) -> None:
    config = "s3://bucket/config/analysis_config.json"
    world.aws.put_json({config: {}})
    source = {"S3Uri": config, "LocalPath": "/in", "S3DataType": "S3Prefix"}
    inputs = [{"InputName": "analysis_config", "S3Input": source}]
    arguments = plain({**SAMPLES["ClarifyCheck"].arguments, "ProcessingInputs": inputs})

    def named(model: str) -> Step:
        step = check("ClarifyCheck", CheckType="MODEL_BIAS", SkipCheck=True, ModelName=model)
        return replace(step, arguments=arguments, cache_config=CacheConfig(True))

    run(world, named("one"), tmp_path)
    assert run(world, named("one"), tmp_path, 1)["cached_from"]
    assert "cached_from" not in run(world, named("other"), tmp_path, 2)


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        ("ListModelPackages", "ModelPackageGroupName: "),
        ("DescribeModelPackage", "ModelPackageGroupName: "),
        ("PutObject", "the copy of analysis_config with ModelName: "),
    ],
)
def test_call_that_is_not_allowed_fails_before_the_job(
    world: World, tmp_path: Path, operation: str, text: str
) -> None:
    approve(world, "Bias.PostTrainingConstraints", REGISTERED)
    config = "s3://bucket/config/analysis_config.json"
    world.aws.put_json({config: {}})
    world.aws.add_faults(FaultRule(fault="access_denied", operation=operation))
    source = {"S3Uri": config, "LocalPath": "/in", "S3DataType": "S3Prefix"}
    inputs = [{"InputName": "analysis_config", "S3Input": source}]
    step = check(
        "ClarifyCheck",
        CheckType="MODEL_BIAS",
        ModelName="model",
        ModelPackageGroupName="group",
        SuppliedBaselineConstraints=None,
    )
    arguments = plain({**SAMPLES["ClarifyCheck"].arguments, "ProcessingInputs": inputs})
    with pytest.raises(StepFailed, match=text):
        run(world, replace(step, arguments=arguments), tmp_path)
    assert world.aws.resources("ProcessingJob") == []


def test_flag_that_is_not_a_boolean_fails_before_the_job(world: World, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="SkipCheck: expected true or false, got 'maybe'"):
        run(world, check("QualityCheck", SkipCheck="maybe"), tmp_path)
    outputs = run(world, check("QualityCheck", SkipCheck="True", RoleArn=ROLE), tmp_path, 1)
    assert outputs["status"] == "Completed"


def test_output_without_a_folder_fails_before_the_job(world: World, tmp_path: Path) -> None:
    step = check("QualityCheck")
    arguments = {**SAMPLES["QualityCheck"].arguments}
    arguments["ProcessingOutputConfig"] = {"Outputs": []}
    with pytest.raises(StepFailed, match="expected one output in S3"):
        run(world, replace(step, arguments=plain(arguments)), tmp_path)
