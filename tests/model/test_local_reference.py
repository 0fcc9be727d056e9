"""The tables of docs/local.md and README.md are generated from the tables of the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sagebridge.authoring.runnable import why_not_local, why_pipeline_not_runnable
from sagebridge.model.expressions import Get, plain
from sagebridge.model.local_differences import DIFFERENCES, notes, refusals
from sagebridge.model.local_rejections import SERVED
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.request_differences import Difference
from sagebridge.model.step_types import STEP_TYPES, StepType

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "local.md"
README = ROOT / "README.md"
COMMAND = "pytest tests/model/test_local_reference.py --update-golden"
TYPES = f"<!-- Written by {COMMAND}: what runs here -->\n"
ROWS = f"<!-- Written by {COMMAND}: differences -->\n"
README_HEAD = "| step types | run on AWS | run on this machine |\n"


def page(text: str) -> str:
    """The page with its two tables."""
    return _with(_with(text, TYPES, types_table()), ROWS, differences_table())


def readme(text: str) -> str:
    return _with(text, README_HEAD, readme_table())


def types_table() -> Iterator[str]:
    yield "| step type | on this machine |"
    yield "|---|---|"
    for row in STEP_TYPES.values():
        yield f"| {row.name} | {on_this_machine(row)} |"


def on_this_machine(row: StepType) -> str:
    if row.needs_aws:
        return f"no: {row.needs_aws}"
    own = [one for one in DIFFERENCES if row.name in one.types]
    return "yes, with [differences](#differences-from-aws)" if own else "yes"


def differences_table() -> Iterator[str]:
    yield "| step types | request | on this machine |"
    yield "|---|---|---|"
    merged: dict[tuple[str, ...], list[Difference]] = {}
    for one in sorted(DIFFERENCES, key=lambda one: not one.refused):
        merged.setdefault((one.here, one.shown), []).append(one)
    for ones in merged.values():
        types = [name for name in (*STEP_TYPES, SERVED) if any(name in one.types for one in ones)]
        fields = dict.fromkeys(one.shown or f"`{one.field}`" for one in ones)
        refused = "**rejected**: " if ones[0].refused else ""
        yield f"| {', '.join(types)} | {', '.join(fields)} | {refused}{ones[0].here} |"


def readme_table() -> Iterator[str]:
    yield "|---|---|---|"
    for here, runs in (("yes", True), ("no", False)):
        names = [row.name for row in STEP_TYPES.values() if (not row.needs_aws) is runs]
        yield f"| {', '.join(names)} | yes | {here} |"


def _with(text: str, head: str, lines: Iterator[str]) -> str:
    """A text with other lines between ``head`` and the next empty line."""
    before, _, rest = text.partition(head)
    return before + head + "\n".join(lines) + "\n\n" + rest.partition("\n\n")[2]


@pytest.mark.parametrize(("file", "generated"), [(PAGE, page), (README, readme)])
def test_tables_are_up_to_date(file: Path, generated: object, pytestconfig: pytest.Config) -> None:
    assert callable(generated)
    text = file.read_text()
    if pytestconfig.getoption("--update-golden"):
        file.write_text(generated(text))
    assert file.read_text() == generated(text)


def test_differences_belong_to_types_that_run_here() -> None:
    named = {name for one in DIFFERENCES for name in one.types}
    assert [name for name in named - {SERVED} if STEP_TYPES[name].needs_aws] == []


def test_refusals_name_the_field_of_each_item() -> None:
    data = {"S3DataSource": {"S3Uri": "s3://b/d", "S3DataType": "S3Prefix"}}
    channels = [
        {"InputMode": "File", "DataSource": data},
        {"InputMode": "Pipe", "DataSource": data},
        {"DataSource": {"FileSystemDataSource": {"FileSystemId": "fs-1"}}},
    ]
    image = "account.example/xgboost-free/other"
    request = {"AlgorithmSpecification": {"TrainingImage": image}, "InputDataConfig": channels}
    assert [line.partition(":")[0] for line in refusals("Training", request)] == [
        "AlgorithmSpecification.TrainingImage 'account.example/xgboost-free/other'",
        "InputDataConfig[2].DataSource",
        "InputDataConfig[1].InputMode 'Pipe'",
    ]


def test_reason_lists_all_its_steps() -> None:
    jar = plain({"ClusterId": "j-1", "StepConfig": {"HadoopJarStep": {"Jar": "s3://b/j.jar"}}})
    steps = tuple(Step(name, "EMR", arguments=jar) for name in ("A", "B"))
    assert why_pipeline_not_runnable(Pipeline(steps=steps), why_not_local) == (
        "on this machine: steps of type EMR, as they need Amazon EMR (steps 'A', 'B')"
    )


def test_program_of_an_image_is_refused_but_not_the_interpreter() -> None:
    def refused(*command: str) -> list[str]:
        specification = {"ImageUri": "spark", "ContainerEntrypoint": list(command)}
        return list(refusals("Processing", {"AppSpecification": specification}))

    (line,) = refused("smspark-submit", "app.py")
    assert line.startswith("AppSpecification.ContainerEntrypoint[0] 'smspark-submit': images are")
    assert [refused("python3", "smspark-submit"), refused("sh"), refused("/opt/ml/x")] == [[]] * 3


@pytest.mark.parametrize("used", [True, False])
def test_image_of_a_model_is_refused_if_the_model_is_used(used: bool) -> None:
    model = Step("M", "Model", arguments=plain({"PrimaryContainer": {"Image": "tensorflow"}}))
    name = "Steps.M.ModelName" if used else "Parameters.Model"
    transform = Step("T", "Transform", arguments=plain({"ModelName": Get.parse(name)}))
    variants = {"ProductionVariants": [{"ModelName": Get.parse(name)}]}
    for user in (transform, Step("C", "EndpointConfig", arguments=plain(variants))):
        why = why_pipeline_not_runnable(Pipeline(steps=(model, user)), why_not_local) or ""
        assert why.startswith("on this machine: PrimaryContainer.Image 'tensorflow'") is used


def test_training_jobs_of_a_tuning_job_are_checked_too() -> None:
    good = {"AlgorithmSpecification": {"TrainingImage": "some/xgboost:1"}}
    script = {"StaticHyperParameters": {"sagemaker_program": "train.py"}}
    other = {"AlgorithmSpecification": {"TrainingImage": "some/image:1"}}
    request = {"TrainingJobDefinitions": [good, other, {**other, **script}]}
    (line,) = refusals("Tuning", {**request, "Autotune": {"Mode": "Disabled"}})
    assert line.startswith(
        "TrainingJobDefinitions[1].AlgorithmSpecification.TrainingImage 'some/image:1'"
    )
    (line,) = refusals("Tuning", {"TrainingJobDefinition": good, "Autotune": {"Mode": "Enabled"}})
    assert line.startswith("Autotune.Mode 'Enabled': not supported")


def test_script_makes_an_image_acceptable() -> None:
    request = {
        "AlgorithmSpecification": {"TrainingImage": "some/image:1"},
        "HyperParameters": {"sagemaker_program": "train.py"},
    }
    assert list(refusals("Training", request)) == []


def test_value_known_only_at_run_time_is_not_refused() -> None:
    arguments = {
        "AlgorithmSpecification": {"TrainingImage": Get.parse("Parameters.Image")},
        "HyperParameters": Get.parse("Steps.Tune.HyperParameters"),
    }
    assert why_not_local(Step("Train", "Training", arguments=plain(arguments)), Pipeline()) == []


def test_notes_join_the_fields_with_the_same_difference() -> None:
    request = {
        "RoleArn": "arn:aws:iam::1:role/r",
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 3},
    }
    own, instances = notes("Training", request)
    assert own.startswith("RoleArn, ResourceConfig.InstanceType: no effect")
    assert instances == "ResourceConfig.InstanceCount 3: one instance, which gets all of the data"
