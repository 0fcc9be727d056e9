"""EventBridge event patterns, and the events in messages of an SQS queue.

The rules are those of "Comparison operators for use in event patterns" in the EventBridge guide.
Numbers are compared by value, as in Event Ruler, the open-source matcher of EventBridge; the guide
compares their spelling.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any, TypeAlias

from sagebridge.errors import EventPatternError
from sagebridge.model.display import shown
from sagebridge.model.values import Value

_Test: TypeAlias = Callable[[Any], bool]
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}
_TEXT_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "equals-ignore-case": operator.eq,
    "prefix": str.startswith,
    "suffix": str.endswith,
}
_RANGE = 5e9
"""EventBridge compares numbers from -5e9 to 5e9."""


def matches(pattern: Mapping[str, Value], event: Mapping[str, Any]) -> bool:
    """Whether an event matches a pattern; every event matches an empty one.

    Raises :class:`~sagebridge.errors.EventPatternError` if EventBridge would reject the pattern.
    """
    problems: list[str] = []
    test = _object_test(pattern, "", problems)
    if problems:
        raise EventPatternError(problems)
    return test(event)


def pattern_problems(pattern: Mapping[str, Value]) -> list[str]:
    """Why EventBridge would reject a pattern: one line per problem, with its JSON pointer."""
    problems: list[str] = []
    _object_test(pattern, "", problems)
    return problems


class _FilterError(ValueError):
    """What EventBridge expects instead of a filter."""


def _object_test(pattern: Mapping[str, Value], place: str, problems: list[str]) -> _Test:
    """The test of an object; in an array of objects, one of them must match all fields."""
    tests: list[_Test] = []
    for name, value in pattern.items():
        where = f"{place}/{name}"
        if name == "$or":
            tests.append(_or_test(value, where, problems))
        elif isinstance(value, Mapping) and value:
            tests.append(partial(_matches_object, name, _object_test(value, where, problems)))
        elif isinstance(value, list | tuple) and value:
            choices = [_choice(one, f"{where}/{n}", problems) for n, one in enumerate(value)]
            tests.append(partial(_matches_leaves, name, choices))
        else:
            problems.append(f"{where}: {shown(value)}; expected a list of values or an object")
    # Fields of a missing object do not exist.
    return lambda event: any(all(t(item) for t in tests) for item in _objects(event) or [{}])


def _matches_object(name: str, test: _Test, event: Mapping[str, Any]) -> bool:
    return test(event.get(name))


def _matches_leaves(name: str, choices: Sequence[_Test], event: Mapping[str, Any]) -> bool:
    leaves = _leaves(event[name]) if name in event else []
    return any(choice(leaves) for choice in choices)


def _or_test(value: Value, place: str, problems: list[str]) -> _Test:
    choices = value if isinstance(value, list | tuple) else ()
    if len(choices) < 2 or not all(isinstance(one, Mapping) and one for one in choices):
        problems.append(f"{place}: {shown(value)}; expected a list of at least two objects")
        return bool
    tests = [_object_test(one, f"{place}/{n}", problems) for n, one in enumerate(choices)]
    return lambda event: any(test(event) for test in tests)


def _choice(choice: Value, place: str, problems: list[str]) -> _Test:
    """The test of all leaves of a field by one value or filter of the pattern."""
    if isinstance(choice, Mapping) and list(choice) == ["exists"]:
        wanted = choice["exists"]
        if not isinstance(wanted, bool):
            problems.append(f"{place}: exists: {shown(wanted)}; expected true or false")
        return lambda leaves: bool(leaves) == wanted
    try:
        test = _filter(choice) if isinstance(choice, Mapping) else _equals(choice)
    except _FilterError as wrong:
        problems.append(f"{place}: {wrong}")
        return bool
    return lambda leaves: any(test(leaf) for leaf in leaves)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        return [value]
    if isinstance(value, list | tuple):
        return [one for item in value for one in _objects(item)]
    return []


def _leaves(value: Any) -> list[Any]:
    """The strings, numbers, booleans and nulls of a field. An object is not a leaf."""
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [] if isinstance(value, Mapping) else [value]


def _filter(choice: Mapping[str, Value]) -> _Test:
    """The test of one value by a content filter, such as ``{"prefix": "data/"}``."""
    if len(choice) != 1:
        raise _FilterError(f"{shown(dict(choice))}; expected one filter per object")
    ((name, argument),) = choice.items()
    if name == "anything-but":
        return _anything_but(argument)
    if name == "numeric":
        return _numeric(argument)
    if name == "cidr":
        return _cidr(argument)
    return _text_filter(name, argument)


def _text_filter(name: str, argument: Value) -> _Test:
    text, ignores_case = argument, name == "equals-ignore-case"
    if name in ("prefix", "suffix") and isinstance(argument, Mapping) and len(argument) == 1:
        text, ignores_case = argument.get("equals-ignore-case"), True
    if name not in _TEXT_TESTS and name != "wildcard":
        known = ", ".join(sorted({*_TEXT_TESTS, "anything-but", "cidr", "exists", "numeric"}))
        raise _FilterError(f"unknown filter {shown(name)}; expected {known} or wildcard")
    if not isinstance(text, str):
        raise _FilterError(f"{name}: {shown(argument)}; expected a string")
    if name == "wildcard":
        expression = _wildcard(text)
        return lambda value: isinstance(value, str) and expression.fullmatch(value) is not None
    compare = _TEXT_TESTS[name]
    if ignores_case:
        lower = text.lower()
        return lambda value: isinstance(value, str) and compare(value.lower(), lower)
    return lambda value: isinstance(value, str) and compare(value, text)


def _wildcard(text: str) -> re.Pattern[str]:
    r"""``*`` stands for any characters, ``\*`` and ``\\`` for themselves."""
    if re.search(r"(?<!\\)(\\\\)*\*\*", text) or not re.fullmatch(r"(\\[\\*]|[^\\])*", text):
        raise _FilterError(
            f"wildcard: {shown(text)}; '**' is not allowed, and a backslash comes before * or \\"
        )
    parts = [""]
    for part in re.findall(r"\\[\\*]|[^\\]", text):
        if part == "*":
            parts.append("")
        else:
            parts[-1] += re.escape(part[-1])
    # Atomic groups: without them, many stars take exponential time.
    first, last = parts[0], f".*{parts[-1]}" if len(parts) > 1 else ""
    return re.compile(first + "".join(f"(?>.*?{p})" for p in parts[1:-1]) + last, re.DOTALL)


def _anything_but(argument: Value) -> _Test:
    excluded: list[_Test]
    if isinstance(argument, Mapping) and len(argument) == 1:
        ((name, given),) = argument.items()
        texts = given if isinstance(given, list | tuple) else [given]
        excluded = [_text_filter(name, text) for text in texts]
    else:
        values = argument if isinstance(argument, list | tuple) else [argument]
        texts = [value for value in values if isinstance(value, str)]
        numbers = [value for value in values if _is_number(value)]
        if not values or len(values) not in (len(texts), len(numbers)):
            raise _FilterError(
                f"anything-but: {shown(argument)}; expected strings, numbers or a filter"
            )
        excluded = [_equals(value) for value in values]
    return lambda value: not any(test(value) for test in excluded)


def _numeric(argument: Value) -> _Test:
    parts = list(argument) if isinstance(argument, list | tuple) else []
    pairs = list(zip(parts[::2], parts[1::2], strict=False))
    valid = all(
        isinstance(sign, str)
        and sign in _COMPARISONS
        and _is_number(limit)
        and abs(limit) <= _RANGE
        for sign, limit in pairs
    )
    # One comparison, or a lower and an upper limit.
    kinds = [str(sign)[0] for sign, _ in pairs]
    if len(parts) % 2 or not valid or kinds not in (["<"], ["="], [">"], [">", "<"], ["<", ">"]):
        raise _FilterError(
            f'numeric: {shown(argument)}; expected [">", 0, "<=", 5] or one comparison, with '
            "numbers from -5e9 to 5e9"
        )
    return lambda value: (
        _is_number(value) and all(_COMPARISONS[sign](value, limit) for sign, limit in pairs)
    )


def _cidr(argument: Value) -> _Test:
    try:
        network = ip_network(argument, strict=False) if isinstance(argument, str) else None
    except ValueError:
        network = None
    if network is None:
        raise _FilterError(f"cidr: {shown(argument)}; expected a network such as '10.0.0.0/24'")

    def test(value: Any) -> bool:
        try:
            return isinstance(value, str) and ip_address(value) in network
        except ValueError:
            return False

    return test


def _equals(expected: Value) -> _Test:
    if isinstance(expected, list | tuple):
        raise _FilterError(f"{shown(expected)}; expected a string, a number, true, false or null")
    return partial(_same_leaf, expected)


def _same_leaf(left: Any, right: Any) -> bool:
    if _is_number(left) and _is_number(right):
        return bool(left == right)
    return type(left) is type(right) and bool(left == right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
