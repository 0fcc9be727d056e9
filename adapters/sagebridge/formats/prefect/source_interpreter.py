"""Evaluate flows in the form that sagebridge writes, from their source; nothing is executed.

The form leaves room for edits: one call per step; arguments that are literals, references, module
constants or arguments of the flow; ``with`` blocks, or a plain ``if`` on a condition; helper
functions of the same file; loops and comprehensions over literals. Anything else raises
:class:`UnsupportedSyntax`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sagebridge.authoring.pipeline_builder import (
    ConditionHandle,
    ForEachHandle,
    PipelineBuilder,
    StepHandle,
)
from sagebridge.errors import SagebridgeError
from sagebridge.formats.prefect.importable_names import Module, is_code, read_code
from sagebridge.formats.python.function_source import NotSelfContained
from sagebridge.model import expressions
from sagebridge.model.expressions import Join, Properties, is_expression

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
PLAIN = (str, int, float, bool, list, tuple, dict)
_LONGEST = 1_000_000
"""Limit for a computed value: characters, bits and items."""
_WIDEST = 10_000
"""Limit for an integer in bits: by default, Python converts at most 4300 digits to a string."""
_MOST = 3_000_000
"""Limit for one flow or module: iterations, calls and sizes of the values that names refer to."""


class UnsupportedSyntax(Exception):
    """Syntax outside the form."""

    def __init__(self, node: ast.AST, what: str) -> None:
        self.line = getattr(node, "lineno", 1)
        super().__init__(what)


class FlowSyntaxError(Exception):
    """An error in the source."""

    def __init__(self, node: ast.AST, error: Exception) -> None:
        self.line = getattr(node, "lineno", 1)
        super().__init__(str(error))


class _ReturnValue(Exception):
    """A ``return`` statement, raised up to the call."""

    def __init__(self, value: Any) -> None:
        self.value = value


@dataclass(frozen=True, slots=True)
class _Block:
    """``check.met()``, ``check.unmet()`` or ``fan.body()``: the steps in a field of a step."""

    step: StepHandle
    field: str


@dataclass(slots=True)
class Interpreter:
    """Evaluates a flow into ``builder``; ``lines`` has the line of each step."""

    builder: PipelineBuilder
    module: Mapping[str, Any]
    source: str = ""
    lines: dict[str, int] = field(default_factory=dict)
    _depth: int = 0
    _followed: int = 0

    def flow(self, function: ast.FunctionDef) -> None:
        """Evaluate a flow. Raises :class:`UnsupportedSyntax` or :class:`FlowSyntaxError`."""
        scope: dict[str, Any] = {
            name: expressions.parameter(parameter.name)
            for name, parameter in self.builder.parameters.items()
        }
        for argument in (*function.args.args, *function.args.kwonlyargs):
            scope.setdefault(
                argument.arg, UnsupportedSyntax(argument, f"the argument {argument.arg!r}")
            )
        try:
            self._block(function.body, scope)
        except _ReturnValue:
            return
        raise UnsupportedSyntax(function, "a flow without `return finish()`")

    def _block(self, body: list[ast.stmt], scope: dict[str, Any]) -> None:
        for statement in body:
            self._statement(statement, scope)

    def _statement(self, node: ast.stmt, scope: dict[str, Any]) -> None:
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Expr(value=value):
                self.value(value, scope)
            case ast.Assign(targets=targets, value=value):
                result = self.value(value, scope)
                for target in targets:
                    self._bind(target, result, scope)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._bind(target, self.value(value, scope), scope)
            case ast.With(items=[ast.withitem(context_expr=item, optional_vars=None)]):
                guard = self.value(item, scope)
                if not isinstance(guard, _Block):
                    raise UnsupportedSyntax(item, "a with block other than a branch or a body")
                with self.builder.block(guard.step.name, guard.field):
                    self._block(node.body, scope)
            case ast.If():
                self._if(node, scope)
            case ast.For(target=target, iter=iterated, body=body, orelse=[]):
                for item in self._items(iterated, scope):
                    self._follow(node, 1)
                    self._bind(target, item, scope)
                    self._block(body, scope)
            case ast.Return(value=value):
                raise _ReturnValue(None if value is None else self.value(value, scope))
            case _:
                raise UnsupportedSyntax(node, f"the statement {type(node).__name__}")

    def _if(self, node: ast.If, scope: dict[str, Any]) -> None:
        test, met = node.test, True
        while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test, met = test.operand, not met
        check = self.value(test, scope)
        if isinstance(check, bool):
            self._block(node.body if check is met else node.orelse, scope)
            return
        if not isinstance(check, ConditionHandle):
            raise UnsupportedSyntax(node, "an `if` on something other than a condition")
        for body, taken in ((node.body, met), (node.orelse, not met)):
            if _leaves(body):
                raise UnsupportedSyntax(node, "a return inside a branch")
            if body:
                with self.builder.branch(check.name, met=taken):
                    self._block(body, scope)

    def _bind(self, target: ast.expr, value: Any, scope: dict[str, Any]) -> None:
        match target:
            case ast.Name(id=name):
                scope[name] = value
            case ast.Tuple(elts=targets) | ast.List(elts=targets) if isinstance(
                value, list | tuple
            ):
                if len(targets) != len(value):
                    raise UnsupportedSyntax(
                        target, "an assignment with a different number of values"
                    )
                for one, item in zip(targets, value, strict=True):
                    self._bind(one, item, scope)
            case ast.Subscript(value=ast.Name(id=name), slice=key) if isinstance(
                items := scope.get(name), dict
            ):
                items[self._key(key, scope)] = value
            case _:
                raise UnsupportedSyntax(target, "an assignment to something other than a name")

    def _key(self, node: ast.expr, scope: dict[str, Any]) -> str | int:
        key = self.value(node, scope)
        if isinstance(key, str | int):
            return key
        raise UnsupportedSyntax(node, "a dict key that is not a string or a number")

    def _items(self, node: ast.expr, scope: dict[str, Any]) -> list[Any]:
        items = self.value(node, scope)
        if not isinstance(items, list | tuple | dict):
            raise UnsupportedSyntax(node, "a loop over a run-time value")
        return list(items)

    def value(self, node: ast.expr, scope: dict[str, Any]) -> Any:
        """The value of an expression."""
        match node:
            case ast.Constant(value=value) if not isinstance(value, bytes | complex):
                return value
            case ast.Name(id=name):
                return self._name(node, name, scope)
            case ast.Dict(keys=keys, values=items):
                return dict(self._members(keys, items, scope))
            case ast.List(elts=items):
                return self._sequence(items, scope)
            case ast.Tuple(elts=items):
                return tuple(self._sequence(items, scope))
            case ast.ListComp(elt=item) | ast.GeneratorExp(elt=item):
                return [self.value(item, inner) for inner in self._rounds(node, scope)]
            case ast.DictComp(key=key, value=item):
                rounds = self._rounds(node, scope)
                return {self._key(key, inner): self.value(item, inner) for inner in rounds}
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._computed(node, operator.neg, self.value(operand, scope))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                operands = (self.value(left, scope), self.value(right, scope))
                return self._computed(node, _OPERATORS[type(op)], *operands)
            case ast.JoinedStr(values=parts):
                return self._source_text(node, parts, scope)
            case ast.Attribute(value=base, attr=name):
                return self._attribute(node, self.value(base, scope), name)
            case ast.Subscript(value=ast.Name(id=name), slice=key):  # cheap for large dicts
                return self._item(node, self._found(node, name, scope), self.value(key, scope))
            case ast.Subscript(value=base, slice=key):
                return self._item(node, self.value(base, scope), self.value(key, scope))
            case ast.Call():
                return self._call(node, scope)
        raise UnsupportedSyntax(node, f"the expression {type(node).__name__}")

    def _rounds(
        self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp, scope: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """The names in each round of a comprehension."""
        over = node.generators[0]
        if len(node.generators) > 1 or over.ifs or over.is_async:
            raise UnsupportedSyntax(node, "a comprehension with a condition or several loops")
        inner = dict(scope)
        for item in self._items(over.iter, scope):
            self._follow(node, 1)
            self._bind(over.target, item, inner)
            yield inner

    def _name(self, node: ast.expr, name: str, scope: dict[str, Any]) -> Any:
        value = self._found(node, name, scope)
        self._follow(node, _size(value, _MOST - self._followed))
        return value

    def _found(self, node: ast.expr, name: str, scope: dict[str, Any]) -> Any:
        for names in (scope, self.module):
            if name in names:
                if isinstance(names[name], UnsupportedSyntax):
                    raise names[name]
                return names[name]
        raise UnsupportedSyntax(node, f"the name {name!r}")

    def _follow(self, node: ast.AST, much: int) -> None:
        self._followed += much
        if self._followed > _MOST:
            raise UnsupportedSyntax(node, "too many iterations, calls or values")

    def _members(
        self, keys: list[ast.expr | None], items: list[ast.expr], scope: dict[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        for key, item in zip(keys, items, strict=True):
            value = self.value(item, scope)
            if key is None:
                if not isinstance(value, dict):
                    raise UnsupportedSyntax(item, "a dict of run-time values")
                yield from value.items()
                continue
            name = self.value(key, scope)
            if not isinstance(name, str):
                raise UnsupportedSyntax(key, "a dict key that is not a string")
            yield name, value

    def _sequence(
        self, items: list[ast.expr], scope: dict[str, Any], function: Any = None
    ) -> list[Any]:
        """The values of items; of positional arguments if there is a ``function``."""
        result: list[Any] = []
        for item in items:
            if isinstance(item, ast.Starred):
                result += self._items(item.value, scope)
            else:
                result.append(self._argument(function, len(result), item, scope))
        return result

    def _argument(
        self, function: Any, argument: str | int, node: ast.expr, scope: dict[str, Any]
    ) -> Any:
        """The value of an argument; a function that is carried is not evaluated."""
        found = self.code(node) if is_code(function, argument) else None
        return self.value(node, scope) if found is None else found

    def code(self, node: ast.expr) -> Any:
        """The functions that an expression names; None if it names none."""
        try:
            return read_code(node, self.source)
        except NotSelfContained as why:
            raise UnsupportedSyntax(node, f"a function that {why}") from None

    def _computed(self, node: ast.expr, function: Callable[..., Any], *operands: Any) -> Any:
        if not all(isinstance(one, PLAIN) and _size(one) <= _LONGEST for one in operands):
            raise UnsupportedSyntax(node, "a computation with run-time values")
        if function is operator.mul and not all(isinstance(one, int | float) for one in operands):
            raise UnsupportedSyntax(node, "a repeated sequence")
        try:
            result = function(*operands)
        except (ArithmeticError, TypeError) as error:
            raise FlowSyntaxError(node, error) from error
        if isinstance(result, int) and result.bit_length() > _WIDEST:
            raise UnsupportedSyntax(node, "a number with too many digits")
        return result

    def _source_text(self, node: ast.expr, parts: list[ast.expr], scope: dict[str, Any]) -> Any:
        """An f-string: a string if all parts are known, otherwise a Join."""
        found: list[Any] = []
        for part in parts:
            if isinstance(part, ast.FormattedValue):
                if part.format_spec is not None or part.conversion not in (-1, 115):
                    raise UnsupportedSyntax(part, "a format in an f-string")
                value = self.value(part.value, scope)
                value = value._get if isinstance(value, Properties) else value
            else:
                value = self.value(part, scope)
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                if found and isinstance(found[-1], str):
                    found[-1] += str(value)
                else:
                    found.append(str(value))
            elif is_expression(value):
                found.append(value)
            else:
                raise UnsupportedSyntax(
                    node, "an f-string with other parts than strings, numbers and references"
                )
        if all(isinstance(one, str) for one in found):
            return "".join(found)
        return Join(tuple(found), "")

    def _attribute(self, node: ast.expr, base: Any, name: str) -> Any:
        match base:
            case ConditionHandle() if name in ("met", "unmet"):
                return lambda: _Block(base, "if_steps" if name == "met" else "else_steps")
            case ForEachHandle() if name == "body":
                return lambda: _Block(base, name)
            case StepHandle() if name == "properties":
                return base.properties
            case StepHandle() if name == "name":
                return base.name
            case Properties() if not name.startswith("_"):
                return getattr(base, name)
            case Module(members) if name in members:
                return members[name]
            case dict() if name in ("items", "keys", "values"):
                return lambda: list(getattr(base, name)())
        if base is expressions.execution and not name.startswith("_") and hasattr(base, name):
            return getattr(base, name)
        raise UnsupportedSyntax(node, f"the attribute {name!r}")

    def _item(self, node: ast.expr, base: Any, key: Any) -> Any:
        if isinstance(base, Properties | dict | list | tuple) and isinstance(key, str | int):
            try:
                return base[key]  # type: ignore[index]
            except (LookupError, TypeError) as error:
                raise FlowSyntaxError(node, error) from error
        raise UnsupportedSyntax(node, "an item of a run-time value")

    def _call(self, node: ast.Call, scope: dict[str, Any]) -> Any:
        function = self.value(node.func, scope)
        positional = self._sequence(node.args, scope, function)
        named = dict(self._keywords(node.keywords, scope, function))
        if isinstance(function, ast.FunctionDef):
            return self._helper(node, function, positional, named)
        if not callable(function):
            raise UnsupportedSyntax(node, "a call of an unknown function")
        try:
            result = function(*positional, **named)
        except NotSelfContained as why:
            raise UnsupportedSyntax(node, f"a function that {why}") from None
        except (TypeError, ValueError, AttributeError, SagebridgeError) as error:
            raise FlowSyntaxError(node, error) from error
        if isinstance(result, StepHandle):
            self.lines.setdefault(result.name, node.lineno)
        return result

    def _keywords(
        self, keywords: list[ast.keyword], scope: dict[str, Any], function: Any
    ) -> Iterator[tuple[str, Any]]:
        for keyword in keywords:
            value = self._argument(function, keyword.arg or "", keyword.value, scope)
            if keyword.arg is not None:
                yield keyword.arg, value
            elif isinstance(value, dict):
                yield from value.items()
            else:
                raise UnsupportedSyntax(keyword.value, "run-time values as arguments")

    def _helper(
        self,
        node: ast.Call,
        function: ast.FunctionDef,
        positional: list[Any],
        named: dict[str, Any],
    ) -> Any:
        """Call a helper function of the same file."""
        arguments = function.args
        if arguments.vararg or arguments.kwarg or arguments.posonlyargs or function.decorator_list:
            what = "with decorators, *args, **kwargs or positional-only arguments"
            raise UnsupportedSyntax(node, f"a call of {function.name}() {what}")
        if self._depth > 50:
            raise UnsupportedSyntax(node, "a recursive function")
        self._follow(node, 1)
        asked = [one.arg for one in arguments.args]
        scope = dict(zip(asked, positional, strict=False)) | named
        for name, default in _defaults(arguments):
            if name not in scope:
                scope[name] = self.value(default, {})
        known = {*asked, *(one.arg for one in arguments.kwonlyargs)}
        if len(positional) > len(asked) or set(scope) != known:
            raise FlowSyntaxError(
                node, TypeError(f"{function.name}() does not accept these arguments")
            )
        with self._deeper():
            try:
                self._block(function.body, scope)
            except _ReturnValue as returned:
                return returned.value
        return None

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    with_default = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    for argument, default in zip(with_default, arguments.defaults, strict=True):
        yield argument.arg, default
    for argument, asked in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if asked is not None:
            yield argument.arg, asked


def _leaves(body: list[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Return) for one in body for node in ast.walk(one))


def _size(value: Any, most: int = _LONGEST) -> int:
    """The size in characters, bits and items, nested ones included; counts up to about ``most``."""
    size, pending = 0, [value]
    while pending and size <= most:
        match pending.pop():
            case str() as text:
                size += len(text)
            case int() as number:
                size += number.bit_length()
            case list() | tuple() as items:
                size += len(items)
                pending += items
            case dict() as members:
                size += len(members)
                pending += members.values()
    return size
