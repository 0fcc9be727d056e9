"""A JSON document with the line of each of its values."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from sagebridge.errors import SourceError
from sagebridge.model.display import shown
from sagebridge.model.losses import Loss
from sagebridge.model.visit import escape

_SCALAR = re.compile(r"[^\s,\]}]+")
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_NUMBER = re.compile(rf"{_STRING}|-?(?:NaN|Infinity|[0-9][0-9.eE+-]*)", re.DOTALL)
MAX_DEPTH = 190
"""Levels of nesting that are read: Python has at most 200 in a file that it is written to."""


class MalformedJson(SourceError):
    """Text that is no JSON; ``line`` and ``column`` count from 1.

    ``holder`` is the line of the document that holds the text, where one does.
    """

    holder: int | None = None

    def __init__(self, source: str, problem: str, line: int, column: int, fix: str = "") -> None:
        self.line, self.column, self.reason = line, column, problem
        super().__init__(source, f"line {line}, column {column}: {problem}", fix)


class NotAPipeline(SourceError):
    """JSON that is no pipeline definition; ``line`` is where it stands in a document."""

    line: int | None = None


@dataclass(frozen=True)
class Document:
    """``value`` is plain JSON; ``duplicates`` are the names of members written twice.

    ``inside`` is the pointer of this definition in the ``outer`` document, and ``losses`` what
    taking it from there lost.
    """

    source: str
    text: str
    value: Any
    duplicates: tuple[str, ...] = ()
    envelope: dict[str, Any] = field(default_factory=dict)
    outer: Document | None = None
    inside: str = "/PipelineDefinition"
    losses: tuple[Loss, ...] = ()

    @cached_property
    def positions(self) -> dict[str, int]:
        """The offset of each value (for a member: of its name), keyed by JSON pointer."""
        return dict(_scan(self.text))

    @cached_property
    def repeated(self) -> tuple[str, ...]:
        """The pointers of members written again in one object, the outermost ones."""
        if not self.duplicates:
            return ()
        seen: set[str] = set()
        again: set[str] = set()
        for pointer, _ in _scan(self.text):
            if pointer in seen:
                again.add(pointer)
            seen.add(pointer)
        return tuple(sorted(one for one in again if one.rpartition("/")[0] not in again))

    def offset(self, pointer: str) -> int:
        """The offset of the value at a pointer, or of the nearest place that exists."""
        while pointer and pointer not in self.positions:
            pointer = pointer.rpartition("/")[0]
        return self.positions.get(pointer, 0)

    def line(self, pointer: str) -> int:
        """The 1-based line of that place, in the outer document where there is one."""
        if self.outer is not None:
            return self.outer.line(self.inside)
        return bisect_left(self._line_ends, self.offset(pointer)) + 1

    @cached_property
    def _line_ends(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.text)]


def kind(raw: Any) -> str:
    """A JSON value in words for a message."""
    match raw:
        case None:
            return "null"
        case bool():
            return f"the boolean {str(raw).lower()}"
        case int() | float():
            return f"the number {str(raw)[:40]}"
        case str():
            return f"the string {shown(raw)}"
        case list():
            return "an array"
    return "an object"


def parse(text: str, source: str) -> Document:
    """JSON text to a document. Raises :class:`MalformedJson` or :class:`SourceError`."""
    text = text.removeprefix("\ufeff")
    duplicates: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            names = [name for name, _ in pairs]
            duplicates.extend(sorted({name for name in names if names.count(name) > 1}))
        return result

    if not text.strip():
        raise NotAPipeline(source, "the document is empty", "a pipeline definition is expected")
    try:
        value = json.loads(
            text, object_pairs_hook=members, parse_constant=_finite, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        problem, at = f"not JSON: {error.msg}", error.pos
        if at >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            problem = f"not JSON: the document is cut off{_where(text)}"
            at = len(text.rstrip())
    except ValueError:
        problem, at = _unfit(text)
    except RecursionError:
        raise _too_deep(source) from None
    else:
        if _depth(value) > MAX_DEPTH:
            raise _too_deep(source)
        return Document(source, text, value, tuple(duplicates))
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    raise MalformedJson(source, problem, line, column)


def dump(value: Any) -> str:
    """JSON text as this project writes it: two spaces, members in order, UTF-8 where legal."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, allow_nan=False)
    return text + "\n"


def _too_deep(source: str) -> NotAPipeline:
    return NotAPipeline(source, f"nested too deeply (more than {MAX_DEPTH} levels)")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _unfit(text: str) -> tuple[str, int]:
    """The first number of a text that no JSON value keeps, in words, and its offset."""
    for match in _NUMBER.finditer(text):
        number = match[0]
        if number.lstrip("-") in ("NaN", "Infinity"):
            return f"not JSON: {number} is no JSON number", match.start()
        try:
            json.loads(number, parse_float=_finite)
        except ValueError:
            return f"the number {number[:40]} is too large", match.start()
    return "not JSON", 0


def _depth(value: Any) -> int:
    depth, containers = 0, [value]
    while containers := [one for one in containers if isinstance(one, dict | list)]:
        depth += 1
        parts = (one.values() if isinstance(one, dict) else one for one in containers)
        containers = list(chain.from_iterable(parts))
    return depth


def _where(text: str) -> str:
    """The last place that a text which is cut off comes to."""
    pointer = ""
    with suppress(IndexError, ValueError, AttributeError):
        for place, _ in _scan(text):
            pointer = place
    return f" in {pointer}" if pointer else ""


def _scan(text: str) -> Iterator[tuple[str, int]]:
    """Pointer and offset of each value of a valid JSON text, without recursion."""
    # frames: [pointer, position in an array or -1 in an object]
    frames: list[tuple[str, int]] = []
    pointer, at = "", _SPACE.match(text, 0).end()  # type: ignore[union-attr]
    yield pointer, at
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        opener = text[at]
        if opener in "[{":
            after = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]
            if text[after] not in "]}":
                frames.append((pointer, 0 if opener == "[" else -1))
                at = after
                if opener == "[":
                    pointer = f"{pointer}/0"
                    yield pointer, at
                else:
                    pointer, name_at, at = _member(text, at, pointer)
                    yield pointer, name_at
                continue
            at = after + 1
        elif opener == '"':
            at = scanstring(text, at + 1)[1]
        else:
            at = _SCALAR.match(text, at).end()  # type: ignore[union-attr]
        while frames:
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
            parent, position = frames.pop()
            if text[at] in "]}":
                at += 1
                continue
            at = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]
            if position >= 0:
                frames.append((parent, position + 1))
                pointer = f"{parent}/{position + 1}"
                yield pointer, at
            else:
                frames.append((parent, -1))
                pointer, name_at, at = _member(text, at, parent)
                yield pointer, name_at
            break
        else:
            return


def _member(text: str, at: int, parent: str) -> tuple[str, int, int]:
    name, end = scanstring(text, at + 1)
    colon = text.index(":", end)
    return f"{parent}/{escape(name)}", at, colon + 1
