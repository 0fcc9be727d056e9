"""The values of expressions in a flow: known ones, run-time values, and tests of them."""

from __future__ import annotations

import ast
import asyncio
import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CoroutineType, FunctionType
from typing import TYPE_CHECKING, Any

from sagebridge.errors import FlowError
from sagebridge.formats.prefect.recording import code_steps
from sagebridge.formats.prefect.recording.code_steps import Frame, result_type
from sagebridge.formats.prefect.recording.symbols import (
    RunTimeValueUsed,
    Symbol,
    TaskStateUsed,
    UnsupportedValue,
    holds_symbol,
    is_symbol,
    text,
    type_of,
    with_expressions,
)
from sagebridge.formats.prefect.source.engine_calls import EngineCalls, is_own
from sagebridge.formats.prefect.source.purity import UNKNOWN, Purity, resolved
from sagebridge.formats.prefect.tracing.branch_tests import (
    NeedsCode,
    NotFollowed,
    Tests,
)
from sagebridge.formats.prefect.tracing.loops import Loops
from sagebridge.formats.prefect.tracing.special_values import handle_type
from sagebridge.formats.prefect.tracing.syntax import used
from sagebridge.model.expressions import Get, Join, Properties

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.branches import Branches
    from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Expressions:
    """Evaluates expressions for a trace."""

    branches: Branches

    def __init__(self, trace: FlowTrace) -> None:
        self.trace, self.file = trace, trace.file
        self.purity = Purity(trace.file)
        self.no_code = self.in_foreach = False
        self.engine = EngineCalls(trace.file)
        self.tests, self.loops = Tests(self), Loops(self)

    # Values

    def code_value(self, node: ast.expr, frame: Frame, wanted: str = "") -> Any:
        """The value of an expression; a step computes it if it needs code."""
        try:
            return self.value(node, frame, wanted)
        except NeedsCode as needs:
            if needs.node is None or self.no_code:
                raise NeedsCode(node) from None
            return self.expression_step(needs.node, frame, wanted)

    def expression_step(self, node: ast.expr, frame: Frame, wanted: str = "") -> Symbol:
        """A step that computes an expression."""
        kind, name = result_type(node), wanted or "value"
        try:
            code = code_steps.of_expression(node, self.file, frame, name, kind)
        except UnsupportedValue as why:
            step = self.trace.code_stub([node], name, f"it uses {why}", used([node], frame))
        else:
            pure = self.purity.of(node, frame.scope)
            step = self.trace.code(code, name, node.lineno, pure=pure)
        found = self.trace.result_of(step)
        return Symbol(found._expression, kind)

    def value(self, node: ast.expr, frame: Frame, wanted: str = "") -> Any:
        """The value of an expression. Raises :class:`NeedsCode` if a step must compute it."""
        match node:
            case ast.Await(value=ast.Call(func=function, args=given) as call) if resolved(
                function, frame.scope
            ) in (asyncio.gather, *_PASSING) and all(self._is_result(one, frame) for one in given):
                return self._made(call, resolved(function, frame.scope), frame)
        if not self.engine.calls(node, frame.scope):
            return self.plain_value(node, frame)
        match node:
            case ast.Await(value=inner):
                return self._awaited(self.value(inner, frame))
            case ast.List(elts=items):
                return list(self._items(items, frame))
            case ast.Tuple(elts=items):
                return tuple(self._items(items, frame))
            case ast.Dict(keys=keys, values=values):
                return self._dict(keys, values, frame)
            case ast.IfExp():
                return self._choice(node, frame, wanted)
            case ast.NamedExpr(target=target, value=inner):
                found = self.code_value(inner, frame, target.id)
                frame.set(target.id, found)
                return found
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                return self.loops.comprehension(node, frame)
            case ast.Call():
                return self._call(node, frame)
            case ast.Name() | ast.Lambda():
                return self.native(node, frame)
        return self.plain_value(self.lifted(node, frame), frame)

    @staticmethod
    def _is_result(node: ast.expr, frame: Frame) -> bool:
        """Whether an argument has the results of tasks that were called before."""
        node = node.value if isinstance(node, ast.Starred) else node
        return isinstance(node, ast.Name) and holds_symbol(frame.scope.get(node.id))

    def plain_value(self, node: ast.expr, frame: Frame) -> Any:
        """The value of an expression that calls no task."""
        if self.purity.of(node, frame.scope):
            try:
                return self.native(node, frame)
            except (TaskStateUsed, FlowError):
                raise
            except (RunTimeValueUsed, Exception):  # noqa: BLE001, S110 - the step raises it
                pass
        match node:
            case ast.Await(value=inner):
                found = self.plain_value(inner, frame)
                if not is_symbol(found):
                    raise NeedsCode(node)
                return found
            case ast.JoinedStr(values=parts):
                return self._text([self._part(one, node, frame) for one in parts], node)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                found = [self.inner(one, node, frame) for one in (left, right)]
                if any(type(one) is str or type_of(one) == "String" for one in found):
                    return self._text(found, node)
            case ast.BinOp(left=ast.Constant(value=str() as form), op=ast.Mod(), right=right):
                given = right.elts if isinstance(right, ast.Tuple) else [right]
                pieces: list[Any] = list(form.split("%s"))
                if len(pieces) == len(given) + 1 and not any("%" in one for one in pieces):
                    for at, one in enumerate(given):
                        pieces.insert(2 * at + 1, self.inner(one, node, frame))
                    return self._text(pieces, node)
            case ast.Call(func=ast.Name(id="str"), args=[only], keywords=[]):
                return self._text([self.inner(only, node, frame)], node)
            case ast.Call(
                func=ast.Attribute(value=ast.Constant(value=str() as on), attr="join"), args=[only]
            ):
                items = self.inner(only, node, frame)
                if not is_symbol(items) and all(_joins(one) for one in items):
                    return Symbol(text(list(items), on), "String")
            case ast.Subscript(value=owner, slice=ast.Constant(value=key)):
                return self._item(self.inner(owner, node, frame), key, node)
            case ast.Attribute(value=owner, attr=name):
                found = self.inner(owner, node, frame)
                if name == "value" and is_symbol(found) and self.trace.is_enumeration(found):
                    return Symbol(found._expression, found._type)
            case ast.List(elts=elements):
                return [self.inner(one, node, frame) for one in elements]
            case ast.Tuple(elts=elements):
                return tuple(self.inner(one, node, frame) for one in elements)
            case ast.Dict(keys=keys, values=values) if all(keys):
                return {
                    self.native(key, frame): self.inner(value, node, frame)
                    for key, value in zip(keys, values, strict=True)
                    if key is not None
                }
            case ast.IfExp():
                test = self.tests.decided(node.test, frame, own_step=False)
                if isinstance(test, bool):
                    return self.value(node.body if test else node.orelse, frame)
            case ast.BoolOp(op=op, values=values):
                return self._first_of(isinstance(op, ast.Or), values, node, frame)
            case ast.ListComp() | ast.DictComp() | ast.SetComp():
                return self._quiet_comprehension(node, frame)
            case ast.Call():
                return self._quiet_call(node, frame)
        return self._unknown(node, frame)

    def _unknown(self, node: ast.expr, frame: Frame) -> Symbol:
        if (kind := handle_type(node, frame)) is not None:
            return Symbol(None, kind, node)
        raise NeedsCode(node)

    def inner(self, node: ast.expr, whole: ast.expr, frame: Frame) -> Any:
        """A part of an expression; if it needs code, the whole does, unless it is an argument."""
        try:
            return self.plain_value(node, frame)
        except NeedsCode:
            if self.trace.in_step and not self.no_code:
                return self.expression_step(node, frame)
            raise NeedsCode(whole) from None

    def native(self, node: ast.expr, frame: Frame) -> Any:
        found = eval(self.file.compiled(node, "eval"), frame.scope)  # noqa: S307 - the file's own code
        return self._awaited(found)

    def _awaited(self, value: Any) -> Any:
        if type(value) is not CoroutineType:
            return value
        try:
            value.send(None)
        except StopIteration as ended:
            return ended.value
        value.close()
        raise RunTimeValueUsed

    def _text(self, parts: Sequence[Any], node: ast.expr) -> Any:
        if not all(map(_joins, parts)):
            raise NeedsCode(node)
        return Symbol(text(parts), "String")

    def _part(self, node: ast.expr, whole: ast.expr, frame: Frame) -> Any:
        """A part of an f-string."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.FormattedValue(value=inner, conversion=-1 | 115, format_spec=None):
                found = self.inner(inner, whole, frame)
                return found if is_symbol(found) or isinstance(found, Properties) else str(found)
            case ast.FormattedValue(value=inner):
                if not holds_symbol(self.inner(inner, whole, frame)):
                    return self.native(ast.JoinedStr([node]), frame)
        raise NeedsCode(whole)

    def _item(self, owner: Any, key: Any, node: ast.expr) -> Any:
        try:
            return owner[key]
        except RunTimeValueUsed:
            raise NeedsCode(node) from None
        except (LookupError, TypeError):
            raise NeedsCode(node) from None

    def _first_of(
        self, wanted: bool, values: Sequence[ast.expr], node: ast.expr, frame: Frame
    ) -> Any:
        """``or`` and ``and`` with known values before a run-time value."""
        for one in values[:-1]:
            found = self.inner(one, node, frame)
            if is_symbol(found):
                raise NeedsCode(node)
            if bool(found) is wanted:
                return found
        return self.inner(values[-1], node, frame)

    def _items(self, nodes: Sequence[ast.expr], frame: Frame) -> Iterator[Any]:
        for one in nodes:
            if isinstance(one, ast.Starred):
                found = self.loops.items(one.value, frame)
                if is_symbol(found):
                    raise NotFollowed(one.lineno, "a call with a run-time list of arguments")
                yield from found
            else:
                yield self.code_value(one, frame)

    def _dict(
        self, keys: Sequence[ast.expr | None], values: Sequence[ast.expr], frame: Frame
    ) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, value in zip(keys, values, strict=True):
            found = self.code_value(value, frame)
            if key is None:
                if is_symbol(found):
                    raise NotFollowed(value.lineno, "** of a run-time value")
                made.update(found)
            else:
                made[self.native(key, frame)] = found
        return made

    def _choice(self, node: ast.IfExp, frame: Frame, wanted: str) -> Any:
        test = self.tests.decided(node.test, frame)
        if isinstance(test, bool):
            return self.value(node.body if test else node.orelse, frame)
        name = wanted or frame.free("value")
        made = ast.If(
            node.test,
            [ast.Assign([ast.Name(name, ast.Store())], node.body)],
            [ast.Assign([ast.Name(name, ast.Store())], node.orelse)],
        )
        self.branches.both(
            ast.fix_missing_locations(ast.copy_location(made, node)), test, frame, ()
        )
        return frame.scope[name]

    def _quiet_comprehension(self, node: Any, frame: Frame) -> Any:
        """A comprehension over known items, if it needs no step."""
        return self._quietly(lambda: self.loops.comprehension(node, frame), node)

    @staticmethod
    def inside(frame: Frame) -> Frame:
        return Frame(dict(frame.scope), frame.definition, dict(frame.own), frame.statements)

    def _quietly(self, follow: Callable[[], Any], node: ast.expr) -> Any:
        before, self.no_code = self.no_code, True
        state = self.trace.saved()
        try:
            return follow()
        except (NeedsCode, NotFollowed, RunTimeValueUsed):
            self.trace.restore(state)
            raise NeedsCode(node) from None
        finally:
            self.no_code = before

    def assign(self, target: ast.expr, value: Any, frame: Frame) -> None:
        raise NotImplementedError

    def call_function(self, function: Any, arguments: Sequence[Any], named: Any) -> Any:
        raise NotImplementedError

    # Calls

    def lifted(self, node: ast.expr, frame: Frame) -> ast.expr:
        """The expression with the results of its calls of tasks in the place of these calls."""
        owner = self

        class Lifter(ast.NodeTransformer):
            def visit(self, one: ast.AST) -> Any:
                if isinstance(one, ast.Lambda) or not owner.engine.calls(one, frame.scope):
                    return one
                if isinstance(one, ast.Name):
                    return one
                if isinstance(one, ast.BoolOp) and any(
                    owner.engine.calls(part, frame.scope) for part in one.values[1:]
                ):
                    raise NotFollowed(one.lineno, "a task that runs by a run-time value")
                calls = isinstance(one, ast.Call) and owner.makes_steps(one, frame)
                if calls or isinstance(one, (ast.Await, ast.IfExp, *_COMPREHENSIONS)):
                    assert isinstance(one, ast.expr)
                    names = owner.engine.names([one], frame.scope)
                    name = frame.free(f"{names[0]}_result")
                    frame.set(name, owner.code_value(one, frame, name))
                    return ast.copy_location(ast.Name(name, ast.Load()), one)
                return self.generic_visit(one)

        found = Lifter().visit(copy.deepcopy(node))
        assert isinstance(found, ast.expr)
        return found

    def makes_steps(self, node: ast.Call, frame: Frame) -> bool:
        """Whether the call itself makes steps, not only its arguments."""
        if any(isinstance(one, ast.Call) for one in ast.walk(node.func)):
            # load.with_options(…)(x) and load.with_options(…).submit(x)
            last = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            direct = isinstance(node.func, ast.Call) or last in ("submit", "map", "result")
            return direct and self.engine.calls(node.func, frame.scope)
        return self.engine.is_engine(self._callee(node.func, frame))

    def _callee(self, node: ast.expr, frame: Frame) -> Any:
        """The function that is called, if no call must be made to find it."""
        found = resolved(node, frame.scope)
        called = any(isinstance(one, ast.Call) for one in ast.walk(node))
        if found is UNKNOWN and not called and self.engine.calls(node, frame.scope):
            try:
                return self.native(node, frame) if self.purity.of(node, frame.scope) else UNKNOWN
            except RunTimeValueUsed:
                raise NotFollowed(node.lineno, "the task is only known at run time") from None
            except Exception:  # noqa: BLE001 - it is evaluated again when it is called
                return UNKNOWN
        return found

    def _call(self, node: ast.Call, frame: Frame) -> Any:
        if isinstance(node.func, ast.Attribute) and any(
            isinstance(one, ast.Call) for one in ast.walk(node.func.value)
        ):
            # load.submit(x).result(), load.with_options(…)(x)
            if self.engine.calls(node.func, frame.scope):
                owner = self.value(node.func.value, frame)
                name = frame.free("value")
                frame.scope[name] = owner
                made = ast.Attribute(ast.Name(name, ast.Load()), node.func.attr, ast.Load())
                node = ast.copy_location(ast.Call(made, node.args, node.keywords), node)
                ast.fix_missing_locations(node)
                if is_symbol(owner):
                    frame.own[name] = None
                    if not self.engine.calls(node, frame.scope):
                        return self.plain_value(node, frame)
        elif isinstance(node.func, ast.Call) and self.engine.calls(node.func, frame.scope):
            name = frame.free("value")
            frame.scope[name] = self.value(node.func, frame)
            made_call = ast.Call(ast.Name(name, ast.Load()), node.args, node.keywords)
            node = ast.fix_missing_locations(ast.copy_location(made_call, node))
        function = self._callee(node.func, frame)
        given = [*node.args, *(one.value for one in node.keywords)]
        own = self.file.definition(function) is not None and not hasattr(
            type(function), "with_options"
        )
        passes = own and any(
            self.engine.is_engine(resolved(one, frame.scope))
            for one in given
            if isinstance(one, ast.Name)
        )
        gathers = function in (asyncio.gather, *_PASSING)
        if not (self.engine.is_engine(function) or passes or gathers):
            lifted = self.lifted(node, frame)
            if ast.dump(lifted) == ast.dump(node):  # its names are passed on
                return self._made(node, function, frame)
            return self.plain_value(lifted, frame)
        return self._made(node, function, frame)

    def _made(self, node: ast.Call, function: Any, frame: Frame) -> Any:
        """The result of a call that makes steps."""
        module = getattr(function, "__module__", None) or ""
        is_step = is_own(module) and not module.startswith("sagebridge.formats")
        match node.args:
            case [ast.Starred(value=only)] if function is asyncio.gather:
                self.loops.at_once = True
                try:
                    found = self.loops.items(only, frame)
                finally:
                    self.loops.at_once = False
                return found if is_symbol(found) else list(found)
        before, self.trace.in_step = self.trace.in_step, self.trace.in_step or is_step
        try:
            arguments = list(self._items(node.args, frame))
            named: dict[str, Any] = {}
            for one in node.keywords:
                found = self.code_value(one.value, frame, one.arg or "")
                if one.arg is None:
                    if is_symbol(found):
                        raise NotFollowed(node.lineno, "** of a run-time value")
                    named.update(found)
                else:
                    named[one.arg] = found
        finally:
            self.trace.in_step = before
        if is_step:
            arguments, named = with_expressions(arguments), with_expressions(named)
        return self.invoke(function, node, arguments, named, frame)

    def invoke(
        self, function: Any, node: ast.Call, arguments: list[Any], named: Any, frame: Frame
    ) -> Any:
        """Call a task, step, flow or function of the file."""
        if function is asyncio.gather:
            return arguments
        if function in _PASSING:
            return arguments[0]
        function = self.native(node.func, frame)
        fn = getattr(function, "fn", None)
        if hasattr(type(function), "validate_parameters") and fn is not None:  # a Flow
            return self.trace.subflow(function, arguments, named)
        plain_function = isinstance(function, FunctionType) or inspect.ismethod(function)
        if plain_function and self.file.definition(function) is not None:
            return self.call_function(function, arguments, named)
        names = {f"__argument_{at}__": one for at, one in enumerate((*arguments, *named.values()))}
        frame.scope.update(names, __function__=function)
        given: list[ast.expr] = [ast.Name(name, ast.Load()) for name in names]
        keywords = [ast.keyword(key, given[len(arguments) + at]) for at, key in enumerate(named)]
        called = ast.Call(ast.Name("__function__", ast.Load()), given[: len(arguments)], keywords)
        try:
            return self.native(ast.copy_location(called, node), frame)
        except RunTimeValueUsed:
            raise NotFollowed(
                node.lineno, f"{ast.unparse(node.func)}() of a run-time value"
            ) from None
        except FlowError:
            raise
        except Exception as error:  # noqa: BLE001 - an error of the flow
            what = f"raises {type(error).__name__}: {error}"
            raise NotFollowed(node.lineno, what) from None

    def _quiet_call(self, node: ast.Call, frame: Frame) -> Any:
        """A call of a function of the file that calls no task, if its result needs no step."""
        function = resolved(node.func, frame.scope)
        if not isinstance(function, FunctionType) or self.file.definition(function) is None:
            return self._unknown(node, frame)
        try:
            return self._quietly(lambda: self._made(node, function, frame), node)
        except NeedsCode:
            return self._unknown(node, frame)

    def context_manager(self, node: ast.expr, frame: Frame) -> Any:
        """A context manager; those of the file are made too, although they act at run time."""
        function = resolved(node.func, frame.scope) if isinstance(node, ast.Call) else UNKNOWN
        if self.file.definition(function) is not None and not self.engine.is_engine(function):
            return self.native(node, frame)
        return self.code_value(node, frame)

    @contextmanager
    def entered(self, manager: Any, node: ast.expr) -> Iterator[Any]:
        """Enter a context manager of the file or of Prefect."""
        kind = type(manager)
        waits = not hasattr(kind, "__enter__")
        enter, leave = ("__aenter__", "__aexit__") if waits else ("__enter__", "__exit__")
        if not hasattr(kind, enter):
            raise NotFollowed(node.lineno, f"with {ast.unparse(node)}")
        value = self._awaited(getattr(kind, enter)(manager))
        try:
            yield value
        finally:
            self._awaited(getattr(kind, leave)(manager, None, None, None))


_PASSING = (
    asyncio.create_task,
    asyncio.ensure_future,
    asyncio.shield,
    asyncio.wait_for,
    asyncio.run,
)
"""Functions that run their first argument."""


def _joins(value: Any) -> bool:
    """Whether a Join converts a value to a string as Python does."""
    if not is_symbol(value):
        return isinstance(value, str | int | Get | Join | Properties)
    if value._code is not None:
        return False
    get = value._expression
    if type(get) is Get and get.root in ("Parameters", "Execution"):
        return bool(value._type != "Boolean")
    return value._type in ("String", "Integer")
