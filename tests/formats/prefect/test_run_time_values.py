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
from sagebridge.model.code_removal import without_carried, without_stubs
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.conditions import equals
from sagebridge.model.expressions import get, join, parameter, plain
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.losses import CODES, Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, walk
from sagebridge.model.values import Value

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
        ("one(x).get('auc') > limit", "Boolean"),
        ("one(x)[1:] == count", "Boolean"),
    ],
)
def test_parameter_has_the_type_of_the_other_side(traced: ReadFlow, test: str, type_: str) -> None:
    """So the condition can be evaluated, whatever code the value came from."""
    pipeline, _ = traced(
        "@flow\ndef f(x: str, limit: float = 0.5, count: int = 3):\n"
        f"    if {test}:\n        two(x)\n"
    )
    pipeline, _ = without_carried(pipeline)
    *_, added = parameters(pipeline).values()
    assert added == type_
    found = validate(json.dumps(definition(pipeline)))
    assert "incomparable-values" not in [one.code for one in found]


@pytest.mark.parametrize(
    ("call", "steps"),
    [
        ("total(scored(x))", ["scored", "total"]),
        ("total(one.map(two(x)))", ["two", "one-map", "one-item", "total"]),
        ("one([listed(x)])", ["listed", "one"]),
        ("total(scored(x)['sizes'])", ["scored", "total"]),
        ("total(two(x).get('sizes'))", ["two", "sizes", "total"]),
        ("one(x.split(','))", ["x", "one"]),
        ("one(names)", ["one"]),
        ("one({'a': names[0]})", ["names", "one"]),
        ("one(f'{names}')", ["names", "one"]),
        ("one.map(names)", ["one-map", "one-item"]),
        ("one(rest)", ["parse-rest", "one"]),
        ("total(json.loads(two(x)))", ["two", "two-result", "total"]),
    ],
)
def test_lists_and_dicts_pass_from_step_to_step(
    traced: ReadFlow, call: str, steps: list[str]
) -> None:
    pipeline, losses = traced(
        f"import json\n@flow\ndef f(x: str, names: list[str], rest: set[str]):\n    {call}\n"
    )
    assert names(pipeline) == steps
    assert losses == []
    assert parameters(pipeline) == {"x": "String", "names": "Array", "rest": "Array"}


def test_tuple_argument_is_decoded_by_a_step(traced: ReadFlow) -> None:
    pipeline, _ = traced("@flow\ndef f(names: tuple[str, ...]):\n    two(names[0])\n")
    code, task = pipeline.steps
    assert isinstance(code, PythonStep)
    scope: dict[str, Any] = {}
    exec(code.function.code, scope)
    assert scope[code.function.name](["a", "b"]) == ("a", "b")
    assert task.arguments["args"] == (get("Steps.parse-names.return_value[0]"),)


@pytest.mark.parametrize(
    ("code", "value", "wanted"),
    [
        ("folder is None", None, True),
        ("folder", "", False),
        ("folder == 'a'", None, False),
        ("size and size > 3", None, None),
        ("not yes", None, True),
    ],
)
def test_argument_that_may_be_none_is_tested_by_code(
    traced: ReadFlow, code: str, value: Any, wanted: object
) -> None:
    """A condition of SageMaker does not compare null."""
    pipeline, losses = traced(
        "from typing import Optional\n"
        "@flow\ndef f(folder: str = None, size: int | None = None, yes: Optional[bool] = None):\n"
        f"    if {code}:\n        one(folder)\n"
    )
    assert losses == []
    assert [(one.default, one.nullable) for one in pipeline.declared] == [(None, True)] * 3
    test, condition, task = walk(pipeline)
    assert isinstance(test, PythonStep)
    scope: dict[str, Any] = {}
    exec(test.function.code, scope)
    assert scope[test.function.name](value) == bool(wanted)
    assert isinstance(condition, ConditionStep)
    assert condition.conditions == (equals(get(f"Steps.{test.name}.return_value"), True),)
    assert task.arguments["args"] == (parameter("folder"),)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("f's3://{folder}/{size}'", join("", "s3://", parameter("folder"), "/", parameter("size"))),
        ("f'{yes}'", get("Steps.yes.return_value")),
    ],
)
def test_text_of_an_argument_that_may_be_none(traced: ReadFlow, text: str, wanted: Value) -> None:
    pipeline, losses = traced(
        "@flow\ndef f(folder: str | None, size: int | None = None, yes: bool | None = None):\n"
        f"    one({text})\n"
    )
    assert losses == []
    assert pipeline.steps[-1].arguments["args"] == (wanted,)


