"""JSON strings that contain Jinja templates, as objects of the model."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from sagebridge.formats.airflow.task_values import Fallback, Values, is_template
from sagebridge.model.expressions import is_expression, join
from sagebridge.model.values import Object, Value
from sagebridge.model.visit import rebuild

_QUOTED, _BARE, _END = "\ue000", "\ue001", "\ue002"
_MARK = re.compile(f"[{_QUOTED}{_BARE}]([0-9]+){_END}")
_STRING_PART = re.compile(r'\\.|"', re.DOTALL)


class _AmbiguousJson(Exception):
    """A string that is a JSON object only for some values of its templates."""


def arguments_of(text: str, values: Values, fallback: Fallback) -> Object | None:
    """The object in a JSON string; None if it is not one, or its shape depends on a template."""
    found: list[Value] = []
    marked, quoted = "", False
    for piece in values.pieces(text, fallback, ("tojson",)) if is_template(text) else (text,):
        if is_expression(piece):
            mark = f"{_QUOTED if quoted else _BARE}{len(found)}{_END}"
            marked += mark if quoted else f'"{mark}"'
            found.append(piece)
        elif isinstance(piece, str):
            marked += piece
            quotes = [one for one in _STRING_PART.findall(piece) if one == '"']
            quoted ^= len(quotes) % 2 == 1
        else:
            marked += str(piece) if quoted else json.dumps(piece)
    try:
        parsed = json.loads(marked)
        restored = rebuild(parsed, lambda node: _restore(node, found, values))
    except (ValueError, _AmbiguousJson):
        return None
    return restored if isinstance(restored, Object) else None


def _restore(node: Value, found: Sequence[Value], values: Values) -> Value:
    """A node of the parsed JSON, its marks replaced by the expressions."""
    if isinstance(node, dict) and any(_MARK.search(name) for name in node):
        raise _AmbiguousJson
    if not isinstance(node, str):
        return node
    if whole := _MARK.fullmatch(node):
        value = found[int(whole[1])]
        return value if node[0] == _BARE else values.as_text(value)
    parts = _MARK.split(node)
    if len(parts) == 1:
        return node
    pieces = [found[int(part)] if at % 2 else part for at, part in enumerate(parts)]
    return join("", *(piece for piece in pieces if not isinstance(piece, str) or piece))
