"""Flow runs: the arguments of a flow are the parameters of its execution."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from prefect import flow
from prefect.utilities.schema_tools import ValidationError, validate

from sagebridge.formats.prefect import live_server
from sagebridge.formats.prefect.writer import write
from sagebridge.model.expressions import join, parameter, plain
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.launch.prefect_deployments import schema
from sagebridge_operators.prefect import finish, python
from tests.fakes import FakeBackend, FakeSageMaker
from tests.nullable import ARGUMENTS, CASES, DECLARED, seen
from tests.prefect.conftest import Run, flow_of
from tests.shapes import model, training

pytestmark = pytest.mark.prefect

OPTIONAL = """
from prefect import flow

from sagebridge_operators.prefect import fail, finish, join, parameter


@flow(name="optional")
def optional(rate: float | None = 0.2, names: list[str] | None = None) -> object:
    fail("Stop", error_message=join("", "the rate is ", parameter("rate")))
    return finish()
"""

CHOICES = """
import enum
from typing import Annotated

from prefect import flow
from pydantic import Field

from sagebridge_operators.prefect import fail, finish, join, parameter


class Stage(enum.Enum):
    DEV = "dev"
    PROD = "prod"


@flow(name="choices")
def choices(stage: Stage = Stage.DEV, rows: Annotated[int, Field(ge=1)] = 2) -> object:
    fail("Stop", error_message=join("", "stage ", parameter("stage")))
    return finish()
"""

CONVERTED = """
from datetime import date
from decimal import Decimal
from pathlib import Path

from prefect import flow
from pydantic import BaseModel, Field

from sagebridge_operators.prefect import fail, finish


class Size(BaseModel):
    rows: int = Field(2, ge=1)
    folder: Path = Path("in")


@flow(name="converted")
def converted(
    day: date,
    names: set[str] | None = None,
    size: Size = Size(),
    fee: Decimal = Decimal("0.30"),
) -> object:
    fail("Stop", error_message=f"{day.year} of {size.folder.name}")
    return finish()
