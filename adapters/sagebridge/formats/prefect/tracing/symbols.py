"""Symbols: stand-ins for run-time values, and the pipeline expressions that they mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import fields, replace
from enum import Enum
from typing import Any, NoReturn, Protocol

from sagebridge.authoring.value_types import OBJECT
from sagebridge.formats.prefect.tracing.server_values import ServerValue, server_value
from sagebridge.model.conditions import Comparison, ComparisonType, Condition, Not, Or, equals
from sagebridge.model.expressions import Get, Index, Join, Key, Member, Properties
from sagebridge.model.losses import Severity
from sagebridge.model.values import Absent, Object, Strict, Value

# str() and format() must return a real string, so a symbol leaves a mark in private-use characters.
_MARK = re.compile("\ue000([0-9]+)\ue001")
_STRING_METHODS: Mapping[str, str] = {
    **dict.fromkeys(("split", "rsplit", "splitlines", "partition", "rpartition", "encode"), OBJECT),
    **dict.fromkeys(("count", "find", "index", "rfind", "rindex"), "Integer"),
    **dict.fromkeys(
        (
            "format",
            "isoformat",
            "join",
            "lower",
            "lstrip",
            "removeprefix",
            "removesuffix",
            "replace",
            "rstrip",
            "strftime",
            "strip",
            "title",
            "upper",
            "zfill",
        ),
        "String",
    ),
}
"""The parameter types of the results of methods of a string, by name."""
FALSE_VALUES: Mapping[str, Value] = {"String": "", "Integer": 0, "Float": 0.0}


class UntraceableCode(BaseException):
    """Code that tracing cannot follow. A BaseException, so `except Exception` does not catch it."""

    def __init__(self, line: int, code: str, what: str) -> None:
        self.line, self.code, self.what = line, code, what
        super().__init__(what)


class UnsupportedValue(Exception):
    """A value that a definition cannot contain; the string describes it."""


class TraceContext(Protocol):
    """The trace that a symbol belongs to; ``importing`` if no flow is traced yet."""

    importing: bool
    texts: list[Symbol]

    def parameter_for(self, what: str, type_: str = "", *of: Any, **more: Any) -> Symbol: ...
    def decide(self, test: Test) -> bool: ...
    def stop(self, code: str, what: str) -> NoReturn: ...
    def finished(self, step: str) -> None: ...
    def in_file(self) -> bool: ...
    def report_change(self, code: str, what: str) -> None: ...
    def is_enumeration(self, value: Value) -> bool: ...
    def progress(self) -> int: ...
    def returns(self) -> None: ...
    def yields(self) -> None: ...
    def report(self, code: str, severity: Severity, what: str, advice: str = "") -> None: ...


def _operator(sign: str) -> Callable[..., Any]:
    def operation(self: Symbol, *others: Any) -> Symbol:
        kinds = {getattr(one, "_type", type(one).__name__) for one in (self, *others)}
        type_ = "Float" if sign in ("/", "**") or kinds & {"Float", "float", ""} else "Integer"
        return self._trace.parameter_for(f"the result of {sign}", type_, self, *others)

    return operation


_plus: Callable[..., Symbol] = _operator("+")


def _comparison(type_: ComparisonType, *, negated: bool = False) -> Callable[[Symbol, Any], Any]:
    def operation(self: Symbol, other: Any) -> Test:
        made = Comparison(type_, self, other)
        return Test((Not(made) if negated else made,), self._trace)

    return operation


def _unsupported(code: str, what: str) -> Callable[..., Any]:
    def operation(self: Symbol, *others: Any) -> NoReturn:
        del others
        self._trace.stop(code, what)

    return operation


class Symbol:
    """A parameter, or the result of a task or step.

    ``_expression`` is its pipeline expression, ``_part`` the attributes and items taken from it.
    """

    __slots__ = ("_expression", "_part", "_trace", "_type")

    def __init__(self, expression: Value, type_: str, trace: TraceContext, part: str = "") -> None:
        self._expression, self._type, self._trace = expression, type_, trace
        self._part = part

    # isinstance() reads __class__ if the type itself does not match (object_isinstance in CPython's
    # Objects/abstract.c), so user code that tests for a type is noticed here.
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        if self._trace.in_file():
            self._trace.stop("run-time-type", "the type of a run-time value is not known")
        return Symbol

    def __getattr__(self, name: str) -> Symbol:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._under(Member(name), name)

    def __getitem__(self, item: Any) -> Symbol:
        if type(item) is int and item >= 0:
            return self._under(Index(item))
        if type(item) is str:
            return self._under(Key(item))
        type_ = "String" if self._type == "String" else ""
        return self._trace.parameter_for("a slice of a value", type_, self)

    def _under(self, token: Member | Key | Index, name: str = "") -> Symbol:
        get = self._expression
        if type(get) is Get and get.root == "Steps":
            part = f".{name}" if name else ""
            return Symbol(Get("Steps", (*get.tokens, token)), "", self._trace, part)
        return Symbol(get, "", self._trace, f"{self._part}{token}")

    def __call__(self, *arguments: Any, **named: Any) -> Symbol:
        value = self._expression
        if type(value) is ServerValue:
            called = ServerValue(f"{value.what}{self._part}()", value.line)
            return server_value(called, "", self._trace)
        part, _, name = self._part.rpartition(".")
        test = name.startswith("is") or name in ("startswith", "endswith")
        type_ = "Boolean" if test else _STRING_METHODS.get(name, "")
        owner = Symbol(value, "", self._trace, part)
        return self._trace.parameter_for(f"the result of .{name}()", type_, owner, arguments, named)

    def _definition_value(self) -> Value:
        """The pipeline expression. Raises :class:`UnsupportedValue` if no parameter can hold it."""
        if self._type == OBJECT and not self._part:
            raise UnsupportedValue("a list, dict or object that is only known at run time")
        return self._reference()

    def _reference(self) -> Value:
        """The pipeline expression; a part of anything but a step becomes a parameter."""
        value = self._expression
        if type(value) is ServerValue:
            of = {"line": value.line, "name": value.name, "default": value.default}
            what = f"{value.what}{self._part}"
            given = of if not self._part else {"line": value.line}
            type_ = "" if self._type == OBJECT else self._type
            return self._trace.parameter_for(what, type_, **given)._expression
        if self._part and not (type(value) is Get and value.root == "Steps"):
            if self._part == ".value" and self._trace.is_enumeration(value):
                return value
            whole = Symbol(value, "", self._trace)
            return self._trace.parameter_for(f"{self._part} of a value", "", whole)._expression
        return value

    def __await__(self) -> Generator[None, None, Symbol]:
        yield from ()
        return self

    def __bool__(self) -> bool:
        return bool(self._test())

    def _test(self) -> Test:
        """The test of its truth value, by the rules of Python for its type."""
        if self._type in FALSE_VALUES:
            return Test((Not(equals(self, FALSE_VALUES[self._type])),), self._trace)
        if self._type != "Boolean":
            what = "a value of unknown type is used as a test: the condition compares it with true"
            self._trace.report_change("truth-value", what)
        return Test((equals(self, True),), self._trace)

    def __str__(self) -> str:
        self._trace.texts.append(self)
        return f"\ue000{len(self._trace.texts) - 1}\ue001"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        what = f"a string with the format {':' + spec!r}"
        return str(self._trace.parameter_for(what, "String", self) if spec else self)

    def __add__(self, other: Any) -> Any:
        if self._trace.importing:
            return f"{self}{other}"
        if self._type == "String" or type(other) is str:
            return Symbol(text((self, other), self._trace), "String", self._trace)
        return _plus(self, other)

    def __radd__(self, other: Any) -> Any:
        if self._trace.importing:
            return f"{other}{self}"
        if self._type == "String" or type(other) is str:
            return Symbol(text((other, self), self._trace), "String", self._trace)
        return _plus(other, self) if type(other) is Symbol else _plus(self, other)

    __eq__ = _comparison("Equals")
    __ne__ = _comparison("Equals", negated=True)
    __lt__ = _comparison("LessThan")
    __le__ = _comparison("LessThanOrEqualTo")
    __gt__ = _comparison("GreaterThan")
    __ge__ = _comparison("GreaterThanOrEqualTo")
    __hash__ = object.__hash__
    __sub__ = __rsub__ = _operator("-")
    __mul__ = __rmul__ = _operator("*")
    __truediv__ = __rtruediv__ = _operator("/")
    __floordiv__ = __rfloordiv__ = _operator("//")
    __mod__ = __rmod__ = _operator("%")
    __pow__ = __rpow__ = _operator("**")
    __neg__ = __abs__ = __round__ = _operator("-, abs() or round()")
    __iter__ = _unsupported("run-time-loop", "a loop over a run-time value is not supported")
    __next__ = __iter__
    __len__ = _unsupported("run-time-loop", "len() of a run-time value is not supported")
    __index__ = _unsupported(
        "run-time-loop", "a run-time value as an index or in range() is not supported"
    )
    __int__ = __float__ = _unsupported(
        "run-time-code", "converting a run-time value to a number is not supported"
    )
    __contains__ = _unsupported("run-time-code", "`in` on a run-time value is not supported")


class Test:
    """The result of a comparison: ``conditions`` that must all hold."""

    __slots__ = ("_trace", "conditions")
    __test__ = False

    def __init__(self, conditions: Sequence[Condition], trace: TraceContext) -> None:
        self.conditions, self._trace = tuple(conditions), trace

    def __bool__(self) -> bool:
        return self._trace.decide(self)

    def _test(self) -> Test:
        return self

    def negated(self) -> Test:
        found = [_opposite(one) for one in self.conditions]
        return Test((found[0] if len(found) == 1 else Or(tuple(found)),), self._trace)

    def single(self) -> Condition:
        if len(self.conditions) == 1:
            return self.conditions[0]
        return _opposite(self.negated().conditions[0])


def _opposite(condition: Condition) -> Condition:
    return condition.condition if isinstance(condition, Not) else Not(condition)


class Future:
    """The result of ``.submit()``; steps after its ``result()`` depend on the task."""

    __slots__ = ("_step", "_trace", "_value")

    def __init__(self, value: Symbol, step: str, trace: TraceContext) -> None:
        self._value, self._step, self._trace = value, step, trace

    def result(self, timeout: Any = None, raise_on_failure: bool = True) -> Symbol:
        del timeout
        self._trace.finished(self._step)
        if not raise_on_failure:
            self._trace.stop("task-state", "raise_on_failure=False is not supported")
        return self._value

    def wait(self, timeout: Any = None) -> None:
        del timeout
        self._trace.finished(self._step)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self._trace.stop("task-state", f".{name} of a task run is only known at run time")


class Futures(list[Any]):
    """The result of ``.map()``."""

    def result(self, timeout: Any = None, raise_on_failure: bool = True) -> list[Symbol]:
        return [one.result(timeout, raise_on_failure) for one in self]

    def wait(self, timeout: Any = None) -> None:
        for one in self:
            one.wait(timeout)


def is_symbolic(value: object) -> bool:
    return type(value) in (Symbol, Test, Future)


def holds_symbol(value: object, depth: int = 4) -> bool:
    """Whether a value is or contains a symbol, at most ``depth`` levels down."""
    if is_symbolic(value):
        return True
    if depth and type(value) in (list, tuple, set, frozenset, Futures):
        return any(holds_symbol(item, depth - 1) for item in value)  # type: ignore[attr-defined]
    if depth and type(value) is dict:
        return any(holds_symbol(item, depth - 1) for item in value.values())
    return type(value) is str and _MARK.search(value) is not None


def flattened(value: object) -> list[object]:
    """The values in lists, tuples, sets and dicts."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return [inner for one in value for inner in flattened(one)]
    return [value]