def test_enumeration_that_may_be_none(traced: ReadFlow) -> None:
    pipeline, losses = traced(
        SIGNATURE + "@flow\ndef f(mode: Mode | None = None):\n    one(mode)\n"
    )
    assert losses == []
    assert pipeline.declared == (
        Parameter("mode", default=None, enum_values=("fast", "slow"), nullable=True),
    )
    made, _ = pipeline.steps
    assert isinstance(made, PythonStep)
    assert "return TypeAdapter(Mode | None).validate_python(mode)" in made.function.code


@pytest.mark.parametrize(
    ("argument", "made"),
    [
        ("mode: Mode", "Mode(mode)"),
        ("mode: Mode = None", "TypeAdapter(Mode | None).validate_python(mode)"),
        ("size: Config = Config()", "Config.model_validate(size)"),
        ("size: 'Config | None'", "TypeAdapter(Config | None).validate_python(size)"),
        ("folder: pathlib.Path", "pathlib.Path(folder)"),
        ("date: date", "date.fromisoformat(value)"),
        ("days: list[date]", "TypeAdapter(list[date]).validate_python(days)"),
    ],
)
def test_argument_is_made_from_its_json(traced: ReadFlow, argument: str, made: str) -> None:
    name = argument.partition(":")[0]
    pipeline, losses = traced(
        f"{SIGNATURE}import pathlib\nfrom datetime import date\n"
        f"@flow\ndef f({argument}):\n    one({name})\n"
    )
    assert losses == []
    code = pipeline.steps[0]
    assert isinstance(code, PythonStep)
    assert code.function.code.endswith(f"    return {made}")
    assert code.arguments["args"] == (parameter(name),)


def test_map_over_several_lists(traced: ReadFlow) -> None:
    pipeline, losses = traced("@flow\ndef f(x: str):\n    use.map(one(x), [1, 2], share=0.5)\n")
    rows, loop = pipeline.step("use-rows"), pipeline.step("use-map")
    assert isinstance(rows, PythonStep)
    assert (rows.function.name, rows.function.imported_from) == (
        "rows",
        "sagebridge_operators.functions.items",
    )
    assert dict(rows.arguments["kwargs"]) == {
        "name": get("Steps.one.return_value"),
        "count": (1, 2),
    }
    assert isinstance(loop, ForEachStep)
    (item,) = loop.body or ()
    assert dict(item.arguments["kwargs"]) == {
        "name": get("ForEach.CurrentItem['name']"),
        "count": get("ForEach.CurrentItem['count']"),
        "share": 0.5,
    }
    assert losses == []


def test_text_of_a_date_argument_is_joined(traced: ReadFlow) -> None:
    pipeline, _ = traced(
        "import datetime\n@flow\ndef f(day: datetime.date):\n    one(f's3://b/{day}')\n"
    )
    assert names(pipeline) == ["one"]
    assert "Parameters.day" in json.dumps(definition(pipeline)["Steps"])


def test_request_of_a_step_has_the_json_of_a_tuple(traced: ReadFlow) -> None:
    pipeline, losses = traced(
        "from sagebridge_operators.prefect import finish, model\n"
        "@flow\ndef f(subnets: tuple[str, ...] = ('a', 'b')):\n"
        "    model('A', arguments={'VpcConfig': {'Subnets': subnets}})\n"
        "    return finish()\n"
    )
    assert losses == []
    (made,) = pipeline.steps
    assert made.arguments == plain({"VpcConfig": {"Subnets": parameter("subnets")}})
    assert parameters(pipeline) == {"subnets": "Array"}


def test_loggers_of_the_flow_are_made_again_in_its_code(traced: ReadFlow) -> None:
    text = """
import logging
from prefect import get_run_logger

@flow
def nightly(n: int = 1):
    logger, other = get_run_logger(), logging.getLogger("other")
    try:
        found = one(n)
    except ValueError:
        logger.warning("no")
        other.warning("no")
        found = two(n)
    two(found)
"""
    pipeline, losses = traced(text)
    assert "dropped" not in [loss.severity for loss in losses]
    first = pipeline.steps[0]
    assert isinstance(first, PythonStep)
    assert "    logger = get_run_logger()\n" in first.function.module
    assert "    other = getLogger('other')\n" in first.function.module


