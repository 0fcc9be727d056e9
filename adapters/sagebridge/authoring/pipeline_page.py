"""A pipeline as a page in Markdown, for the documentation of its DAG."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from sagebridge.model.display import in_markdown, printable
from sagebridge.model.graph import needed_steps
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.values import ABSENT, thaw

_BRANCHES = {"if_steps": "if", "else_steps": "else", "body": "each item"}
_LONGEST_DEFAULT = 60
_Row: TypeAlias = tuple[str, str, str]


class _Node(NamedTuple):
    row: _Row
    below: Sequence[_Node]


def page(pipeline: Pipeline) -> str:
    """The description, the parameters as a table, and the steps as a tree.

    Airflow's UI shows no HTML, no Mermaid and no embedded images, so the tree is text.
    """
    parts = [pipeline.description] if isinstance(pipeline.description, str) else []
    if pipeline.declared:
        rows = list(map(_cells, pipeline.declared))
        columns = 4 if any(row[3] for row in rows) else 3  # the UI shows the page in a small window
        table = (("parameter", "type", "default", "description"), ("---",) * 4, *rows)
        parts.append("\n".join(f"| {' | '.join(row[:columns])} |" for row in table))
    if pipeline.steps:
        steps = _aligned(list(_rows(list(map(_node, pipeline.steps)))))
        parts.append("\n".join(("```text", *steps, "```")))
    return "\n\n".join(parts) + "\n"


def _cells(parameter: Parameter) -> tuple[str, ...]:
    default = "required"
    if parameter.default is not ABSENT:
        default = json.dumps(thaw(parameter.default), ensure_ascii=False)
        if len(default) > _LONGEST_DEFAULT:
            default = f"{default[: _LONGEST_DEFAULT - 3]}..."
    description = parameter.description if isinstance(parameter.description, str) else ""
    return tuple(map(in_markdown, (parameter.name, parameter.value_type, default, description)))


def _node(step: Step) -> _Node:
    """A step with its branches or body."""
    before = ", ".join(map(_text, needed_steps(step)))
    row = (_text(step.name), _text(step.type), f"after {before}" if before else "")
    inner = {name: getattr(step, name) or () for name in step.inner_fields}
    below = [
        _Node((_BRANCHES[name], "", ""), [*map(_node, steps)])
        for name, steps in inner.items()
        if steps
    ]
    return _Node(row, below)


def _rows(nodes: Sequence[_Node], indent: str | None = None) -> Iterator[_Row]:
    """The rows of a tree; None: its first level, which has no lines."""
    for node in nodes:
        (name, type_, after), last = node.row, node is nodes[-1]
        first, below = ("", "")
        if indent is not None:
            first, below = indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  ")
        yield f"{first}{name}", type_, after
        yield from _rows(node.below, below)


def _text(name: str) -> str:
    """A name that cannot end the block of code around it."""
    return printable(name).replace("`", "'")


def _aligned(rows: Sequence[_Row]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows if row[1]) for at in range(2)]
    for name, type_, after in rows:
        yield f"{name:{widths[0]}}  {type_:{widths[1]}}  {after}".rstrip()
