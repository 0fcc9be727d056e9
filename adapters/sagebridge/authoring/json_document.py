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
from json.decoder import scanstring  # type: ignore[attr-defined] # not public
from pathlib import Path
from typing import Any

from sagebridge.errors import SourceError
from sagebridge.model.display import shown
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.losses import Loss
from sagebridge.model.schedules import Schedule
from sagebridge.model.visit import escape

_SCALAR = re.compile(r"[^\s,\]}]+")
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_NUMBER = re.compile(rf"{_STRING}|-?(?:NaN|Infinity|[0-9][0-9.eE+-]*)", re.DOTALL)
MAX_DEPTH = 190
"""Levels of nesting that are read: CPython parses at most 200 in a file (MAXLEVEL in tokenizer.h).

Conditions inside conditions have their own limit, as they are not nested in written files.
"""
MAX_CONDITIONS = 100
"""Conditions inside each other that are read, so that recursion stays below Python's limit."""
MAX_BYTES = 16 * 2**20
"""The size of a source in bytes; SageMaker takes definitions of at most 1 MiB."""
MAX_REFERENCE = 4096
"""Characters of one reference, such as a Get path: parsing one takes time for each character."""
_MAX_LEVELS = 3 * MAX_CONDITIONS + 50
"""Levels of a document: each condition has three (a step, its Arguments, a branch)."""
_TOO_DEEP = (
    f"nested too deeply (limits: {MAX_DEPTH} levels, {MAX_CONDITIONS} conditions in each other)"
)
_ROLES = {
    "definition": {"Steps": "steps"},
    "step": {"Arguments": "arguments"},
    "arguments": {"IfSteps": "steps", "ElseSteps": "steps"},
}
"""The keys that lead from a definition to the steps in a condition's branches."""


class MalformedJson(SourceError):
    """A string that is not JSON; ``line`` and ``column`` count from 1.

    ``holder`` is the line of the outer document, if the JSON is a string in another document.
    """

    holder: int | None = None

    def __init__(self, source: str, problem: str, line: int, column: int, fix: str = "") -> None:
        self.line, self.column, self.reason = line, column, problem
        super().__init__(source, f"line {line}, column {column}: {problem}", fix)


class NotAPipeline(SourceError):
    """JSON that is not a pipeline definition; ``line`` is its line in the outer document."""

    line: int | None = None


@dataclass(frozen=True)
class Document:
    """A JSON document and the lines of its values.

    Attributes:
        value: the plain JSON value.
        duplicates: the keys that appear twice in one object.
        envelope: the other fields of the request that the definition was in.
        outer: the document that has this one as a string at the pointer ``inside``.
        losses: the losses of taking the definition out of the outer document.
        variables: parts of strings that get their value when the outer document is deployed.
        schedules, event_triggers: what starts the pipeline, in another part of the outer document.
        starters_only: the outer document has these only, and no definition.
    """

    source: str
    text: str
    value: Any
    duplicates: tuple[str, ...] = ()
    envelope: dict[str, Any] = field(default_factory=dict)
    outer: Document | None = None
    inside: str = "/PipelineDefinition"
    losses: tuple[Loss, ...] = ()
    variables: frozenset[str] = frozenset()
    schedules: tuple[Schedule, ...] = ()
    event_triggers: tuple[EventTrigger, ...] = ()
    starters_only: bool = False

    @cached_property
    def positions(self) -> dict[str, int]:
        """The offset of each value, or of its key in an object, by JSON pointer."""
        return dict(_scan(self.text))

    @cached_property
    def repeated(self) -> tuple[str, ...]:
        """The pointers of keys that appear twice in one object, outermost only."""
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
        """The offset of the value at a pointer, or of the nearest parent that exists."""
        while pointer and pointer not in self.positions:
            pointer = pointer.rpartition("/")[0]
        return self.positions.get(pointer, 0)

    def place(self, pointer: str) -> tuple[int, int]:
        """The line and column of the value at a pointer, from 1; in the outer document, if any.

        The column is that of the value's key, if it has one.
        """
        if self.outer is not None:
            return self.outer.place(self.inside)
        offset = self.offset(pointer)
        line = bisect_left(self._line_ends, offset)
        return line + 1, offset - (self._line_ends[line - 1] if line else -1)

    def line(self, pointer: str) -> int:
        """The line of :meth:`place`."""
        return self.place(pointer)[0]

    @cached_property
    def _line_ends(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.text)]


def kind(raw: Any) -> str:
    """A JSON value as messages show it: a scalar itself, otherwise "an array" or "an object"."""
    match raw:
        case None:
            return "null"
        case bool():
            return str(raw).lower()
        case int() | float():
            return str(raw)[:40]
        case str():
            return shown(raw)
        case list():
            return "an array"
    return "an object"


