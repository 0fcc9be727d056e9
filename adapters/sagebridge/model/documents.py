"""JSON documents in strings that pipelines join, such as JobConfigDocument of a Job step.

A value that is joined into a document may contain a quote or a backslash, which ends a string of
the document or changes its keys.
"""

from __future__ import annotations

import json
from typing import Any

from sagebridge.model.expressions import Join
from sagebridge.model.values import ABSENT, Value

_FILLER = "900719925470001"
"""Stands for a value that is not known: valid JSON inside and outside a string."""
BREAKING = ('"', "\\", "\n", "\r", "\t")
"""Characters that break a string of a JSON document."""


def template_of(value: Any) -> str | None:
    """The document with a filler for each expression; None if all of it is one expression.

    ``value`` is a value of the model, or as it is in a definition.
    """
    match value:
        case str():
            return value
        case Join(values=values, on=on) | {"Std:Join": {"Values": [*values], "On": str(on)}}:
            texts = (template_of(one) for one in values)
            parts = (_FILLER if text is None else text for text in texts)
            return ("" if on is ABSENT else str(on)).join(parts)
        case bool() | int() | float():
            return json.dumps(value)
    return None


def problem_of(written: Value, resolved: str) -> str | None:
    """Why a resolved document is not what the definition describes; None if it is."""
    try:
        document = json.loads(resolved)
    except ValueError as error:
        hint = "" if isinstance(written, str) else "; does a joined value contain a quote?"
        return f"expected JSON, got a string that is not ({error}){hint}"
    if not isinstance(document, dict):
        return f"expected a JSON object, got {type(document).__name__}"
    template = template_of(written)
    if template is None:
        return None
    try:
        wanted = json.loads(template)
    except ValueError:
        return None
    if not _same_keys(wanted, document):
        return "a joined value changes the keys of the document; does it contain a quote?"
    return None


def _same_keys(wanted: Any, found: Any) -> bool:
    """Whether values differ only where the template has a filler or a number."""
    match wanted, found:
        case dict(), dict():
            if any(_FILLER in name for name in wanted):
                return True
            return wanted.keys() == found.keys() and all(
                _same_keys(value, found[name]) for name, value in wanted.items()
            )
        case list(), list():
            return len(wanted) == len(found) and all(map(_same_keys, wanted, found))
        case ((dict() | list()), _):
            return False
        case str(), _:
            return isinstance(found, str)
    return True
