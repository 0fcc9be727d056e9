"""Follows the function of a flow, statement by statement.

What needs no run-time value is executed. A call of a task or step becomes a step, and so does other
code on run-time values. A test of one becomes a Condition, and a loop over one a ForEach.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sagebridge.errors import FlowError
from sagebridge.formats.prefect.constructs import statement_rule
from sagebridge.formats.prefect.recording import code_steps
from sagebridge.formats.prefect.recording.code_steps import Frame
from sagebridge.formats.prefect.recording.symbols import (
    RunTimeValueUsed,
    Symbol,
    TaskStateUsed,
    UnsupportedValue,
    is_symbol,
)
from sagebridge.formats.prefect.source.names import changed_names, loaded_names, stored_names
from sagebridge.formats.prefect.source.purity import resolved
from sagebridge.formats.prefect.tracing.branch_tests import NeedsCode, NotFollowed
from sagebridge.formats.prefect.tracing.branches import Branches, Returned
from sagebridge.formats.prefect.tracing.expressions import Expressions
from sagebridge.formats.prefect.tracing.special_values import handle_type, output
from sagebridge.formats.prefect.tracing.syntax import (
    MOST_ROUNDS,
    controls,
    is_submit,
    leaves_function,
    restore,
    saved,
    target_name,
    used,
    verb,
)

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.flow_trace import FlowTrace


class _LoopControl(BaseException):
    def __init__(self, kind: type[ast.stmt]) -> None:
        self.kind = kind
        super().__init__()


class Interpreter(Expressions):
    """Follows functions of the file for a trace."""

    def __init__(self, trace: FlowTrace) -> None:
        super().__init__(trace)
        self.depth = 0
        self.branches = Branches(self)

    def call_function(self, function: Any, arguments: Sequence[Any], named: Any) -> Any:
        """The result of a function of the file, whose statements are followed."""
        definition = self.file.definition(function)
        assert definition is not None
        owner = getattr(function, "__self__", None)
        plain = getattr(function, "__func__", function)
        given = inspect.signature(plain).bind(*([owner] if owner else []), *arguments, **named)
        given.apply_defaults()
        closure = inspect.getclosurevars(plain).nonlocals
        frame = Frame({**plain.__globals__, **closure}, definition)
        for name, value in given.arguments.items():
            frame.set(name, value)
        if self.depth > 40:
            raise NotFollowed(definition.lineno, "the function calls itself")
        self.depth += 1
        try:
            return self.run(definition.body, frame)
        finally:
            self.depth -= 1

    def run(self, body: Sequence[ast.stmt], frame: Frame) -> Any:
        """The value that a body returns."""
        try:
            self.block(body, frame, ())
        except Returned as returned:
            if returned.failed:
                raise
            return returned.value
        return None

    def block(
        self, body: Sequence[ast.stmt], frame: Frame, after: Sequence[ast.stmt] | None
    ) -> None:
        """Follow statements; ``after`` follow them in the function, None inside a loop."""
        at = 0
        while at < len(body):
            rest = None if after is None else (*body[at + 1 :], *after)
            at += self._statement(body[at:], frame, rest)

    def _statement(
        self, body: Sequence[ast.stmt], frame: Frame, rest: Sequence[ast.stmt] | None
    ) -> int:
        """Follow the first statement; returns how many are done."""
        node = body[0]
        self.trace.position(node.lineno)
        if isinstance(node, ast.Global):
            rule = statement_rule("Global")
            assert rule is not None
            self.trace.report(*rule, line=node.lineno)
            return 1
        if self._is_output(node, frame):
            return 1
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._executed(node, frame)
            return 1
        if not self.engine.calls(node, frame.scope) and not controls(node):
            try:
                return self._plain(body, frame)
            except TaskStateUsed as error:
                raise _not_followed(error, node) from None
        state, names = self.trace.saved(), saved(frame)
        try:
            follow = self._method(node)
            follow(node, frame, rest)
        except (NotFollowed, RunTimeValueUsed) as error:
            why = error if isinstance(error, NotFollowed) else _not_followed(error, node)
            self.trace.restore(state)
            restore(frame, names)
            if self.in_foreach or self.no_code or why.whole or leaves_function(node):
                raise why from None
            self.in_place([node], frame, why)
        return 1

    def _method(self, node: ast.stmt) -> Callable[..., None]:
        if isinstance(node, ast.If):
            return self.branches.follow_if
        if isinstance(node, ast.Match):
            return self.branches.follow_match
        name = f"_follow_{type(node).__name__.lower()}"
        found: Callable[..., None] = getattr(self, name, self._other)
        return found

    # Statements without tasks

    def _plain(self, body: Sequence[ast.stmt], frame: Frame) -> int:
        """Execute a statement; if it needs run-time values, make it a step with the next ones."""
        if self._executed(body[0], frame):
            return 1
        run = [body[0]]
        stored = {*stored_names(body[0]), *changed_names(body[0])}
        if not stored:
            self.code_of(run, frame)
            return 1
        for node in body[1:]:
            joined = not stored.isdisjoint(loaded_names(node)) and not self._is_output(
                node, frame, report=False
            )
            if not joined or self.engine.calls(node, frame.scope) or controls(node):
                break
            run.append(node)
            stored |= {*stored_names(node), *changed_names(node)}
        self.code_of(run, frame)
        return len(run)

    def _executed(self, node: ast.stmt, frame: Frame) -> bool:
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                return True
            case ast.Nonlocal():
                return True
            case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.AsyncFunctionDef():
                self.execute(node, frame)
                for name in stored_names(node):
                    frame.statements[name] = node
                return True
            case ast.ClassDef():
                self.execute(node, frame)
                frame.statements[node.name] = node
                return True
        if self.purity.of(node, frame.scope):
            names = saved(frame)
            try:
                self.execute(node, frame)
            except TaskStateUsed:
                raise
            except RunTimeValueUsed:
                restore(frame, names)
            except FlowError:
                raise
            except Exception:  # noqa: BLE001 - the step raises it
                restore(frame, names)
            else:
                return True
        try:
            match node:
                case ast.Assign(targets=targets, value=value):
                    self._assign(targets, self.value(value, frame), frame)
                    return True
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._assign([target], self.value(value, frame), frame)
                    return True
        except (NeedsCode, RunTimeValueUsed):
            pass
        return False

    def execute(self, node: ast.stmt, frame: Frame) -> None:
        stored = stored_names(node)
        for name in stored:
            frame.statements.pop(name, None)
        exec(self.file.compiled(node), frame.scope)  # noqa: S102 - the file's own code
        for name in stored:
            if name in frame.scope:
                frame.own[name] = None
            else:
                frame.own.pop(name, None)

    def code_of(self, nodes: Sequence[ast.stmt], frame: Frame) -> None:
        """A step of statements on run-time values; its results are the variables used later."""
        if self.no_code:
            raise NeedsCode(None)
        match nodes:
            case [ast.Assign(targets=[ast.Name(id=name)], value=value)]:
                if (kind := handle_type(value, frame)) is not None:
                    frame.set(name, Symbol(None, kind, value))
                    return
        results = self._results(nodes, frame)
        wanted = results[0] if results else verb(nodes[0])
        try:
            code = code_steps.of_statements(nodes, results, self.file, frame, wanted)
        except UnsupportedValue as why:
            name = self.trace.code_stub(nodes, wanted, f"it uses {why}", used(nodes, frame))
        else:
            name = self.trace.code(code, wanted, nodes[0].lineno)
        self._set_results(name, results, frame)

    def _results(self, nodes: Sequence[ast.stmt], frame: Frame) -> list[str]:
        """The variables that statements set or change and that the function uses elsewhere."""
        inside = {id(one) for node in nodes for one in ast.walk(node)}
        used = {
            one.id
            for one in ast.walk(frame.definition)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and id(one) not in inside
        }
        stored = [name for node in nodes for name in stored_names(node)]
        changed = [
            name
            for node in nodes
            for name in changed_names(node)
            if name in frame.own and name not in frame.statements
        ]
        return [name for name in dict.fromkeys((*stored, *changed)) if name in used]

    def _set_results(self, step: str, results: Sequence[str], frame: Frame) -> None:
        value = self.trace.result_of(step)
        for name in results:
            frame.statements.pop(name, None)
            frame.set(name, value if len(results) == 1 else value[name])

    def in_place(self, nodes: Sequence[ast.stmt], frame: Frame, why: NotFollowed) -> None:
        """One step of statements with calls of tasks, which the step makes itself."""
        results = self._results(nodes, frame)
        names = self.engine.names(nodes, frame.scope)
        wanted = results[0] if results else names[0] if names else "tasks"
        try:
            code = code_steps.of_statements(nodes, results, self.file, frame, wanted)
        except UnsupportedValue as error:
            what = f"{why.what}; it uses {error}"
            name = self.trace.code_stub(nodes, wanted, what, used(nodes, frame))
        else:
            name = self.trace.code(code, wanted, nodes[0].lineno, own=True)
            what = f"{why.what}: step {name} calls its tasks itself"
            self.trace.report(why.code, "changed", what, line=why.line, step=name)
        self._set_results(name, results, frame)

    def _is_output(self, node: ast.stmt, frame: Frame, *, report: bool = True) -> bool:
        """Whether a statement only prints or logs; its tasks are called."""
        match node:
            case ast.Expr(value=ast.Call() as call) if what := output(call, frame, self):
                if report:
                    given = (*call.args, *(keyword.value for keyword in call.keywords))
                    for part in given:
                        if self.engine.calls(part, frame.scope):
                            self.lifted(part, frame)
                    said = f"{what}: output of the flow body is not carried over"
                    self.trace.report("output", "info", said, line=node.lineno)
                return True
            case ast.If(body=body, orelse=orelse):
                inner = (*body, *orelse)
                if self.engine.calls(node, frame.scope) or not all(
                    isinstance(one, ast.Pass) or self._is_output(one, frame, report=False)
                    for one in inner
                ):
                    return False
                if report:
                    for one in inner:
                        self._is_output(one, frame)
                return True
        return False

    # Statements with tasks, or that leave the function

    def _other(self, node: ast.stmt, frame: Frame, rest: Any) -> None:
        del frame, rest
        raise NotFollowed(node.lineno, f"{type(node).__name__.lower()} around tasks")

    def _follow_expr(self, node: ast.Expr, frame: Frame, rest: Any) -> None:
        del rest
        if isinstance(node.value, ast.Yield | ast.YieldFrom):
            self.trace.yields(node.lineno, frame)
            if node.value.value is not None:
                self.code_value(node.value.value, frame)
            return
        try:
            self.value(node.value, frame)
        except NeedsCode as needs:
            if needs.node is None or self.no_code:
                raise
            statement = ast.copy_location(ast.Expr(needs.node), node)
            self.code_of([statement], frame)

    def _follow_assign(self, node: ast.Assign, frame: Frame, rest: Any) -> None:
        del rest
        value = self.code_value(node.value, frame, target_name(node))
        try:
            self._assign(node.targets, value, frame)
        except (NeedsCode, RunTimeValueUsed):
            name = frame.free("value")
            frame.set(name, value)
            made = ast.Assign(node.targets, ast.Name(name, ast.Load()))
            self.code_of([ast.fix_missing_locations(ast.copy_location(made, node))], frame)

    def _follow_annassign(self, node: ast.AnnAssign, frame: Frame, rest: Any) -> None:
        del rest
        if node.value is not None:
            value = self.code_value(node.value, frame, target_name(node))
            self._assign([node.target], value, frame)

    def _follow_augassign(self, node: ast.AugAssign, frame: Frame, rest: Any) -> None:
        del rest
        changed = ast.AugAssign(node.target, node.op, self.lifted(node.value, frame))
        self._plain([ast.fix_missing_locations(ast.copy_location(changed, node))], frame)

    def assign(self, target: ast.expr, value: Any, frame: Frame) -> None:
        """Set the names of a target."""
        if isinstance(target, ast.Tuple | ast.List) and is_symbol(value):
            if any(isinstance(one, ast.Starred) for one in target.elts):
                raise NeedsCode(None)
            value = tuple(value[at] for at in range(len(target.elts)))
        if isinstance(target, ast.Name):
            frame.statements.pop(target.id, None)
            frame.set(target.id, value)
            return
        frame.scope["__value__"] = value
        made = ast.Assign([target], ast.Name("__value__", ast.Load()))
        self.execute(ast.fix_missing_locations(ast.copy_location(made, target)), frame)

    def _assign(self, targets: Sequence[ast.expr], value: Any, frame: Frame) -> None:
        for target in targets:
            self.assign(target, value, frame)

    def _follow_return(self, node: ast.Return, frame: Frame, rest: Any) -> None:
        del rest
        self.trace.return_line = node.lineno
        if node.value is None:
            raise Returned(None)
        value: Any
        match node.value:
            case ast.Call(func=function, keywords=[ast.keyword(arg="message", value=message)]):
                state = resolved(function, frame.scope)
                if getattr(state, "__module__", "") == "prefect.states" and self.depth == 1:
                    self.trace.end_state(state, self.code_value(message, frame, "message"))
        try:
            value = self.value(node.value, frame)
        except NeedsCode as needs:
            if self.no_code:
                raise
            value = self.code_value(needs.node or node.value, frame, "result")
        raise Returned(value)

    def _follow_raise(self, node: ast.Raise, frame: Frame, rest: Any) -> None:
        del rest
        if self.no_code:
            raise NeedsCode(None)
        message: Any = "the flow failed"
        error = "an exception"
        match node.exc:
            case ast.Call(func=function, args=[only]):
                error = ast.unparse(function)
                message = self.code_value(only, frame, "message")
            case ast.Call(func=function) | (ast.Name() as function):
                error = message = ast.unparse(function)
        self.trace.fail(node.lineno, message)
        what = f"raise {error} becomes a Fail step"
        self.trace.report("raised", "info", what, line=node.lineno)
        raise Returned(None, failed=True)

    def _follow_assert(self, node: ast.Assert, frame: Frame, rest: Any) -> None:
        message = node.msg or ast.Constant(ast.unparse(node.test))
        error = ast.Call(ast.Name("AssertionError", ast.Load()), [message], [])
        test = ast.UnaryOp(ast.Not(), node.test)
        made = ast.If(test, [ast.Raise(error)], [])
        self.branches.follow_if(
            ast.fix_missing_locations(ast.copy_location(made, node)), frame, rest
        )

    def _follow_break(self, node: ast.stmt, frame: Frame, rest: Any) -> None:
        del frame, rest
        raise _LoopControl(type(node))

    _follow_continue = _follow_break

    def _follow_for(self, node: ast.For | ast.AsyncFor, frame: Frame, rest: Any) -> None:
        del rest
        items = self.loops.items(node.iter, frame)
        if is_symbol(items):
            self._for_each(node, items, frame)
            return
        found = list(items)
        if len(found) > MOST_ROUNDS:
            raise NotFollowed(node.lineno, f"the loop has {len(found)} rounds")
        for item in found:
            self._assign([node.target], item, frame)
            try:
                self.block(node.body, frame, None)
            except _LoopControl as control:
                if control.kind is ast.Break:
                    return
        self.block(node.orelse, frame, None)

    _follow_asyncfor = _follow_for

    def _for_each(self, node: ast.For | ast.AsyncFor, items: Symbol, frame: Frame) -> None:
        """A loop over a run-time list; ``results.append(…)`` at its end collects its results."""
        target, outer = set(stored_names(node.target)), set(frame.own)
        body, result, collected = list(node.body), None, ""
        match body[-1]:
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id=name), attr="append"), args=[one]
                )
            ) if frame.scope.get(name) == [] and name in frame.own:
                body, result, collected = body[:-1], one, name
        changed = {name for one in body for name in (*stored_names(one), *changed_names(one))}
        inside = {id(one) for one in ast.walk(node)}
        used = {
            one.id
            for one in ast.walk(frame.definition)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and id(one) not in inside
        }
        lost = sorted((changed - target) & (outer | used))
        if lost or node.orelse or any(map(leaves_function, body)):
            what = f"a loop over a run-time list that changes {', '.join(lost) or 'its course'}"
            raise NotFollowed(node.lineno, what)

        def iteration(item: Symbol) -> Any:
            self._assign([node.target], item, frame)
            self.block(body, frame, None)
            return None if result is None else self.code_value(result, frame)

        in_turn = not any(is_submit(one) for one in ast.walk(node))
        made = self.loops.for_each(node.lineno, items, iteration, frame, in_turn=in_turn)
        if collected:
            frame.set(collected, made)

    def _follow_while(self, node: ast.While, frame: Frame, rest: Any) -> None:
        del rest
        for _ in range(MOST_ROUNDS):
            test = self.tests.decided(node.test, frame)
            if not isinstance(test, bool):
                raise NotFollowed(node.lineno, "while with a run-time value", "run-time-loop")
            if not test:
                self.block(node.orelse, frame, None)
                return
            try:
                self.block(node.body, frame, None)
            except _LoopControl as control:
                if control.kind is ast.Break:
                    return
        raise NotFollowed(node.lineno, f"the loop has more than {MOST_ROUNDS} rounds")

    def _follow_with(self, node: ast.With | ast.AsyncWith, frame: Frame, rest: Any) -> None:
        with self._entered(node.items, frame):
            self.block(node.body, frame, None if rest is None else ())
        # A return in the block has ended the function.

    _follow_asyncwith = _follow_with

    @contextmanager
    def _entered(self, items: Sequence[ast.withitem], frame: Frame) -> Iterator[None]:
        if not items:
            yield
            return
        first, *others = items
        manager = self.context_manager(first.context_expr, frame)
        if is_symbol(manager):
            raise NotFollowed(first.context_expr.lineno, "with a run-time value")
        self.trace.manager(manager, first.context_expr.lineno)
        with self.entered(manager, first.context_expr) as value:
            if first.optional_vars is not None:
                self._assign([first.optional_vars], value, frame)
            with self._entered(others, frame):
                yield

    def _follow_try(self, node: ast.Try, frame: Frame, rest: Any) -> None:
        del frame, rest
        raise NotFollowed(node.lineno, "try around tasks", "failure-handling")

    _follow_trystar = _follow_try


def _not_followed(error: RunTimeValueUsed, node: ast.stmt) -> NotFollowed:
    if isinstance(error, TaskStateUsed):
        return NotFollowed(node.lineno, "the state of a task run", "task-state", whole=True)
    return NotFollowed(node.lineno, "it looks at a run-time value")