def parse(text: str, source: str) -> Document:
    """The document of a JSON string. Raises :class:`MalformedJson` or :class:`SourceError`."""
    text = text.removeprefix("\ufeff")
    duplicates: list[str] = []

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        _check_reference(result, source)
        if len(result) != len(pairs):
            names = [name for name, _ in pairs]
            duplicates.extend(sorted({name for name in names if names.count(name) > 1}))
        return result

    check_size(len(text), source)
    if not text.strip():
        raise NotAPipeline(source, "the document is empty", "expected a pipeline definition")
    try:
        value = json.loads(
            text, object_pairs_hook=object_of, parse_constant=_finite, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        problem, at = f"not JSON: {error.msg}", error.pos
        if at >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            problem = f"not JSON: the document is cut off{_where(text)}"
            at = len(text.rstrip())
    except ValueError:
        problem, at = _unfit(text)
    except RecursionError:
        raise NotAPipeline(source, _TOO_DEEP) from None
    else:
        depth = depth_of(value)
        if depth > MAX_DEPTH and (depth > _MAX_LEVELS or not _is_readable(value)):
            raise NotAPipeline(source, _TOO_DEEP)
        return Document(source, text, value, tuple(duplicates))
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    raise MalformedJson(source, problem, line, column)


def source_name(source: str) -> str:
    """The name of a source for messages: ``<text>`` for JSON text, otherwise the source itself."""
    start = source.lstrip()[:1]
    return "<text>" if start in ("", "{", "[") else source


def check_size(size: int, source: str) -> None:
    """Raise :class:`SourceError` if a source has more than :data:`MAX_BYTES`."""
    if size > MAX_BYTES:
        problem = f"is larger than {MAX_BYTES // 2**20} MiB, the limit for a source"
        raise SourceError(source, problem, "split it into smaller pipelines")


def read_bytes(path: Path) -> bytes:
    """The content of a source file, which may be a device without end. Raises OSError too."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    check_size(len(content), str(path))
    return content


def _check_reference(value: dict[str, Any], source: str) -> None:
    """Raise :class:`SourceError` for a reference that is longer than :data:`MAX_REFERENCE`."""
    if len(value) == 1:
        found = value.get("Get")
    else:
        found = value.get("Path") if "PropertyFile" in value or "S3Uri" in value else None
    if isinstance(found, str) and len(found) > MAX_REFERENCE:
        problem = f"a reference has {len(found)} characters: {shown(found)}"
        raise SourceError(source, problem, f"the limit is {MAX_REFERENCE} characters")


def dump(value: Any) -> str:
    """A JSON value as sagebridge writes it: indented by two spaces, not sorted, in UTF-8.

    Lone surrogates have no UTF-8 encoding; a document with one is written as ASCII.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, allow_nan=False)
    return text + "\n"


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _unfit(text: str) -> tuple[str, int]:
    """The message for the first number that JSON or Python cannot represent, and its offset."""
    for match in _NUMBER.finditer(text):
        number = match[0]
        if number.lstrip("-") in ("NaN", "Infinity"):
            return f"not JSON: {number} is not a JSON number", match.start()
        try:
            json.loads(number, parse_float=_finite)
        except ValueError:
            return f"the number {number[:40]} is too large", match.start()
    return "not JSON", 0


def depth_of(value: Any) -> int:
    """How many lists and dicts are in each other."""
    depth, containers = 0, [value]
    while containers := [one for one in containers if isinstance(one, dict | list)]:
        depth += 1
        parts = (one.values() if isinstance(one, dict) else one for one in containers)
        containers = list(chain.from_iterable(parts))
    return depth


def _is_readable(document: Any) -> bool:
    """Whether values and conditions keep their limits; steps in a branch count from the top."""
    stack = [(document, 1, 0, "definition")]
    while stack:
        value, level, conditions, role = stack.pop()
        if level > MAX_DEPTH or conditions > MAX_CONDITIONS:
            return False
        if isinstance(value, list):
            below, inner = (3, "step") if role == "steps" else (level + 1, "")
            stack += ((item, below, conditions, inner) for item in value)
        elif isinstance(value, dict):
            is_condition = role == "step" and value.get("Type") == "Condition"
            roles = _ROLES.get(role, {}) if role != "step" or is_condition else {}
            conditions += is_condition
            stack += (
                (item, level + 1, conditions, roles.get(key, "")) for key, item in value.items()
            )
    return True


def _where(text: str) -> str:
    """The last pointer in a document that is cut off, as the end of a message."""
    pointer = ""
    with suppress(IndexError, ValueError, AttributeError):
        for found, _ in _scan(text):
            pointer = found
    return f" in {pointer}" if pointer else ""


def _scan(text: str) -> Iterator[tuple[str, int]]:
    """Pointer and offset of each value of valid JSON, without recursion."""
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
                    pointer, name_at, at = _key(text, at, pointer)
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
                pointer, name_at, at = _key(text, at, parent)
                yield pointer, name_at
            break
        else:
            return


def _key(text: str, at: int, parent: str) -> tuple[str, int, int]:
    name, end = scanstring(text, at + 1)
    colon = text.index(":", end)
    return f"{parent}/{escape(name)}", at, colon + 1