def test_blocks_and_variables_on_import_are_unknown_values(traced: ReadFlow) -> None:
    pipeline, losses = traced(
        "TOKEN = Secret.load('token')\n"
        "BUCKET = Variable.get('bucket', default='lake')\n"
        "WORKERS = int(Variable.get('workers'))\n"
        "PLACE = f's3://{BUCKET}/' + '/'.join([BUCKET, 'x'])\n"
        "OTHER = 's3://' + TOKEN.get()\n"
        "@flow\ndef f(x: str):\n"
        "    one(BUCKET)\n    two(WORKERS)\n    one(OTHER)\n    two(TOKEN)\n    one(x)\n"
    )
    assert names(pipeline) == ["one", "two", "one-2", "two-2", "one-3"]
    bucket = next(one for one in pipeline.declared if one.name == "bucket")
    assert (bucket.value_type, bucket.default) == ("String", "lake")
    assert list(parameters(pipeline)) == ["x", "bucket"]
    # A step that needs the others loads them itself.
    assert at_lines(losses) == [
        (1, "info", "block"),
        (2, "changed", "computed-value"),
        (9, "changed", "run-time-code"),
        (10, "changed", "run-time-code"),
        (11, "changed", "run-time-code"),
    ]


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
    assert names(pipeline) == ["one", "notify", "Condition", "two", "two-2"]
    assert parameters(pipeline) == {"x": "String", "stage": "String", "size": "Integer"}
    first = pipeline.step("one")
    assert isinstance(first, PythonStep)
    assert "token = (await Secret.load('token')).get()" in first.function.code
    assert first.arguments["args"] == ()
    assert [one for one in at_lines(losses) if one[2] != "block"] == [
        (4, "changed", "run-time-code"),
        (6, "changed", "computed-value"),
        (7, "changed", "computed-value"),
        (8, "changed", "run-time-code"),
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
    assert at_lines(losses) == [(2, "info", "block")]


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

from pydantic import BaseModel, Field, SecretStr

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
    "a: float | None = 0.2": ("Float", 0.2, None, []),
    "a: Optional[int] = None": ("Integer", None, None, []),
    "a: str = None": ("String", None, None, []),
    "a: Literal['x', 'y'] = 'x'": ("String", "x", ["x", "y"], []),
    "a: Optional[Literal[1, 2]] = 1": ("Integer", 1, [1, 2], []),
    "a: Mode = Mode.FAST": ("String", "fast", ["fast", "slow"], []),
    "a: Level": ("String", None, ["low", "high"], []),
    "a: Annotated[int, 'rows'] = 2": ("Integer", 2, None, []),
    "a: Annotated[int, Field(strict=True, ge=1)] = 2": ("Integer", 2, None, ["param-rule"]),
    "a: Annotated[int, Field(ge=1)] = 2": ("Integer", 2, None, []),
    "a: int = Field(default=3, le=9)": ("Integer", 3, None, []),
    "a: Uri": ("String", None, None, []),
    "a: int | float = 1": ("Float", 1, None, []),
    "a: 'str | None' = 'q'": ("String", "q", None, []),
    "a: Config": ("Object", None, None, []),
    "a: dict[str, str]": ("Object", None, None, []),
    "a: list[int] | None = None": ("Array", None, None, []),
    "a: tuple[int, ...]": ("Array", None, None, []),
    "a: SecretStr": ("String", None, None, ["param-type"]),
    "a: SecretStr = SecretStr('x')": (None, None, None, ["param-type"]),
    "a: type": ("String", None, None, ["param-type"]),
    "a: Config = Config()": ("Object", {"bucket": "b"}, None, []),
    "a: list = [1]": ("Array", [1], None, []),
    "a: int | str = 1": (None, None, None, ["param-type"]),
    "a=3": ("Integer", 3, None, []),
    "a=None": ("String", None, None, []),
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
        assert pipeline.declared[-1].nullable is ("None" in argument or "Opt" in argument)
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
        "    if b == Level.HIGH:\n        two(Level.LOW)\n        two(a)\n"
    )
    assert losses == []
    made = [one for one in walk(pipeline) if one.name in ("parse-a", "x")]
    assert [one.function.code for one in made if isinstance(one, PythonStep)] == [
        "def parse_a(a):\n    return Mode(a)",
        "def x():\n    return Level.LOW",
    ]
    text = json.dumps(definition(pipeline)["Steps"])
    assert '"RightValue": "slow"' in text
    assert '"RightValue": "high"' in text
    assert '"args": [{"Get": "Parameters.a"}]' in text
    assert '"args": [{"Get": "Steps.parse-a.return_value"}]' in text


@pytest.mark.parametrize(
    "code",
    [
        "    if mode is Mode.FULL:\n        size = 5\n    two(size)\n",
        "    two(5 if mode is not Mode.FULL else size)\n",
        "    found = one(mode)\n    two(5 if found is Mode.FULL else 2)\n",
        "    if day is None:\n        day = size * 2\n    two(day)\n",
    ],
)
def test_identity_of_a_run_time_value_is_tested_at_run_time(traced: ReadFlow, code: str) -> None:
    pipeline, losses = traced(
        "from enum import Enum\n"
        'class Mode(Enum):\n    FULL = "full"\n    SOME = "some"\n'
        "@flow\ndef f(mode: Mode = Mode.SOME, size: int = 2, day: str | None = None):\n" + code
    )
    codes = [str(one.function) for one in walk(pipeline) if isinstance(one, PythonStep)]
    assert any(" is " in one and "if " in one for one in codes)
    assert [one.severity for one in losses if one.severity != "info"] == []