def result_step(value: object) -> str | None:
    """The step whose result, or part of it, a value is; None for any other value."""
    if type(value) is Future:
        value = value._value
    expression = value._expression if type(value) is Symbol else None
    return expression.step if type(expression) is Get else None


def text(parts: Sequence[Any], trace: TraceContext, on: str = "") -> Value:
    """The concatenation of ``parts``, separated by ``on``."""
    values: list[Value] = []
    for part in parts:
        value = part._reference() if type(part) is Symbol else definition_value(part, trace)
        if not on and isinstance(value, Join) and value.on == "":
            values += value.values
        elif on or not isinstance(value, str) or value:
            values.append(value)
    return Join(tuple(values), on)


def definition_value(value: Any, trace: TraceContext) -> Value:
    """A Python value as a value of a definition. Raises :class:`UnsupportedValue`."""
    kind = type(value)
    if kind is Symbol:
        return value._definition_value()
    if kind is Future:
        return value._value._definition_value()
    if kind is Test:
        return trace.parameter_for("the result of a comparison", "Boolean")._expression
    if kind is Properties:
        return value._get
    if value is None or kind in (bool, int, float) or isinstance(value, Absent):
        return value
    if isinstance(value, Enum):
        return definition_value(value.value, trace)
    if isinstance(value, str):
        return _marked(str(value), trace)
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise UnsupportedValue("a dict with keys that are not strings")
        if any(_MARK.search(name) for name in value):
            raise UnsupportedValue("a dict with run-time values as keys")
        return Object({str(name): definition_value(item, trace) for name, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(definition_value(item, trace) for item in value)
    if isinstance(value, Strict):
        record: Any = value
        changed = {
            one.name: definition_value(getattr(value, one.name), trace) for one in fields(record)
        }
        return replace(record, **changed)
    raise UnsupportedValue(f"a value of type {kind.__name__}, which is not JSON")


def _marked(marked: str, trace: TraceContext) -> Value:
    pieces = _MARK.split(marked)
    if len(pieces) == 1:
        return marked
    parts = [trace.texts[int(one)] if at % 2 else one for at, one in enumerate(pieces)]
    return text(parts, trace)
