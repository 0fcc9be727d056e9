"""Values that are only known at run time: blocks, variables, results of dropped tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagebridge.authoring.definition_writer import definition
from sagebridge.formats.prefect.reader import read, read_all
from sagebridge.formats.sagemaker.validator import validate
from sagebridge.model.code_removal import without_stubs
from sagebridge.model.losses import CODES, Loss
from sagebridge.model.pipeline import Pipeline, walk

pytestmark = pytest.mark.prefect

HEAD = """\
from prefect import flow, task
from prefect.blocks.system import Secret
from prefect.variables import Variable

MODULE = object()

@task
def one(x): return x

@task
def two(x): return x

@task
def scored(x): return MODULE

@task
def listed(x) -> list[str]: return MODULE

@task
def use(name: str, count: int, share: "float | None" = None): return name

@task
def total(sizes: list): return sum(sizes)

"""
ReadFlow = Callable[[str], tuple[Pipeline, list[Loss]]]


@pytest.fixture
def traced(tmp_path: Path) -> ReadFlow:
    def traces(text: str) -> tuple[Pipeline, list[Loss]]:
        file = tmp_path / "flow.py"
        file.write_text(HEAD + text)
        pipeline, losses = read(file)
        pipeline, without = without_stubs(pipeline)
        assert all(loss.code in CODES for loss in losses)
        return pipeline, [*losses, *without]

    return traces


def at_lines(losses: list[Loss]) -> list[tuple[int, str, str]]:
    first = len(HEAD.splitlines())
    return [
        (int(loss.place.rpartition(":")[2]) - first, loss.severity, loss.code) for loss in losses
    ]


def parameters(pipeline: Pipeline) -> dict[str, Any]:
    return {one.name: one.value_type for one in pipeline.declared}


def names(pipeline: Pipeline) -> list[str]:
    return [step.name for step in walk(pipeline)]


@pytest.mark.parametrize(
    ("test", "type_"),
    [
        ("scored(x)['auc'] > limit", "Float"),
        ("limit <= scored(x)['auc']", "Float"),
        ("scored(x)['auc'] > 0.5", "Float"),
        ("scored(x)['rows'] == count", "Integer"),
        ("scored(x)['state'] == 'good'", "String"),
        ("scored(x)['state'] in ('good', 'better')", "String"),
        ("scored(x)['good'] == True", "Boolean"),
        ("one(x).get('auc') > limit", "Float"),
        ("one(x)[1:] == count", "Integer"),
    ],
)
def test_parameter_has_the_type_of_the_other_side(traced: ReadFlow, test: str, type_: str) -> None:
    """So the condition can be evaluated, whatever step or code the value came from."""
    pipeline, _ = traced(
        "@flow\ndef f(x: str, limit: float = 0.5, count: int = 3):\n"
        f"    if {test}:\n        two(x)\n"
    )
    *_, added = parameters(pipeline).values()
    assert added == type_
    found = validate(json.dumps(definition(pipeline)))
    assert "incomparable-values" not in [one.code for one in found]


def test_parameter_has_the_type_of_the_argument(traced: ReadFlow) -> None:
    pipeline, _ = traced(
        "@flow\ndef f(x: str):\n"
        "    r = scored(x)\n"
        "    use(r['name'], count=r['count'], share=r['share'])\n"
        "    use(x.strip(), one(x).get('rows'))\n"
    )
    line = len(HEAD.splitlines()) + 5
    assert parameters(pipeline) == {
        "x": "String",
        f"value_of_line_{line}": "String",
        f"value_of_line_{line}_2": "Integer",
        "scored_name": "String",
        "scored_count": "Integer",
        "scored_share": "Float",
    }


@pytest.mark.parametrize(
    "call",
    [
        "total(scored(x))",
        "total(one.map(two(x)))",
        "one(listed(x))",
        "one([listed(x)])",
        "total(scored(x)['sizes'])",
        "total(two(x).get('sizes'))",
        "one(x.split(','))",
        "one(names)",
        "one({'a': names})",
        "total(json.loads(two(x)))",
    ],
)
def test_task_that_needs_a_list_is_dropped(traced: ReadFlow, call: str) -> None:
    """No pipeline parameter can hold the value that it needs."""
    pipeline, losses = traced(
        f"import json\n@flow\ndef f(x: str, names: list[str]):\n    {call}\n    use(x, 1)\n"
    )
    assert names(pipeline)[-1] == "use"
    last = call.partition("(")[0]
    assert last not in names(pipeline)
    assert "so the task is dropped" in "".join(loss.what for loss in losses if last in loss.what)
    assert (4, "dropped", "python-task") in at_lines(losses)
    assert set(parameters(pipeline)) == {"x", "names"}


def test_parts_and_texts_of_objects_remain(traced: ReadFlow) -> None:
    pipeline, losses = traced(
        "import datetime\n@flow\ndef f(day: datetime.date, names: list[str]):\n"
        "    one(f's3://b/{day}')\n    two(names[0])\n    one(listed(day)[0])\n"
    )
    assert names(pipeline) == ["one", "two", "one-2"]
    assert "Parameters.day" in json.dumps(definition(pipeline)["Steps"])
    assert "dropped" not in [loss.severity for loss in losses if "listed" not in loss.what]


def test_step_that_needs_a_list_is_dropped(traced: ReadFlow) -> None:
    pipeline, losses = traced(
        "from sagebridge_operators.prefect import finish, model\n"
        "@flow\ndef f(subnets: list[str]):\n"
        "    a = model('A', arguments={'VpcConfig': {'Subnets': subnets}})\n"
        "    model('B', arguments={'X': a.properties.ModelName})\n"
        "    return finish()\n"
    )
    assert names(pipeline) == ["B"]
    assert (4, "dropped", "run-time-argument") in at_lines(losses)
    assert parameters(pipeline) == {"subnets": "String", "A_ModelName": "String"}


def test_blocks_and_variables_on_import_are_unknown_values(traced: ReadFlow) -> None:
    pipeline, losses = traced(
        "TOKEN = Secret.load('token')\n"
        "BUCKET = Variable.get('bucket', default='lake')\n"
        "WORKERS = int(Variable.get('workers'))\n"
        "PLACE = f's3://{BUCKET}/' + '/'.join([BUCKET, 'x'])\n"
        "OTHER = 's3://' + TOKEN.get()\n"
        "@flow\ndef f(x: str):\n"
        "    one(PLACE)\n    two(WORKERS)\n    one(OTHER)\n    two(TOKEN)\n    one(x)\n"
    )
    assert names(pipeline) == ["one", "two", "one-2", "one-3"]
    bucket = next(one for one in pipeline.declared if one.name == "bucket")
    assert (bucket.value_type, bucket.default) == ("String", "lake")
    assert list(parameters(pipeline).values()) == ["String", "String", "Integer", "String"]
    assert at_lines(losses) == [
        (1, "changed", "block"),
        (1, "changed", "computed-value"),
        (2, "changed", "computed-value"),
        (3, "changed", "computed-value"),
        (11, "dropped", "python-task"),
    ]
    assert "\\ue000" not in json.dumps(definition(pipeline))


def test_blocks_and_variables_in_a_flow_are_unknown_values(traced: ReadFlow) -> None:
    pipeline, losses = traced(
        "@flow\nasync def f(x: str):\n"
        "    token = (await Secret.load('token')).get()\n"
        "    one(token)\n"
        "    Secret.load('chat').notify('done')\n"
        "    if Variable.get('stage') == 'prod':\n"
        "        two(Variable.get('size', default=3))\n"
        "    with Secret.load('db') as db:\n"
        "        two(db.url)\n"
    )
    assert names(pipeline) == ["one", "Condition", "two", "two-2"]
    head = len(HEAD.splitlines())
    assert parameters(pipeline) == {
        "x": "String",
        f"value_of_line_{head + 3}": "String",
        "stage": "String",
        "size": "Integer",
        f"value_of_line_{head + 8}": "String",
    }
    assert at_lines(losses) == [
        (3, "changed", "block"),
        (3, "changed", "computed-value"),
        (5, "changed", "block"),
        (5, "dropped", "run-time-code"),
        (6, "changed", "computed-value"),
        (7, "changed", "computed-value"),
        (8, "changed", "block"),
        (8, "changed", "run-time-code"),
        (8, "changed", "computed-value"),
    ]


def test_credentials_block_keeps_its_name(traced: ReadFlow) -> None:
    pipeline, losses = traced(
        "from sagebridge_operators.prefect import begin, finish, model\n"
        "ACCOUNT = Secret.load('account')\n"
        "@flow\ndef f(x: str):\n"
        "    begin(aws_credentials=ACCOUNT)\n"
        "    model('A', arguments={'X': x}, aws_credentials=ACCOUNT)\n"
        "    return finish()\n"
    )
    assert names(pipeline) == ["A"]
    assert at_lines(losses) == [(2, "changed", "block")]


def test_test_of_a_variable_on_import_is_an_error(tmp_path: Path) -> None:
    from sagebridge.errors import SourceError

    file = tmp_path / "flow.py"
    file.write_text(
        HEAD + "if Variable.get('stage') == 'prod':\n    X = 1\n@flow\ndef f(): one(1)\n"
    )
    with pytest.raises(SourceError, match=r"flow\.py:\d+: .*value of the Prefect server on import"):
        read(file)


SIGNATURE = """\
import enum
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NewType, Optional

