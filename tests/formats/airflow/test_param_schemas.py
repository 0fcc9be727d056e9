"""Params with a format, lists and objects become arguments of a flow, and back."""

from __future__ import annotations

from pathlib import Path

import pytest

import sagebridge
from sagebridge.errors import ParameterError
from sagebridge.model.parameters import Parameter, coerce
from tests.formats.airflow.conftest import HEAD, Read

pytestmark = pytest.mark.airflow
PARAMS = """
        "day": Param("2025-03-10", type="string", format="date"),
        "at": Param(None, type=["null", "string"], format="date-time"),
        "note": Param("a", type="string", format="multiline"),
        "stores": Param(
            ["a"], type="array", items={"type": "string"}, uniqueItems=True
        ),
        "sizes": Param(None, type=["null", "array"], items={"type": "integer"}),
        "shares": Param({}, type="object", additionalProperties={"type": "number"}),
        "mixed": Param([1, "a"], type="array"),
        "size": Param(
            {"rows": 2},
            type="object",
            properties={"rows": {"type": "integer", "minimum": 1}},
            required=["rows"],
        ),
"""
FILE = (
    HEAD
    + f"""
with DAG("json", schedule=None, params={{{PARAMS}}}) as dag:
    @task
    def use(day, params=None):
        return day

    use(dag.param("day"))
"""
)
SIGNATURE = """
    day: Annotated[str, Field(json_schema_extra={"format": "date"})] = "2025-03-10",
    at: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None,
    note: Annotated[str, Field(json_schema_extra={"format": "multiline"})] = "a",
    stores: Annotated[list[str], Field(json_schema_extra={"uniqueItems": True})] = [
        "a"
    ],
    sizes: list[int] | None = None,
    shares: dict[str, float] = {},
    mixed: list = [1, "a"],
    size: Annotated[
        dict,
        Field(
            json_schema_extra={
                "properties": {"rows": {"type": "integer", "minimum": 1}},
                "required": ["rows"],
            }
        ),
    ] = {"rows": 2},
"""
DECLARED = (
    Parameter("day", default="2025-03-10", limits={"format": "date"}),
    Parameter("at", default=None, limits={"format": "date-time"}, nullable=True),
    Parameter("note", default="a", limits={"format": "multiline"}),
    Parameter("stores", "Array", ["a"], limits={"items": {"type": "string"}, "uniqueItems": True}),
    Parameter("sizes", "Array", None, limits={"items": {"type": "integer"}}, nullable=True),
    Parameter("shares", "Object", {}, limits={"additionalProperties": {"type": "number"}}),
    Parameter("mixed", "Array", [1, "a"]),
    Parameter(
        "size",
        "Object",
        {"rows": 2},
        limits={
            "properties": {"rows": {"type": "integer", "minimum": 1}},
            "required": ["rows"],
        },
    ),
)


def test_schemas_of_params_are_those_of_arguments(read: Read, tmp_path: Path) -> None:
    reading = read(FILE)
    assert reading.losses == ()
    assert reading.pipeline.declared == DECLARED
    for format_, wanted in (("airflow", PARAMS), ("prefect", SIGNATURE)):
        text, losses = sagebridge.write(reading.pipeline, format_)
        assert losses == ()
        assert wanted in text
        file = tmp_path / f"{format_}.py"
        file.write_text(text)
        back, losses = sagebridge.read(file)
        assert losses == ()
        assert back == reading.pipeline


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"day": "10.3.2025"}, "expected a date"),
        ({"at": "2025-03-10 06:00"}, "expected a date-time"),
        ({"stores": ["a", "a"]}, "expected JSON of its schema"),
        ({"sizes": ["a"]}, r"\$\[0\]: 'a' is not of type 'integer'"),
        ({"shares": {"a": "b"}}, r"\$\.a: 'b' is not of type 'number'"),
        ({"size": {"rows": 0}}, r"\$\.rows: 0 is less than the minimum of 1"),
        ({"size": {}}, "'rows' is a required property"),
    ],
)
def test_values_are_checked_as_airflow_checks_them(given: dict[str, str], expected: str) -> None:
    with pytest.raises(ParameterError, match=expected):
        coerce(DECLARED, given)


def test_strings_are_converted_to_json() -> None:
    given = {"sizes": "[1, 2]", "size": '{"rows": 3}', "at": "2025-03-10T06:00:00Z"}
    found = coerce(DECLARED, given)
    assert found["sizes"] == [1, 2]
    assert found["size"] == {"rows": 3}


def test_a_definition_has_strings_without_schema() -> None:
    pipeline = sagebridge.Pipeline("p", (), DECLARED)
    plain, losses = sagebridge.write(pipeline, "sagemaker")
    assert '"format"' not in plain
    rules = [one.what for one in losses if one.code == "param-rule"]
    assert any("'day'" in one and "format" in one for one in rules)
    assert sum("a string of JSON" in one.what for one in losses) == 5
