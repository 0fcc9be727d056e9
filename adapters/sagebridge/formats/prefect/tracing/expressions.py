"""The values of expressions in a flow: known ones, run-time values, and calls of tasks."""

from __future__ import annotations

import ast
import asyncio
import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import CoroutineType, FunctionType
from typing import TYPE_CHECKING, Any

from sagebridge.errors import FlowError
from sagebridge.formats.prefect.recording import code_steps
from sagebridge.formats.prefect.recording.code_steps import Frame, handle_type, result_type
from sagebridge.formats.prefect.recording.flow_arguments import is_enumeration
from sagebridge.formats.prefect.recording.symbols import (
    JSON,
    NeedsCode,
    NotFollowed,
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
from sagebridge.formats.prefect.source.statements import at, is_submit, value_name
from sagebridge.formats.prefect.tracing.branch_tests import SCALARS, Tests
from sagebridge.formats.python.import_guard import trial
from sagebridge.model.expressions import Get, Join, Properties, current_item, plain

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_PARTIAL = (ast.BoolOp, ast.IfExp, ast.Lambda, *_COMPREHENSIONS)
_PASSING = (
    asyncio.create_task,
    asyncio.ensure_future,
    asyncio.shield,
    asyncio.wait_for,
    asyncio.run,
)
"""Functions that run their first argument."""


class Expressions:
    """Evaluates expressions for a trace."""

    def __init__(self, trace: FlowTrace) -> None:
        self.trace, self.file = trace, trace.file
        self.purity, self.engine = Purity(trace.file), EngineCalls(trace.file)
        self.depth, self.no_code, self.in_foreach, self.at_once = 0, False, False, False
        self.tests = Tests(self)

    def assign(self, target: ast.expr, value: Any, frame: Frame) -> None:
        raise NotImplementedError

    def call_function(self, function: Any, arguments: Sequence[Any], named: Any) -> Any:
        raise NotImplementedError

    def follow_if(self, node: ast.If, frame: Frame, rest: Sequence[ast.stmt] | None) -> None:
        raise NotImplementedError

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
        kind, name = result_type(node), wanted or value_name(node) or "value"
        node = self._with_assigned(node, frame)
        try:
            code = code_steps.of_expression(node, self.file, frame, name, kind)
        except UnsupportedValue as why:
            step = self.trace.code_stub([node], name, f"it uses {why}", frame.used([node]))
        else:
            pure = self.purity.of(node, frame.scope)
            step = self.trace.code(code, name, node.lineno, pure=pure)
        return self.trace.result_of(step, kind)

    def _with_assigned(self, node: ast.expr, frame: Frame) -> ast.expr:
        """The expression, whose walrus operators are variables of the function from now on."""
        partial = [one for one in ast.walk(node) if isinstance(one, _PARTIAL)]
        if any(isinstance(it, ast.NamedExpr) for one in partial for it in ast.walk(one)):
            raise NotFollowed(node.lineno, "a walrus operator that only some values reach")
        owner = self

        class Assigner(ast.NodeTransformer):
            def visit_NamedExpr(self, one: ast.NamedExpr) -> ast.expr:
                owner.assign(one.target, owner.code_value(one.value, frame, one.target.id), frame)
                return at(ast.Name(one.target.id, ast.Load()), one)

        made: ast.expr = Assigner().visit(copy.deepcopy(node))
        return made

    def value(self, node: ast.expr, frame: Frame, wanted: str = "") -> Any:
        """The value of an expression. Raises :class:`NeedsCode` if a step must compute it."""
        if not self.engine.calls(node, frame.scope):
            return self.plain_value(node, frame)
        match node:
            case ast.Await(value=inner):
                return self._awaited(self.value(inner, frame))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                name = wanted or frame.free("value")
                store = ast.Name(name, ast.Store())
                made = ast.If(test, [ast.Assign([store], body)], [ast.Assign([store], orelse)])
                self.follow_if(at(made, node), frame, ())
                return frame.scope[name]
            case ast.NamedExpr(target=target, value=inner):
                found = self.code_value(inner, frame, target.id)
                frame.set(target.id, found)
                return found
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                return self._comprehension(node, frame)
            case ast.Call():
                return self._call(node, frame)
            case ast.Name() | ast.Lambda():
                return self.native(node, frame)
        return self.plain_value(self.lifted(node, frame), frame)

    def plain_value(self, node: ast.expr, frame: Frame) -> Any:
        """The value of an expression that calls no task."""
        if self.purity.of(node, frame.scope):
            with suppress(NeedsCode):
                return self.tried(lambda: self.native(node, frame))

        def inner(one: ast.expr) -> Any:
            return self.inner(one, node, frame)

        match node:
            case ast.Await(value=ast.Call(func=passes, args=given) as call) if (
                passing := resolved(passes, frame.scope)
            ) in (asyncio.gather, *_PASSING) and not any(map(_has_call, given)):
                return self._made(call, passing, frame)
            case ast.Await(value=awaited):
                if is_symbol(found := self.plain_value(awaited, frame)):
                    return found
            case ast.JoinedStr(values=values):
                return self._text([self._part(one, node, frame) for one in values], node)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                parts = [inner(left), inner(right)]
                if any(type(one) is str or type_of(one) == "String" for one in parts):
                    return self._text(parts, node)
            case ast.BinOp(left=ast.Constant(value=str() as form), op=ast.Mod(), right=right):
                given = right.elts if isinstance(right, ast.Tuple) else [right]
                first, *others = form.split("%s")
                if len(others) == len(given) and not any("%" in one for one in (first, *others)):
                    pairs = zip(map(inner, given), others, strict=True)
                    return self._text([first, *(one for pair in pairs for one in pair)], node)
            case ast.Call(func=ast.Name(id="str"), args=[only], keywords=[]):
                return self._text([inner(only)], node)
            case ast.Call(
                func=ast.Attribute(value=ast.Constant(value=str() as on), attr="join"), args=[only]
            ):
                items = inner(only)
                if not is_symbol(items) and all(map(_joins, items)):
                    return Symbol(text(list(items), on), "String")
            case ast.Subscript(value=owner, slice=ast.Constant(value=key)):
                try:
                    return inner(owner)[key]
                except (RunTimeValueUsed, LookupError, TypeError):
                    raise NeedsCode(node) from None
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if (
                is_symbol(model := frame.scope.get(name, "")) and attr in model._fields
            ):
                return model._field(attr)
            case ast.Attribute(value=owner, attr="value"):
                if is_symbol(found := inner(owner)) and is_enumeration(self.trace, found):
                    return Symbol(found._expression, found._type)
            case ast.List(elts=elements):
                return list(map(inner, elements))
            case ast.Tuple(elts=elements):
                return tuple(map(inner, elements))
            case ast.Dict(keys=keys, values=values) if all(keys):
                names = [self.native(key, frame) for key in keys if key is not None]
                return dict(zip(names, map(inner, values), strict=True))
            case ast.IfExp():
                try:
                    test = self.tests.decided(node.test, frame, own_step=False)
                except NeedsCode:
                    raise NeedsCode(node) from None
                if isinstance(test, bool):
                    return self.value(node.body if test else node.orelse, frame)
            case ast.BoolOp(op=op, values=values):
                # Known values may decide it before a run-time value.
                for one in values[:-1]:
                    if is_symbol(found := inner(one)):
                        raise NeedsCode(node)
                    if bool(found) is isinstance(op, ast.Or):
                        return found
                return inner(values[-1])
            case ast.ListComp() | ast.DictComp() | ast.SetComp():
                return self._quietly(lambda: self._comprehension(node, frame), node)
            case ast.Call():
                function = resolved(node.func, frame.scope)
                if self._is_followed(function):
                    try:
                        return self._quietly(lambda: self._made(node, function, frame), node)
                    except NeedsCode:
                        pass
        if (kind := handle_type(node, frame)) is not None:
            return Symbol(None, kind, node)
        raise NeedsCode(node)

    def tried(self, run: Callable[[], Any]) -> Any:
        """What executing code gives. Raises :class:`NeedsCode` if it needs run-time values."""
        before = len(self.trace.state.steps)
        try:
            with trial():
                return run()
        except (TaskStateUsed, FlowError):
            raise
        except (RunTimeValueUsed, Exception):  # noqa: BLE001 - the step raises it
            if len(self.trace.state.steps) > before:
                what = "it calls tasks where this cannot be seen"
                raise NotFollowed(self.trace.line(), what) from None
            raise NeedsCode(None) from None

    def _is_followed(self, function: Any) -> bool:
        """Whether it is a function of the file, other than a task or flow."""
        plain = getattr(function, "__func__", function)
        yields = inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain)
        is_own = isinstance(plain, FunctionType) and self.file.definition(plain) is not None
        return is_own and not yields

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

    def _quietly(self, follow: Callable[[], Any], node: ast.expr) -> Any:
        """What following code gives, if it makes no step of code."""
        before, self.no_code = self.no_code, True
        state = self.trace.saved()
        try:
            return follow()
        except (NeedsCode, NotFollowed, RunTimeValueUsed):
            self.trace.restore(state)
            raise NeedsCode(node) from None
        finally:
            self.no_code = before

    # Loops

    def items(self, node: ast.expr, frame: Frame) -> Any:
        """The items of an iterable: known ones, or a run-time list."""
        try:
            found = self.value(node, frame)
            if is_symbol(found) and found._code is not None:
                raise NotFollowed(node.lineno, f"a loop over {ast.unparse(node)}")
            if type_of(found) not in SCALARS:
                return found
        except NeedsCode as needs:
            if needs.node is None or self.no_code:
                raise NeedsCode(node) from None
            node = needs.node
        made = ast.Call(ast.Name("list", ast.Load()), [node], [])
        return self.expression_step(at(made, node), frame, value_name(node) or "items")

    def _comprehension(self, node: Any, frame: Frame) -> Any:
        frame, first = frame.inside(), node.generators[0]
        is_dict = isinstance(node, ast.DictComp)
        element = at(ast.Tuple([node.key, node.value], ast.Load()), node) if is_dict else node.elt
        items = self.items(first.iter, frame)
        if is_symbol(items) and len(node.generators) == 1 and not (first.ifs or is_dict):

            def iteration(item: Symbol) -> Any:
                self.assign(first.target, item, frame)
                return self.code_value(element, frame)

            submits = is_submit(element)
            return self.for_each(node.lineno, items, iteration, frame, futures=submits)
        rounds = self._rounds(node.generators, items, frame)
        found = [self.code_value(element, frame) for _ in rounds]
        if is_dict:
            return dict(found)
        return set(found) if isinstance(node, ast.SetComp) else found

    def _rounds(
        self, generators: Sequence[ast.comprehension], items: Any, frame: Frame
    ) -> Iterator[None]:
        """Set the variables of a comprehension over known items, round by round."""
        first, *others = generators
        if is_symbol(items):
            raise NotFollowed(first.iter.lineno, "a comprehension over a run-time list")
        for item in items:
            self.assign(first.target, item, frame)
            tests = [self.tests.decided(one, frame) for one in first.ifs]
            if not all(isinstance(one, bool) for one in tests):
                what = "a comprehension with a test of a run-time value"
                raise NotFollowed(first.iter.lineno, what)
            if not all(tests):
                continue
            if others:
                yield from self._rounds(others, self.items(others[0].iter, frame), frame)
            else:
                yield

    def for_each(
        self,
        line: int,
        items: Symbol,
        iteration: Callable[[Symbol], Any],
        frame: Frame,
        *,
        futures: bool = False,
        **settings: Any,
    ) -> Symbol:
        """A ForEach whose body makes the steps of one iteration; its result is their list."""
        if self.in_foreach or self.no_code:
            raise NotFollowed(line, "a loop in a loop over a run-time list")
        self.in_foreach = True
        try:
            in_turn = not (futures or self.at_once)
            with self.trace.loop(items, in_turn=in_turn, **settings) as (name, last):
                result = iteration(Symbol(plain(current_item)))
                if (made := last()) is None:
                    raise NotFollowed(line, "a loop without steps")
                get = result._expression if is_symbol(result) else None
                is_last = type(get) is Get and get.step == made and len(get.tokens) == 2
                if result is not None and not is_last:
                    inner = frame.inside()
                    inner.set("result", result)
                    node = at(ast.Name("result", ast.Load()), ast.Pass(lineno=line, col_offset=0))
                    self.expression_step(node, inner, "result")
        finally:
            self.in_foreach = False
        found = self.trace.result_of(name)
        return self.trace.future_of(found) if futures else found

    # Calls

    def lifted(self, node: ast.expr, frame: Frame) -> ast.expr:
        """The expression with the results of its calls of tasks in the place of these calls."""
        owner = self

        class Lifter(ast.NodeTransformer):
            def visit(self, one: ast.AST) -> Any:
                if isinstance(one, ast.Lambda | ast.Name) or not owner.engine.calls(
                    one, frame.scope
                ):
                    return one
                if isinstance(one, ast.BoolOp) and any(
                    owner.engine.calls(part, frame.scope) for part in one.values[1:]
                ):
                    raise NotFollowed(one.lineno, "a task that runs by a run-time value")
                calls = isinstance(one, ast.Call) and owner._makes_steps(one, frame)
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

    def _makes_steps(self, node: ast.Call, frame: Frame) -> bool:
        """Whether the call itself makes steps, not only its arguments."""
        if _has_call(node.func):
            # load.with_options(…)(x) and load.with_options(…).submit(x)
            last = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            direct = isinstance(node.func, ast.Call) or last in ("submit", "map", "result")
            return direct and self.engine.calls(node.func, frame.scope)
        return self.engine.is_engine(self._callee(node.func, frame))

    def _callee(self, node: ast.expr, frame: Frame) -> Any:
        """The function that is called, if no call must be made to find it."""
        found = resolved(node, frame.scope)
        if found is UNKNOWN and not _has_call(node) and self.engine.calls(node, frame.scope):
            try:
                return self.native(node, frame) if self.purity.of(node, frame.scope) else UNKNOWN
            except RunTimeValueUsed:
                raise NotFollowed(node.lineno, "the task is only known at run time") from None
            except Exception:  # noqa: BLE001 - it is evaluated again when it is called
                return UNKNOWN
        return found

    def _call(self, node: ast.Call, frame: Frame) -> Any:
        """The value of a call that makes steps, itself or in its arguments."""
        if _has_call(node.func) and self.engine.calls(node.func, frame.scope):
            # load.submit(x).result(), load.with_options(…)(x)
            node = at(ast.Call(self.lifted(node.func, frame), node.args, node.keywords), node)
            if not self.engine.calls(node, frame.scope):
                return self.plain_value(node, frame)
        function = self._callee(node.func, frame)
        if self.engine.is_engine(function) or function in (asyncio.gather, *_PASSING):
            return self._made(node, function, frame)
        lifted = self.lifted(node, frame)
        if ast.dump(lifted) == ast.dump(node):  # it gets tasks as arguments
            return self._made(node, function, frame)
        return self.plain_value(lifted, frame)

    def _made(self, node: ast.Call, function: Any, frame: Frame) -> Any:
        """The result of a call that makes steps."""
        match node.args:
            case [ast.Starred(value=only)] if function is asyncio.gather:
                self.at_once = True
                try:
                    found = self.items(only, frame)
                finally:
                    self.at_once = False
                return found if is_symbol(found) else list(found)
        module = getattr(function, "__module__", None) or ""
        is_step = is_own(module) and not module.startswith("sagebridge.formats")
        before, self.trace.in_step = self.trace.in_step, self.trace.in_step or is_step
        arguments, named = list[Any](), dict[str, Any]()
        try:
            for one in node.args:
                if isinstance(one, ast.Starred):
                    arguments += self.items(one.value, frame)
                else:
                    arguments.append(self.code_value(one, frame))
            for keyword in node.keywords:
                found = self.code_value(keyword.value, frame, keyword.arg or "")
                named.update(dict(found) if keyword.arg is None else {keyword.arg: found})
        finally:
            self.trace.in_step = before
        if is_step:
            arguments, named = with_expressions(arguments), with_expressions(named)
        if function is asyncio.gather:
            return arguments
        return arguments[0] if function in _PASSING else self._invoke(node, arguments, named, frame)

    def _invoke(self, node: ast.Call, arguments: list[Any], named: Any, frame: Frame) -> Any:
        """Call a task, step, flow or function of the file."""
        function = self.native(node.func, frame)
        if hasattr(type(function), "validate_parameters"):  # a Flow
            return self.trace.subflow(function, arguments, named)
        if self._is_followed(function):
            return self.call_function(function, arguments, named)
        # A call in the file itself, so that it is the innermost line of the file.
        frame.scope["__call__"] = lambda: function(*arguments, **named)
        call = at(ast.Call(ast.Name("__call__", ast.Load()), [], []), node)
        try:
            return self.native(call, frame)
        except RunTimeValueUsed:
            what = f"{ast.unparse(node.func)}() of a run-time value"
        except FlowError:
            raise
        except Exception as error:  # noqa: BLE001 - an error of the flow
            what = f"raises {type(error).__name__}: {error}"
        raise NotFollowed(node.lineno, what)


def _has_call(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Call) for one in ast.walk(node))


def _joins(value: Any) -> bool:
    """Whether a Join converts a value to a string as Python does."""
    if not is_symbol(value):
        return isinstance(value, str | int | Get | Join | Properties)
    get = value._expression
    if value._code is not None:
        return False
    if type(get) is Get and get.root in ("Parameters", "Execution"):
        return value._type not in ("Boolean", JSON)
    return value._type in ("String", "Integer")
