"""The live signature of a flow, and its arguments that can be pipeline parameters."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import Field

from sagebridge.authoring.flow_signature import FlowArgument, live_arguments, read_signature
from sagebridge.formats.prefect.reader import _arguments
from sagebridge.formats.prefect.source_interpreter import UnsupportedSyntax
from sagebridge.model.expressions import plain


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


def odd(
    items: set[str],
    either: int | str,
    mixed: Literal["a", 1] = "a",
    *more: str,
    options: tuple[str, str] | None = None,
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
        FlowArgument("items", "list", None, nullable=True),
    )
    assert not any(list(one.losses) for one in read_signature(optional))


def test_other_types_are_not_parameters() -> None:
    assert live_arguments(odd) == ()
    names = ["items", "either", "mixed", "options"]
    assert [one.name for one in read_signature(odd)] == names


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
