"""Names and values in messages, and unused names."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterator
from itertools import count


def shown(value: object) -> str:
    """A value for a message: quoted, escaped, at most 60 characters."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:57]}...")
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def words(text: str) -> tuple[str, ...]:
    """Splits a text at white space, for long lists of names."""
    return tuple(text.split())


def word_set(text: str) -> frozenset[str]:
    """As :func:`words`, without an order."""
    return frozenset(text.split())


def printable(text: str) -> str:
    """Escape every control character of a string; it may contain terminal commands."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def in_markdown(text: str) -> str:
    """Escape a string so that Markdown shows it literally, on one line."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", text)
    return " ".join(escaped.split()).replace("<", "&lt;")


def did_you_mean(name: str, known: Collection[str]) -> str:
    """`` (did you mean 'x'?)`` if a known name is similar, otherwise an empty string."""
    from difflib import get_close_matches  # here: only errors need it

    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def free_name(
    wanted: str, taken: Container[str], stem: str | None = None, separator: str = "_"
) -> str:
    """The first name of :func:`numbered` that is not in ``taken``."""
    return next(name for name in numbered(wanted, stem, separator) if name not in taken)


def numbered(wanted: str, stem: str | None = None, separator: str = "_") -> Iterator[str]:
    """``wanted``, then ``stem_2``, ``stem_3``, ...; by default the stem is ``wanted``."""
    yield wanted
    yield from (f"{wanted if stem is None else stem}{separator}{number}" for number in count(2))


def safe_stem(name: str) -> str:
    """The name of a pipeline or source as a safe file stem: no path separators, no leading dot."""
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).lstrip(".-")[:200] or "pipeline"
