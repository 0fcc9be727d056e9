"""Names and values as messages show them."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def shown(value: object) -> str:
    """A value quoted, with control characters escaped, and cut to what a message bears."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:57]}...")
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def printable(text: str) -> str:
    """A text of a source with every control character escaped: it may hold terminal commands."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def did_you_mean(name: str, known: Collection[str]) -> str:
    """`` (did you mean 'x'?)`` where a known name is near; nothing otherwise."""
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
