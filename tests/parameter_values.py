"""Thirty parameters, each with a right and a wrong value, and a pipeline that sends them all.

The tests of every way to start an execution use these sixty values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any, NamedTuple

from sagebridge.model.expressions import parameter, plain
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.values import ABSENT, EMPTY, Absent


class Row(NamedTuple):
    name: str
    type: str
    right: Any
    wrong: Any
    default: Any = ABSENT
    enum: tuple[Any, ...] | Absent = ABSENT
    limits: Mapping[str, Any] = EMPTY


ROWS = (
    Row("Stage", "String", "prod", "test", "dev", ("dev", "prod")),
    Row("data-set", "String", "A b", "A  b", ABSENT, ("A b", "")),
    Row("Empty", "String", "", "full", "x", ("", "x")),
    Row("Truth", "String", "true", "True", "false", ("true", "false")),
    Row("Code", "String", "ABC", "abc", limits={"pattern": "^[A-Z]{3}$"}),
    Row("Ahead", "String", "ab", "ba", limits={"pattern": "^(?=a)"}),
    Row("Uri", "String", "s3://b/a c?d=e#f", "http://b", limits={"pattern": "^s3://"}),
    Row("Digits", "String", "007", "7a", "1", limits={"pattern": "^[0-9]+$"}),
    Row("Null", "String", "null", "none", limits={"pattern": "^null$"}),
    Row("Short", "String", "äöü", "äöüß", limits={"maxLength": 3}),
    Row("Braces", "String", "{{ 6 * 7 }}", "{", limits={"minLength": 2}),
    Row("Quotes", "String", 'it\'s "q" \\ $HOME', "", "y", limits={"minLength": 1}),
    Row("Lines", "String", "a\nb", "a\nb\nc", limits={"minLength": 1, "maxLength": 4}),
    Row("Count", "Integer", 3, "three"),
    Row("Negative", "Integer", -3, -3.5, 1),
    Row("Big", "Integer", 9007199254740993, "9e", 1),
    Row("Flag", "Integer", 1, True),
    Row("Zero", "Integer", 0, -1, 5, limits={"minimum": 0}),
    Row("Most", "Integer", 10, 11, 5, limits={"maximum": 10}),
    Row("Open", "Integer", 1, 5, 2, limits={"exclusiveMinimum": 0, "exclusiveMaximum": 5}),
    Row("Fives", "Integer", 15, 16, limits={"multipleOf": 5}),
    Row("Power", "Integer", 4, 3, 1, (1, 2, 4)),
    Row("Rate", "Float", 0.1, "low"),
    Row("Tiny", "Float", 1e-07, "nan", 0.5),
    Row("Part", "Float", 1, 1.5, 0.5, limits={"minimum": 0, "maximum": 1}),
    Row("Half", "Float", 0.5, 0.75, 1.0, (0.5, 1.0)),
    Row("Steps", "Float", 0.75, 0.8, limits={"multipleOf": 0.25}),
    Row("Yes", "Boolean", True, "yes"),
    Row("No", "Boolean", False, 0, True),
    Row("Agreed", "Boolean", True, False, ABSENT, (True,)),
)
PARAMETERS = tuple(
    Parameter(row.name, row.type, row.default, row.enum, f"the {row.name}", limits=row.limits)
    for row in ROWS
)
RIGHT = {row.name: row.right for row in ROWS}
WRONG = {row.name: row.wrong for row in ROWS}
SENT = {name: float(value) if name == "Part" else value for name, value in RIGHT.items()}
"""The values in a request: the right ones in the declared types."""
LAMBDA = Step(
    "Send",
    "Lambda",
    arguments=plain({name: parameter(name) for name in RIGHT}),
    extra=plain({"FunctionArn": "arn:aws:lambda:eu-west-1:111122223333:function:send"}),
)
PIPELINE = Pipeline(name="thirty", steps=(LAMBDA,), parameters=PARAMETERS)


def text(value: Any) -> str:
    """A value on a command line, in an EventBridge schedule or in a StartPipelineExecution call."""
    return value if isinstance(value, str) else json.dumps(value)


class FakeLambda:
    """A Lambda client that only keeps the payloads."""

    def __init__(self) -> None:
        self.payloads: list[Any] = []

    def invoke(self, **request: Any) -> dict[str, Any]:
        self.payloads.append(json.loads(request["Payload"]))
        return {"Payload": BytesIO(b"{}")}


def is_sent(payload: Any) -> bool:
    """Whether a payload has all values, each in its type."""
    return json.dumps(payload, sort_keys=True) == json.dumps(SENT, sort_keys=True)
