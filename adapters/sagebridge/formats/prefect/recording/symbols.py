"""Symbols: stand-ins for run-time values, which no code may look at while a flow is read."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from enum import Enum
from types import MappingProxyType
from typing import Any, NoReturn

from sagebridge.authoring.pipeline_builder import StepHandle
from sagebridge.authoring.value_types import OBJECT
from sagebridge.model.expressions import Get, Index, Join, Key, Properties, references
from sagebridge.model.values import Absent, Object, Strict, Value

OPTIONAL = "optional"
"""The type of a string or number that may be None."""
JSON = "json"
"""The type of a list, a dict, or a Boolean that may be None: only code makes it a string."""
PATHS = ("", OBJECT, JSON)
"""The types of a result whose items have paths."""


class RunTimeValueUsed(BaseException):
    """Python code looked at a run-time value. `except Exception` does not catch it."""


class TaskStateUsed(RunTimeValueUsed):
    """Code of the flow looked at the state of a task run."""


class NeedsCode(BaseException):
    """A value that a step must compute; ``node`` is its expression without calls of tasks."""

    def __init__(self, node: ast.expr | None) -> None:
        self.node = node
        super().__init__()


class NotFollowed(BaseException):
    """A statement, or the ``whole`` flow, whose tasks cannot be separate steps."""

    def __init__(
        self, line: int, what: str, code: str = "run-time-code", *, whole: bool = False
    ) -> None:
        self.line, self.what, self.code, self.whole = line, what, code, whole
        super().__init__(what)


class UnsupportedValue(Exception):
    """A value that a definition cannot contain; the string describes it."""


def _used(*_: Any, **__: Any) -> NoReturn:
    raise RunTimeValueUsed


class Symbol:
    """A value that is only known at run time.

    Attributes:
        _expression: its pipeline expression, or a function that returns it when it is needed.
        _type: its parameter type; OBJECT if no parameter can hold it, empty if it is unknown.
        _made: makes the value for code, if it differs from the expression.
        _code: its source, for a value such as a client that cannot pass from step to step.
        _fields: the types of its attributes, for a model or dataclass that a step returns.
    """

    __slots__ = ("_code", "_expression", "_fields", "_made", "_type")

    def __init__(
        self,
        expression: Any,
        type_: str = "",
        code: ast.expr | None = None,
        fields: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._expression, self._type, self._code, self._fields = expression, type_, code, fields
        self._made: Callable[[], Value] | None = None

    def __getitem__(self, item: Any) -> Symbol:
        get = self._expression
        plain = type(item) is str or (type(item) is int and item >= 0)
        if not plain or self._type not in PATHS or self._code is not None:
            raise RunTimeValueUsed
        get = self._path()
        if type(get) is not Get or get.root not in ("Steps", "ForEach"):
            raise RunTimeValueUsed
        token = Key(item) if type(item) is str else Index(item)
        return Symbol(Get(get.root, (*get.tokens, token)))

    def _field(self, name: str) -> Symbol:
        """The value of an attribute that ``_fields`` has."""

        def made() -> Value:
            get = self._path()
            assert isinstance(get, Get)
            return Get(get.root, (*get.tokens, Key(name)))

        return Symbol(made, self._fields[name])

    def _path(self) -> Value:
        """The expression of the value that code gets, for paths into it."""
        return (self if self._made is None else Symbol(self._made))._definition_value()

    def _definition_value(self) -> Value:
        """The pipeline expression. Raises :class:`UnsupportedValue` if a pipeline has none."""
        if self._code is not None:
            raise UnsupportedValue(f"{ast.unparse(self._code)}, which cannot be passed on")
        if callable(self._expression):
            self._expression = self._expression()
        found: Value = self._expression
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RunTimeValueUsed

    def __await__(self) -> Generator[None, None, Symbol]:
        yield from ()
        return self

    def __copy__(self) -> Symbol:
        return self

    # isinstance() reads __class__ if the type itself does not match (object_isinstance in CPython's
    # Objects/abstract.c).
    __class__ = property(_used)
    __hash__ = _used
    __bool__ = __str__ = __repr__ = __format__ = __iter__ = __next__ = __len__ = _used
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _used
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __rmod__ = _used
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __pow__ = __rpow__ = _used
    __or__ = __ror__ = __and__ = __rand__ = __neg__ = __abs__ = __round__ = __call__ = _used
    __index__ = __int__ = __float__ = __contains__ = __enter__ = __exit__ = __fspath__ = _used
    __aiter__ = __aenter__ = __aexit__ = __setitem__ = __delitem__ = __invert__ = _used


class Future(Symbol):
    """The result of ``.submit()``; ``_ended`` is called when the flow waits for the task."""

    __slots__ = ("_ended",)

    def __init__(self, expression: Any, type_: str, ended: Callable[[], None]) -> None:
        super().__init__(expression, type_)
        self._ended = ended

    def result(self, timeout: Any = None, raise_on_failure: bool = True) -> Symbol:
        del timeout
        if not raise_on_failure:
            raise TaskStateUsed
        self._ended()
        return Symbol(self._expression, self._type)

    def wait(self, timeout: Any = None) -> None:
        del timeout
        self._ended()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise TaskStateUsed


class Futures(list[Any]):
    """The result of ``.map()`` over a known list."""

    def result(self, timeout: Any = None, raise_on_failure: bool = True) -> list[Symbol]:
        return [one.result(timeout, raise_on_failure) for one in self]

    def wait(self, timeout: Any = None) -> None:
        for one in self:
            one.wait(timeout)


def is_symbol(value: object) -> bool:
    return type(value) in (Symbol, Future)


def type_of(value: object) -> str | None:
    """The parameter type of a run-time value; None for a known one."""
    return str(value._type) if is_symbol(value) else None  # type: ignore[attr-defined]


def leaves(value: object, depth: int = 6) -> Iterator[Any]:
    """The values in lists, tuples, sets and dicts."""
    if depth and type(value) is dict:
        value = list(value.values())
    if depth and type(value) in (list, tuple, set, frozenset, Futures):
        for one in value:  # type: ignore[attr-defined]
            yield from leaves(one, depth - 1)
    else:
        yield value


def holds_symbol(value: object) -> bool:
    """Whether a value is or contains a run-time value."""
    return any(is_symbol(one) for one in leaves(value))


def holds_future(value: object) -> bool:
    return any(type(one) is Future for one in leaves(value))


def result_step(value: Any) -> str | None:
    """The step whose result, or part of it, a value is; None for any other value."""
    if not is_symbol(value):
        return value.name if isinstance(value, StepHandle) else None
    expression = value._expression
    return expression.step if type(expression) is Get else None


def needs_steps(value: Any) -> bool:
    """Whether a value depends on the results of steps, not only on parameters."""
    if not is_symbol(value):
        return isinstance(value, StepHandle | Properties)
    found = value._expression
    if value._code is not None or callable(found):
        return value._code is None
    return any(one.root in ("Steps", "ForEach") for one in references(found))


def text(parts: Sequence[Any], on: str = "") -> Value:
    """The concatenation of ``parts``, separated by ``on``."""
    values: list[Value] = []
    for part in parts:
        value = definition_value(part)
        if not on and isinstance(value, Join) and value.on == "":
            values += value.values
        elif on or not isinstance(value, str) or value:
            values.append(value)
    return Join(tuple(values), on)


def definition_value(value: Any) -> Value:
    """A Python value as a value of a definition. Raises :class:`UnsupportedValue`."""
    kind = type(value)
    if is_symbol(value):
        found: Value = value._definition_value()
        return found
    if isinstance(value, Properties):
        return value._get
    if value is None or kind in (bool, int, float, str) or isinstance(value, Absent):
        plain: Value = value
        return plain
    if isinstance(value, Enum) and isinstance(value.value, str | int | float):
        return definition_value(value.value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise UnsupportedValue("a dict with keys that are not strings")
        return Object({str(name): definition_value(item) for name, item in value.items()})
    if kind in (list, tuple, Futures) or hasattr(value, "_fields"):
        return tuple(definition_value(item) for item in value)
    if isinstance(value, Strict):
        record: Any = value
        changed = {one.name: definition_value(getattr(value, one.name)) for one in fields(record)}
        return replace(record, **changed)
    raise UnsupportedValue(f"a value of type {kind.__name__}, which is not JSON")


def for_code(value: Any) -> Any:
    """A value for code: its arguments that are None or an Enum are that, not strings.

    Raises :class:`UnsupportedValue` for a member of an Enum.
    """
    if is_symbol(value):
        return value if value._made is None else Symbol(value._made, value._type)
    if isinstance(value, Enum) and not isinstance(value, Absent):
        raise UnsupportedValue(f"a value of type {type(value).__name__}, which is not JSON")
    if type(value) in (list, tuple):
        return type(value)(for_code(one) for one in value)
    if type(value) is dict:
        return {key: for_code(one) for key, one in value.items()}
    if isinstance(value, Mapping | deque):
        raise UnsupportedValue(f"a value of type {type(value).__name__}, which is not JSON")
    return value


def with_expressions(value: Any) -> Any:
    """A value with pipeline expressions in the place of its symbols that have one."""
    if is_symbol(value):
        hidden = value._code is not None or value._type == OBJECT
        return value if hidden else value._definition_value()
    if type(value) in (list, tuple, Futures):
        made = [with_expressions(one) for one in value]
        return tuple(made) if type(value) is tuple else made
    if type(value) is dict:
        return {key: with_expressions(one) for key, one in value.items()}
    return value


def same(first: Any, second: Any) -> bool:
    """Whether two values are the same in a definition, without making any of them."""
    if any(
        is_symbol(one) and callable(one._expression) for one in (*leaves(first), *leaves(second))
    ):
        return False  # it would be made
    try:
        return bool(definition_value(first) == definition_value(second))
    except (UnsupportedValue, TypeError):
        return False
