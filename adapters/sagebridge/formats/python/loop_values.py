"""The values of a loop over constants: its columns, and strings made of them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

_LINE = 60
"""A string counts once, and once more for each line of this length."""
_MOST_COLUMNS = 6
_MOST_VALUES = 40
_Text = list[str]


class Unlike(Exception):
    """These statements cannot be one loop."""


def size_of(node: ast.AST) -> int:
    """How much of a file a node takes."""
    return sum(map(_own_size, ast.walk(node)))


def _own_size(node: ast.AST) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return 1 + len(node.value) // _LINE + node.value.count("\n")
    return isinstance(node, ast.Constant | ast.Name | ast.keyword)


def common_start(items: Sequence[Sequence[Any]]) -> list[Any]:
    """What all items begin with."""
    together = takewhile(lambda some: len(set(some)) == 1, zip(*items, strict=False))
    return [some[0] for some in together]


@dataclass(slots=True)
class Column:
    """The value of one variable of a loop in each round."""

    values: Sequence[ast.expr]
    texts: _Text | None = None
    """The values as text, if they are strings or whole numbers."""
    wanted: str = ""
    variable: str = ""
    key: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.key = tuple(map(ast.dump, self.values))
        self.texts = _texts(self.values)

    @property
    def size(self) -> int:
        return sum(map(size_of, self.values))

    @property
    def is_key(self) -> bool:
        """Whether the values can be the keys of a dict."""
        return self.texts is not None and len(set(self.texts)) == len(self.texts)

    @property
    def rank(self) -> tuple[bool, bool, bool, int]:
        """A column that sorts first has better keys of a dict."""
        texts = self.texts or ()
        words = all(one.isidentifier() for one in texts)
        return not self.is_key, "" in texts, not words, sum(map(len, texts))

    @property
    def kind(self) -> str:
        """What the values are, if they are only parts of strings."""
        texts = self.texts or ()
        if all(one.isdigit() for one in texts):
            return "number"
        return "name" if all(one[:1].isalpha() for one in texts) else "suffix"

    def name(self) -> ast.Name:
        return ast.Name(self.variable, ast.Load())


@dataclass(slots=True)
class LoopValues:
    """The varying values of one loop."""

    varying: list[Column] = field(default_factory=list)
    _given: dict[tuple[str, ...], tuple[Column, _Text]] = field(default_factory=dict)
    """For each value: its column, and the strings around the values of the column."""

    def add(self, nodes: Sequence[ast.expr], wanted: str) -> int:
        """The number of a value that differs between rounds."""
        self.varying.append(Column(nodes, wanted=wanted))
        return len(self.varying) - 1

    def columns(self) -> list[Column]:
        """As few columns as possible that give all values. Raises Unlike if they are too many."""
        rest = {one.key: one for one in reversed(self.varying)}
        if len(rest) > _MOST_VALUES:
            raise Unlike
        candidates = {one.key: one for one in self._candidates(list(rest.values()))}
        parts = {
            key: {own: found for own, it in rest.items() if (found := _parts(it, one)) is not None}
            for key, one in candidates.items()
        }
        result: list[Column] = []
        while rest and len(result) < _MOST_COLUMNS:
            best = max(candidates, key=lambda one: _gain(candidates[one], parts[one].keys() & rest))
            column = candidates[best]
            for key in parts[best].keys() & rest:
                self._given[key] = column, parts[best][key]
                del rest[key]
            column.wanted = column.wanted if best in parts[best] else ""
            result.append(column)
        if rest or any("\n" in text for one in result for text in one.texts or ()):
            raise Unlike
        return result

    def _candidates(self, varying: Sequence[Column]) -> Iterator[Column]:
        """Each value, and the words in which its strings differ."""
        for one in varying:
            if _are_strings(one):
                yield Column([ast.Constant(text) for text in _core(one.texts or [])])
        yield from varying

    def expression(self, number: int) -> ast.expr:
        """A value in terms of the variables of the loop."""
        column, parts = self._given[self.varying[number].key]
        if not parts:
            return column.name()
        values: list[ast.expr] = []
        for at, part in enumerate(parts):
            values += [ast.FormattedValue(column.name(), -1)] if at else []
            values += [ast.Constant(part)] if part else []
        return ast.JoinedStr(values)


def _gain(column: Column, given: Collection[tuple[str, ...]]) -> tuple[int, bool, int]:
    """Prefer columns that give more values, then those that are one of them, then short ones."""
    return len(given), column.key in given, -sum(map(len, column.texts or ()))


def _texts(nodes: Sequence[ast.expr]) -> _Text | None:
    values = [one.value if isinstance(one, ast.Constant) else None for one in nodes]
    kinds = {type(one) for one in values}
    return list(map(str, values)) if kinds in ({str}, {int}) else None


def _parts(one: Column, column: Column) -> _Text | None:
    """The strings around the values of a column in those of another one; none if it is equal."""
    if one.key == column.key:
        return []
    texts, words = one.texts, column.texts
    if texts is None or words is None or not _are_strings(one):
        return None
    if any(word not in text for text, word in zip(texts, words, strict=True)):
        return None
    if all(words):
        parts = _split(texts[0], words[0])
        if len(parts) > 1 and all(_split(*own) == parts for own in zip(texts, words, strict=True)):
            return parts
    at_longest = max(range(len(words)), key=lambda at: len(words[at]))
    text, word = texts[at_longest], words[at_longest]
    for at in _positions(text, word):
        before, after = text[:at], text[at + len(word) :]
        pairs = zip(texts, words, strict=True)
        if all(other == f"{before}{own}{after}" for other, own in pairs):
            return [before, after]
    return None


def _are_strings(one: Column) -> bool:
    return all(isinstance(it, ast.Constant) and isinstance(it.value, str) for it in one.values)


def _positions(text: str, word: str) -> Iterator[int]:
    """Where a word begins in a text, as a whole word."""
    at = text.find(word)
    while at >= 0 and word:
        if _may_cut(text, at) and _may_cut(text, at + len(word)):
            yield at
        at = text.find(word, at + 1)


def _split(text: str, word: str) -> _Text:
    parts: _Text = []
    last = 0
    for at in _positions(text, word):
        if at >= last:
            parts.append(text[last:at])
            last = at + len(word)
    return [*parts, text[last:]]


def _may_cut(text: str, at: int) -> bool:
    """Whether a word may end or begin there: ``load|_orders``, ``Train|2``, ``load|Orders``."""
    if not 0 < at < len(text):
        return True
    before, after = text[at - 1], text[at]
    if not before.isalnum() or not after.isalnum():
        return True
    return before.isdigit() != after.isdigit() or (before.islower() and after.isupper())


def _core(texts: _Text) -> _Text:
    """The strings without the words at the beginning and at the end that all of them have."""
    start = len(common_start(texts))
    while not all(_may_cut(one, start) for one in texts):
        start -= 1
    rest = [one[start:] for one in texts]
    end = len(common_start([one[::-1] for one in rest]))
    while not all(_may_cut(one, len(one) - end) for one in texts):
        end -= 1
    return [one[: len(one) - end] for one in rest]
