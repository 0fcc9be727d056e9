"""Params that may be null become arguments that may be None, and back."""

from __future__ import annotations

from pathlib import Path

import pytest

import sagebridge
from sagebridge.errors import ParameterError
from sagebridge.model.code_removal import with_plain_parameters
from sagebridge.model.expressions import Template, join, parameter
from sagebridge.model.parameters import Parameter, coerce
from sagebridge.model.values import ABSENT
from tests.formats.airflow.conftest import HEAD, Read
from tests.nullable import DECLARED

pytestmark = pytest.mark.airflow
FILE = (
    HEAD
    + """
with DAG(
    "nullable",
    schedule=None,
    params={
        "day": Param(None, type=["null", "string"], description="a day"),
        "n": Param(None, type=["integer", "null"], minimum=1),
        "mode": Param("a", type=["null", "string"], enum=["a", "b", None]),
        "share": Param(None, type=["null", "number"], enum=[0.5, None]),
        "must": Param(type=["null", "string"]),
        "text": Param("", type=["null", "string"]),
        "empty": Param("", type=["string", "null"]),
        "on": Param(None, type=["null", "boolean"]),
        "stores": Param(None, type=["null", "array"]),
        "plain": None,
    },
) as dag:
    @task
    def use(day, n, text, params=None):
        return day or "today"

    use(dag.param("day"), "{{ params.n }}", "{{ params.day }}")
    BashOperator(task_id="shown", bash_command="echo {{ params.day }} {{ params.n or 5 }}")
"""
)
SIGNATURE = """
    day: str | None = None,
    n: Annotated[int, Field(ge=1)] | None = None,
    mode: Literal["a", "b"] | None = "a",
    share: Annotated[float, Field(json_schema_extra={"enum": [0.5]})] | None = None,
    must: str | None,
    text: str | None = "",
    empty: str = "",
    on: bool | None = None,
    stores: list | None = None,
    plain: str | None = None,
"""
PARAMS = """
        "day": Param(None, type=["null", "string"], description="a day"),
        "n": Param(None, type=["null", "integer"], minimum=1),
        "mode": Param("a", type=["null", "string"], enum=["a", "b", None]),
        "share": Param(None, type=["null", "number"], enum=[0.5, None]),
        "must": Param(type=["null", "string"]),
        "text": Param("", type=["null", "string"]),
        "empty": Param("", type=["string", "null"]),
        "on": Param(None, type=["null", "boolean"]),
        "stores": Param(None, type=["null", "array"]),
        "plain": Param(None, type=["null", "string"]),
"""


def test_null_is_a_value_of_params_and_arguments(read: Read, tmp_path: Path) -> None:
    reading = read(FILE)
    assert reading.losses == ()
    assert reading.pipeline.declared == DECLARED
    use, shown = reading.pipeline.steps
    own = join("", parameter("day"))  # the text None, as Airflow renders it
    assert use.arguments["args"] == (parameter("day"), join("", parameter("n")), own)
    command = join("", "echo ", parameter("day"), " ", Template("{{ params.n or 5 }}"))
    assert shown.arguments["command"] == command
    for format_, wanted in (("airflow", PARAMS), ("prefect", SIGNATURE)):
        text, losses = sagebridge.write(reading.pipeline, format_)
        assert losses == ()
        assert wanted in text
        file = tmp_path / f"{format_}.py"
        file.write_text(text)
        back, losses = sagebridge.read(file)
        assert losses == ()
        assert back == reading.pipeline


def test_a_definition_has_no_null() -> None:
    pipeline = sagebridge.Pipeline("p", (), DECLARED)
    plain, losses = with_plain_parameters(pipeline)
    assert not any(one.nullable for one in plain.declared)
    assert {one.name: one.default for one in plain.declared} == {
        "day": "",
        "n": ABSENT,
        "mode": "a",
        "share": ABSENT,
        "must": ABSENT,
        "text": "",
        "empty": "",
        "on": ABSENT,
        "stores": ABSENT,
        "plain": "",
    }
    assert [loss.what for loss in losses if "'n'" in loss.what or "'mode'" in loss.what] == [
        "parameter 'n' may not be null: it is required",
        "parameter 'mode' may not be null",
    ]
    assert with_plain_parameters(plain) == (plain, ())


def test_null_of_an_execution() -> None:
    text, number = Parameter("s", default="a", nullable=True), Parameter("n", "Integer")
    assert coerce((text, number), {"s": None, "n": "3"}) == {"s": None, "n": 3}
    with pytest.raises(ParameterError, match="expected an Integer"):
        coerce((text, number), {"n": None})