"""
CONVERTED_GIVEN = {"names": ["a"], "size": {"rows": 5, "folder": "x/in"}, "fee": "1.5"}
JSON = (
    Parameter("day", limits={"format": "date"}),
    Parameter("names", "Array", None, nullable=True),
    Parameter("size", "Object", {"rows": 2, "folder": "in"}),
    Parameter("fee", default="0.30"),
)

STAGE = Parameter("Stage", "String", "dev", ("dev", "prod"))
COUNT = Parameter("in-count", "Integer", 1)


@pytest.mark.parametrize(("given", "rate"), [({}, 0.2), ({"rate": 0.3}, 0.3)])
def test_optional_argument_is_a_parameter(
    play: Run, backend: FakeBackend, given: dict[str, float], rate: float
) -> None:
    played = play(flow_of(OPTIONAL), given)
    body = played.records.execution(played.id)
    assert body is not None
    assert body["parameters"] == {"rate": rate, "names": None}
    assert f"the rate is {rate}" in played.messages["Stop"]


@pytest.mark.parametrize(("given", "stage"), [({}, "dev"), ({"stage": "prod"}, "prod")])
def test_member_of_an_enumeration_is_its_value(
    play: Run, backend: FakeBackend, given: dict[str, str], stage: str
) -> None:
    played = play(flow_of(CHOICES), given)
    body = played.records.execution(played.id)
    assert body is not None
    assert body["parameters"] == {"stage": stage, "rows": 2}
    assert f"stage {stage}" in str(played.state.message)


def test_none_is_a_value_of_a_parameter(play: Run, backend: FakeBackend) -> None:
    played = play(flow_of(OPTIONAL), {"rate": None})
    body = played.records.execution(played.id)
    assert body is not None
    assert body["parameters"] == {"rate": None, "names": None}
    assert "the rate is None" in played.messages["Stop"]


@pytest.mark.parametrize(("given", "wanted"), CASES)
def test_null_in_code(
    play: Run, backend: FakeBackend, given: dict[str, Any], wanted: list[Any]
) -> None:
    def body(day: str | None = None, n: int | None = None) -> Any:
        python("seen", seen, args=ARGUMENTS, context=True)
        return finish()

    outputs = play(flow(body), given).steps["seen"].outputs
    assert outputs is not None
    assert outputs["return_value"] == wanted


def test_a_deployment_accepts_null() -> None:
    pipeline = Pipeline("nullable", (model("A"),), DECLARED)
    known = schema(flow_of(write(pipeline)[0]), pipeline)
    for value in (None, "a", "c"):
        given = {"must": None, "mode": value, "n": value and 1, "share": value and 0.5}
        with pytest.raises(ValidationError) if value == "c" else nullcontext():
            validate(given, known, raise_on_error=True)
    assert dict(live_server._parameters(known)) == {one.name: one for one in DECLARED}


def test_a_deployment_accepts_the_json_of_arguments() -> None:
    known = schema(flow_of(CONVERTED), Pipeline("converted", (model("A"),), JSON))
    for given in ({}, CONVERTED_GIVEN):
        validate({"day": "2025-03-10", **given}, known, raise_on_error=True)
    for wrong in ({"names": "a"}, {"size": {"rows": 0}}):
        with pytest.raises(ValidationError):
            validate({"day": "2025-03-10", **wrong}, known, raise_on_error=True)
    assert set(dict(live_server._parameters(known))) == {"day", "names", "size", "fee"}


@pytest.mark.parametrize(("given", "recorded"), [({}, {}), (CONVERTED_GIVEN, CONVERTED_GIVEN)])
def test_arguments_that_pydantic_makes_are_json_in_the_record(
    play: Run, backend: FakeBackend, given: dict[str, Any], recorded: dict[str, Any]
) -> None:
    played = play(flow_of(CONVERTED), {"day": "2025-03-10", **given})
    body = played.records.execution(played.id)
    assert body is not None
    defaults = {"names": None, "size": {"rows": 2, "folder": "in"}, "fee": "0.30"}
    assert body["parameters"] == {"day": "2025-03-10", **defaults, **recorded}
    assert "2025 of in" in played.messages["Stop"]


@pytest.mark.parametrize("count", [2, 2.0])
def test_parameters_keep_their_type_in_requests(count: float, run: Run, aws: FakeSageMaker) -> None:
    step = training("Train")
    step = Step(
        "Train",
        "Training",
        arguments=plain(
            {
                **step.arguments,
                "ResourceConfig": {
                    "InstanceCount": parameter("in-count"),
                    "InstanceType": "ml.m5.large",
                    "VolumeSizeInGB": 1,
                },
                "OutputDataConfig": {"S3OutputPath": join("/", "s3://b", parameter("Stage"))},
            }
        ),
    )
    played = run(step, parameters=(STAGE, COUNT), given={"in_count": count, "Stage": "prod"})
    (request,) = aws.called("create_training_job")
    assert repr(request["ResourceConfig"]["InstanceCount"]) == "2"
    assert request["OutputDataConfig"] == {"S3OutputPath": "s3://b/prod"}
    body = played.records.execution(played.id)
    assert body is not None
    assert body["parameters"] == {"Stage": "prod", "in-count": 2}


@pytest.mark.parametrize(
    ("given", "name"), [({"Stage": "test"}, "Stage"), ({"in_count": "many"}, "in_count")]
)
def test_wrong_parameter_fails_before_any_job(
    given: dict[str, Any], name: str, run: Run, aws: FakeSageMaker
) -> None:
    played = run(model("A"), parameters=(STAGE, COUNT), given=given)
    assert played.run.state.name == "Failed"
    assert name in played.run.state.message
    assert not aws.calls
    assert not played.states


def test_invalid_parameter_fails_with_sagebridge_error(run: Run, aws: FakeSageMaker) -> None:
    odd = Parameter("Part", "Float", 0.5, (0.5, 1.0))
    played = run(model("A"), parameters=(odd,), given={"Part": 2.0})
    assert played.run.state.message == "parameter 'Part' is 2.0, expected one of 0.5, 1.0"
    assert not aws.calls
