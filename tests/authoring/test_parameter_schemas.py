"""Airflow's schema, Prefect's schema and the conversion accept the same values of a parameter."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter

import sagebridge
from sagebridge.authoring.dag_pipeline import param_schema
from sagebridge.authoring.flow_signature import arguments_of
from sagebridge.cli import main
from sagebridge.errors import ModelTypeError
from sagebridge.formats.prefect.writer import annotation_of
from sagebridge.formats.python.source_code import Names
from sagebridge.model.parameters import Parameter, ParameterValueError, coerce_one
from sagebridge.model.values import ABSENT
from tests.parameter_values import PIPELINE

pytestmark = pytest.mark.airflow

_NO_KEYS: dict[str, Any] = {}
_NUMBERS = st.integers(-12, 12)
_HALVES = _NUMBERS.map(lambda number: number / 2)
_WORDS = st.text("ab1", max_size=4)
_VALUES: dict[str, Any] = {
    "String": _WORDS,
    "Integer": _NUMBERS,
    "Float": _HALVES,
    "Boolean": st.booleans(),
}
_OF_NUMBERS = {
    "minimum": _NUMBERS,
    "maximum": _NUMBERS,
    "exclusiveMinimum": _NUMBERS,
    "exclusiveMaximum": _NUMBERS,
    "multipleOf": st.sampled_from((1, 2, 0.5)),
}
_LIMITS: dict[str, dict[str, Any]] = {
    "String": {
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(0, 3),
        "pattern": st.sampled_from(("a", "^[ab]+$", "^(?=a)", r"\d")),
    },
    "Integer": _OF_NUMBERS,
    "Float": _OF_NUMBERS,
    "Boolean": {},
}


@st.composite
def parameters(draw: Callable[..., Any]) -> Parameter:
    type_ = draw(st.sampled_from(sorted(_VALUES)))
    choices = st.lists(_VALUES[type_], min_size=1, max_size=3, unique=True)
    enum = draw(st.one_of(st.just(ABSENT), choices))
    limits: dict[str, Any] = draw(st.fixed_dictionaries(_NO_KEYS, optional=_LIMITS[type_]))
    return Parameter("P", type_, enum_values=enum, limits=limits)


def prefect_schema(parameter: Parameter) -> dict[str, Any]:
    ((argument,), details) = arguments_of([parameter])
    assert details == {}
    names = {"Annotated": Annotated, "Literal": Literal, "Field": Field}
    return TypeAdapter(eval(ast.unparse(annotation_of(argument, Names())), names)).json_schema()


@given(parameters(), st.data())
def test_schemas_and_conversion_agree(parameter: Parameter, data: st.DataObject) -> None:
    schemas = (param_schema(parameter), prefect_schema(parameter))
    numbers = st.one_of(st.none(), st.booleans(), _NUMBERS, _HALVES)
    values = _WORDS if parameter.type == "String" else numbers
    for value in data.draw(st.lists(values, min_size=5, max_size=10)):
        if value is None and None in param_schema(parameter).get("enum", ()):
            continue  # null is "" in Airflow
        try:
            coerce_one(parameter, value)
            accepted = True
        except ParameterValueError:
            accepted = False
        for schema in schemas:
            found = jsonschema.Draft202012Validator(schema).is_valid(value)
            assert found is accepted, (value, schema)


@pytest.mark.parametrize(
    ("type_", "limits"),
    [
        ("Integer", {"minLength": 1}),
        ("Float", {"multipleOf": 0}),
        ("String", {"pattern": "("}),
        ("String", {"maxLength": True}),
        ("Boolean", {"minimum": 1}),
    ],
)
def test_limit_that_a_type_cannot_have_is_rejected(type_: str, limits: dict[str, Any]) -> None:
    with pytest.raises(ModelTypeError, match=f"parameter 'P': limits of the type {type_}"):
        Parameter("P", type_, limits=limits)


def test_huge_integers_and_limits() -> None:
    huge = Parameter("P", "Integer", limits={"maximum": 10**400, "multipleOf": 0.5})
    assert coerce_one(huge, 10) == 10
    with pytest.raises(ParameterValueError, match="a multiple of"):
        coerce_one(huge, 10**400)


def test_show_prints_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "flow.py"
    file.write_text(sagebridge.write(PIPELINE, "prefect").text)
    main(["show", str(file)])
    assert "minimum 0, maximum 1" in capsys.readouterr().out
    main(["show", str(file), "--format", "json"])
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["parameters"]}
    assert found["Short"]["limits"] == {"maxLength": 3}