from pydantic import BaseModel, Field

Uri = NewType("Uri", str)

class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"

class Level(str, enum.Enum):
    LOW = "low"
    HIGH = "high"

class Config(BaseModel):
    bucket: str = "b"

"""
ARGUMENTS = {
    "a: float | None = 0.2": ("Float", 0.2, None, ["param-type"]),
    "a: Optional[int] = None": ("Integer", None, None, ["param-type"]),
    "a: str = None": ("String", None, None, ["param-type"]),
    "a: Literal['x', 'y'] = 'x'": ("String", "x", ["x", "y"], []),
    "a: Optional[Literal[1, 2]] = 1": ("Integer", 1, [1, 2], ["param-type"]),
    "a: Mode = Mode.FAST": ("String", "fast", ["fast", "slow"], []),
    "a: Level": ("String", None, ["low", "high"], []),
    "a: Annotated[int, 'rows'] = 2": ("Integer", 2, None, []),
    "a: Annotated[int, Field(strict=True, ge=1)] = 2": ("Integer", 2, None, ["param-rule"]),
    "a: Annotated[int, Field(ge=1)] = 2": ("Integer", 2, None, []),
    "a: int = Field(default=3, le=9)": ("Integer", 3, None, []),
    "a: Uri": ("String", None, None, []),
    "a: int | float = 1": ("Float", 1, None, []),
    "a: 'str | None' = 'q'": ("String", "q", None, ["param-type"]),
    "a: Config": ("String", None, None, ["param-type"]),
    "a: dict[str, str]": ("String", None, None, ["param-type"]),
    "a: Config = Config()": (None, None, None, ["param-type"]),
    "a: list = [1]": (None, None, None, ["param-type"]),
    "a: int | str = 1": (None, None, None, ["param-type"]),
    "a=3": ("Integer", 3, None, []),
    "a: Any = 3": ("Integer", 3, None, []),
}


def test_every_kind_of_argument(tmp_path: Path) -> None:
    """Its parameter, and its loss at the line of the argument."""
    file = tmp_path / "flow.py"
    flows = "".join(
        f"@flow\ndef f{at}(\n    x: str,\n    *,\n    {argument},\n):\n    one(a)\n\n"
        for at, argument in enumerate(ARGUMENTS)
    )
    file.write_text(HEAD + SIGNATURE + flows)
    lines = file.read_text().splitlines()
    for (argument, wanted), (pipeline, losses) in zip(
        ARGUMENTS.items(), read_all(file), strict=True
    ):
        type_, default, choices, codes = wanted
        found = {one["Name"]: one for one in definition(pipeline)["Parameters"]}
        assert found.get("a", {}).get("Type") == type_, argument
        assert found.get("a", {}).get("DefaultValue") == default, argument
        assert found.get("a", {}).get("EnumValues") == choices, argument
        reported = [loss for loss in losses if loss.code.startswith("param")]
        assert [loss.code for loss in reported] == codes, argument
        for loss in reported:
            assert lines[int(loss.place.rpartition(":")[2]) - 1].strip() == f"{argument},"


def test_members_of_an_enumeration_are_their_values(traced: ReadFlow) -> None:
    pipeline, losses = traced(
        SIGNATURE + "@flow\ndef f(a: Mode, b: Level = Level.LOW):\n"
        "    if a == Mode.SLOW:\n        one(a.value)\n"
        "    if b == Level.HIGH:\n        two(Level.LOW)\n"
    )
    assert losses == []
    text = json.dumps(definition(pipeline)["Steps"])
    assert '"RightValue": "slow"' in text
    assert '"RightValue": "high"' in text
    assert '"args": [{"Get": "Parameters.a"}]' in text
    assert '"args": ["low"]' in text
