"""The live signature of a flow, and its arguments that can be pipeline parameters."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field, SecretStr

from sagebridge.authoring.flow_signature import FlowArgument, live_arguments, read_signature
from sagebridge.formats.prefect.reader import _arguments
from sagebridge.formats.prefect.source_interpreter import UnsupportedSyntax
from sagebridge.model.expressions import plain
from sagebridge.model.values import ABSENT


def annotated(  # type: ignore[no-untyped-def]
    text: str,
    whole: int,
    part: float = 1,
    yes: bool = True,
    stage: Literal["dev", "prod"] = "dev",
    plain="p",
) -> None:
    """Flow.

    Args:
        text: described
            on two lines
    """


def optional(  # type: ignore[no-untyped-def]
    rate: float | None = 0.2,
    size: Optional[int] = None,  # noqa: UP045 - as users write it
    stage: Literal["dev", "prod"] | None = None,
    name: str = None,  # type: ignore[assignment]  # noqa: RUF013 - as users write it
    untyped=None,
    items: list[str] | None = None,
) -> None: ...


class Size(BaseModel):
    rows: int = Field(2, ge=1)
    since: date = date(2025, 3, 10)


@dataclass
class Owner:
    name: str
    sizes: tuple[Size, ...] = ()


def converted(
    day: date,
    naive: datetime = datetime(2025, 3, 10, 6),  # noqa: DTZ001 - as users write it
    folder: Path | None = None,
    fee: Decimal = Decimal("0.30"),
    names: set[str] = {"b", "a"},  # noqa: B006 - as users write it
    pairs: list[tuple[int, str]] = [(1, "x")],  # noqa: B006 - as users write it
    size: Size = Size(rows=3),  # noqa: B008 - as users write it
    owner: Owner = Owner("me"),  # noqa: B008 - as users write it
) -> None: ...


def odd(
    either: int | str,
    key: SecretStr,
    kind: type,
    mixed: Literal["a", 1] = "a",
    wrong: date = "today",  # type: ignore[assignment]
    *more: str,
    **rest: str,
) -> None: ...


def constrained(
    rows: Annotated[int, "how many"] = 2,
    either: float = 1,
    quoted: "str" = "q",  # noqa: UP037 - as users write it
    lone: "float | None" = None,  # noqa: UP037 - as users write it
    *,
    anything: Any = 3,
) -> None: ...


def limited(
    rows: Annotated[int, Field(ge=1, lt=10, multiple_of=2)] = 2,
    part: Annotated[float, Field(json_schema_extra={"enum": [0.5, 1]}), Field(gt=0)] = 0.5,
    uri: Annotated[str, Field(min_length=5, json_schema_extra={"pattern": "^(?=s3)"})] = "s3://",
    strict: Annotated[int, Field(strict=True, le=3)] = 3,
    twice: Annotated[int, Field(le=3), Field(le=5)] = 3,
) -> None: ...


def unknown(name: Nowhere, count: int = 3) -> None:  # type: ignore[name-defined]  # noqa: F821
    ...


def test_scalars_are_parameters() -> None:
    assert live_arguments(annotated) == (
        FlowArgument("text", description="described on two lines"),
        FlowArgument("whole", "int"),
        FlowArgument("part", "float", 1),
        FlowArgument("yes", "bool", True),
        FlowArgument("stage", "str", "dev", ("dev", "prod")),
        FlowArgument("plain", "str", "p"),
    )


def test_optional_argument_has_its_other_type() -> None:
    assert live_arguments(optional) == (
        FlowArgument("rate", "float", 0.2, nullable=True),
        FlowArgument("size", "int", None, nullable=True),
        FlowArgument("stage", "str", None, ("dev", "prod"), nullable=True),
        FlowArgument("name", "str", None, nullable=True),
        FlowArgument("untyped", "str", None, nullable=True),
        FlowArgument(
            "items", "list", None, limits=plain({"items": {"type": "string"}}), nullable=True
        ),
    )
    assert not any(list(one.losses) for one in read_signature(optional))


def test_other_types_are_not_parameters() -> None:
    assert live_arguments(odd) == ()
    assert [one.name for one in read_signature(odd)] == ["either", "key", "kind", "mixed", "wrong"]


def test_values_that_pydantic_makes_are_json() -> None:
    dates, sizes = {"type": "string", "format": "date"}, {"type": "integer", "minimum": 1}
    size = {"type": "object", "properties": {"rows": sizes, "since": dates}}
    pair = {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"type": "string"}],
        "minItems": 2,
        "maxItems": 2,
    }
    expected: list[tuple[str, Any, dict[str, Any]]] = [
        ("str", ABSENT, {"format": "date"}),
        ("str", "2025-03-10T06:00:00", {}),  # Airflow requires a zone
        ("str", None, {"format": "path"}),
        ("str", "0.30", {}),
        ("list", ("a", "b"), {"items": {"type": "string"}, "uniqueItems": True}),
        ("list", ((1, "x"),), {"items": pair}),
        ("dict", {"rows": 3, "since": "2025-03-10"}, {"properties": size["properties"]}),
        (
            "dict",
            {"name": "me", "sizes": ()},
            {
                "properties": {
                    "name": {"type": "string"},
                    "sizes": {"type": "array", "items": size},
                },
                "required": ["name"],
            },
        ),
    ]
    found = list(read_signature(converted))
    assert all(one.type.converted and not list(one.losses) for one in found)
    assert [(one.type, one.default, one.limits) for one in live_arguments(converted)] == [
        (type_, default, plain(limits)) for type_, default, limits in expected
    ]


def test_unresolved_annotation_is_ignored() -> None:
    assert live_arguments(unknown) == (FlowArgument("name"), FlowArgument("count", "int", 3))


@pytest.mark.parametrize("function", [annotated, optional, constrained])
def test_source_and_live_function_agree(function: Callable[..., None]) -> None:
    """Parameters and losses, so that `show`, `run` and `translate` list the same."""
    (parsed,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(parsed, ast.FunctionDef)
    assert _arguments(parsed) == tuple(read_signature(function))


def test_limits_and_choices_of_fields() -> None:
    assert live_arguments(limited) == (
        FlowArgument(
            "rows",
            "int",
            2,
            limits=plain({"minimum": 1, "exclusiveMaximum": 10, "multipleOf": 2}),
        ),
        FlowArgument("part", "float", 0.5, (0.5, 1), limits=plain({"exclusiveMinimum": 0})),
        FlowArgument("uri", limits=plain({"minLength": 5, "pattern": "^(?=s3)"}), default="s3://"),
        FlowArgument("strict", "int", 3, limits=plain({"maximum": 3})),
        FlowArgument("twice", "int", 3, limits=plain({"maximum": 3})),
    )
    lost = {one.name: [code for code, *_ in one.losses] for one in read_signature(limited)}
    assert lost == {
        "rows": [],
        "part": [],
        "uri": [],
        "strict": ["param-rule"],
        "twice": ["param-rule"],
    }


@pytest.mark.parametrize("annotation", ["Path", "list[Path]", "Optional[Path]", "f()", "'a b'"])
def test_other_source_annotations_are_evaluated_by_the_tracer(annotation: str) -> None:
    (parsed,) = ast.parse(f"def f(a: {annotation}): ...").body
    assert isinstance(parsed, ast.FunctionDef)
    with pytest.raises(UnsupportedSyntax):
        _arguments(parsed)
