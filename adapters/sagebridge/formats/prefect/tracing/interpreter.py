"""Follows the function of a flow, statement by statement.

What needs no run-time value is executed. A call of a task or step becomes a step, and so does other
code on run-time values. A test of one becomes a Condition, and a loop over one a ForEach.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sagebridge.formats.prefect import flow_options
from sagebridge.formats.prefect.constructs import statement_rule
from sagebridge.formats.prefect.recording import code_steps
from sagebridge.formats.prefect.recording.code_steps import Frame, handle_type
from sagebridge.formats.prefect.recording.symbols import (
    NeedsCode,
    NotFollowed,
    RunTimeValueUsed,
    Symbol,
    TaskStateUsed,
    UnsupportedValue,
    is_symbol,
    leaves,
    needs_steps,
)
from sagebridge.formats.prefect.source.names import loaded_names, stored_names
from sagebridge.formats.prefect.source.purity import UNKNOWN, resolved
from sagebridge.formats.prefect.source.statements import (
    at,
    controls,
    is_submit,
    leaves_function,
    read_elsewhere,
    set_names,
    starts_tasks,
    target_name,
    value_name,
    verb,
)
from sagebridge.formats.prefect.tracing.branches import Branches, Returned
from sagebridge.formats.prefect.tracing.printed_output import printed

_MOST_ROUNDS = 200
"""The most rounds of a loop over known values that become separate steps."""


class _LoopControl(BaseException):
    def __init__(self, kind: type[ast.stmt]) -> None:
        self.kind = kind
        super().__init__()


class Interpreter(Branches):
    """Follows functions of the file for a trace."""

    def frame_of(self, function: Any, arguments: Sequence[Any], named: Any) -> Frame:
        """The variables of a function of the file that is called."""
        definition = self.file.definition(function)
        assert definition is not None
        owner = getattr(function, "__self__", None)
        plain = getattr(function, "__func__", function)
        owners = [owner] if owner else []
        try:
            given = inspect.signature(plain).bind(*owners, *arguments, **named)
        except TypeError as error:
            raise NotFollowed(self.trace.line(), f"{definition.name}(): {error}") from None
        given.apply_defaults()
        frame = Frame({**plain.__globals__, **inspect.getclosurevars(plain).nonlocals}, definition)
        for name, value in given.arguments.items():
            frame.set(name, value)
        return frame

    def call_function(self, function: Any, arguments: Sequence[Any], named: Any) -> Any:
        """The result of a function of the file, whose statements are followed."""
        frame = self.frame_of(function, arguments, named)
        if self.depth > 40:
            raise NotFollowed(frame.definition.lineno, "the function calls itself")
        self.depth += 1
        try:
            self.block(frame.definition.body, frame, ())
        except Returned as returned:
            if returned.failed:
                raise
            return returned.value
        finally:
            self.depth -= 1
        return None

    def block(
        self, body: Sequence[ast.stmt], frame: Frame, after: Sequence[ast.stmt] | None
    ) -> None:
        """Follow statements; ``after`` follow them in the function, None inside a loop."""
        done = 0
        while done < len(body):
            rest = None if after is None else (*body[done + 1 :], *after)
            done += self._statement(body[done:], frame, rest)

    def _statement(
        self, body: Sequence[ast.stmt], frame: Frame, rest: Sequence[ast.stmt] | None
    ) -> int:
        """Follow the first statement; returns how many are done."""
        node = body[0]
        self.trace.position(node.lineno)
        if isinstance(node, ast.Global) and (rule := statement_rule("Global")):
            self.trace.report(*rule, line=node.lineno)
            return 1
        made = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if self._is_output(node, frame) or (made and self._executed(node, frame)):
            return 1
        state, names = self.trace.saved(), frame.saved()
        follow = getattr(self, f"follow_{type(node).__name__.lower().removeprefix('async')}", None)
        try:
            if not self.engine.calls(node, frame.scope) and not controls(node):
                return self._plain(body, frame)
            if follow is None:
                what = f"{type(node).__name__.lower()} around tasks"
                is_try = isinstance(node, ast.Try | ast.TryStar)
                raise NotFollowed(
                    node.lineno, what, "failure-handling" if is_try else "run-time-code"
                )
            follow(node, frame, rest)
        except (NotFollowed, RunTimeValueUsed) as error:
            why = error if isinstance(error, NotFollowed) else _not_followed(error, node)
            self.trace.restore(state)
            frame.restore(names)
            whole = why.whole or leaves_function(node) or starts_tasks(node)
            if self.in_foreach or self.no_code or whole:
                raise why from None
            self.code_of([node], frame, why)
        return 1

    # Statements without tasks

    def _plain(self, body: Sequence[ast.stmt], frame: Frame) -> int:
        """Execute a statement; if it needs run-time values, make it a step with the next ones."""
        if self._executed(body[0], frame):
            return 1
        run = [body[0]]
        for node in body[1:]:
            joined = not set_names(run).keys().isdisjoint(loaded_names(node))
            if not joined or self._is_output(node, frame, report=False):
                break
            if self.engine.calls(node, frame.scope) or controls(node):
                break
            run.append(node)
        self.code_of(run, frame)
        return len(run)

    def _executed(self, node: ast.stmt, frame: Frame) -> bool:
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.Nonlocal():
                return True
            case (
                ast.Import()
                | ast.ImportFrom()
                | ast.FunctionDef()
                | ast.AsyncFunctionDef()
                | ast.ClassDef()
            ):
                self.execute(node, frame)
                frame.statements |= dict.fromkeys(stored_names(node), node)
                return True
        if self.purity.of(node, frame.scope):
            names = frame.saved()
            try:
                self.tried(lambda: self.execute(node, frame))
            except NeedsCode:
                frame.restore(names)
            else:
                return True
        try:
            match node:
                case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                    self._assign(node, self.value(value, frame), frame)
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

    def code_of(
        self, nodes: Sequence[ast.stmt], frame: Frame, why: NotFollowed | None = None
    ) -> None:
        """A step of statements; its results are the variables that they set and others use.

        ``why`` their calls of tasks are not followed: the step makes these itself.
        """
        if self.no_code:
            raise NeedsCode(None)
        match nodes:
            case [ast.Assign(targets=[ast.Name(id=name)], value=value)] if why is None:
                if (kind := handle_type(value, frame)) is not None:
                    frame.set(name, Symbol(None, kind, value))
                    return
        known = frame.own.keys() - frame.statements.keys()
        known.update(name for node in nodes for name in stored_names(node))
        results = [
            one
            for one in set_names(nodes)
            if one in known & read_elsewhere(nodes, frame.definition)
        ]
        names = [] if why is None else self.engine.names(nodes, frame.scope) or ["tasks"]
        wanted = next(iter((*results, *names)), None) or verb(nodes[0])
        try:
            code = code_steps.of_statements(nodes, results, self.file, frame, wanted)
        except UnsupportedValue as error:
            what = f"{why.what}; it uses {error}" if why else f"it uses {error}"
            name = self.trace.code_stub(nodes, wanted, what, frame.used(nodes))
        else:
            name = self.trace.code(code, wanted, nodes[0].lineno, own=why is not None)
            if why is not None:
                what = f"{why.what}: step {name} calls its tasks itself"
                self.trace.report(why.code, "changed", what, line=why.line, step=name)
                self.lost_of_tasks(nodes, frame, why.line, name)
        found = self.trace.result_of(name)
        if why is not None and any(map(is_submit, nodes)):  # later code asks for the results
            found = self.trace.future_of(found)
        for one in results:
            frame.statements.pop(one, None)
            frame.set(one, found if len(results) == 1 else found[one])

    def lost_of_tasks(self, nodes: Sequence[ast.AST], frame: Frame, line: int, step: str) -> None:
        """Report what tasks lose if code of a step calls them."""
        for task in self.engine.tasks(nodes, frame.scope):
            if hasattr(task, "validate_parameters"):  # a Flow
                self.trace.lost_of_subflow(task, in_code=True)
                continue
            for lost in flow_options.lost_in_code(task):
                self.trace.report(*lost, line=line, who=f"task {task.name}", step=step)

    def _is_output(self, node: ast.stmt, frame: Frame, *, report: bool = True) -> bool:
        """Whether a statement only prints or logs, and is done.

        Its tasks are called. A step prints results of steps, often the only trace of them; what is
        known before the run, or is a parameter of it, is not worth a step.
        """
        found = printed(node, frame, self)
        if found is None or not report:
            return found is not None
        if isinstance(node, ast.Expr):
            node = at(ast.Expr(self.lifted(node.value, frame)), node)
        elif self.engine.calls(node, frame.scope) or not read_elsewhere(
            [node], frame.definition
        ).isdisjoint(stored_names(node)):
            return False
        values = (leaf for one in frame.used([node]) for leaf in leaves(one))
        if any(map(needs_steps, values)) and not (self.no_code and isinstance(node, ast.Expr)):
            self.code_of([node], frame)
        else:
            for line, what in found:
                said = f"{what}: output of the flow body is not carried over"
                self.trace.report("output", "info", said, line=line)
        return True

    # Statements with tasks, or that leave the function

    def follow_expr(self, node: ast.Expr, frame: Frame, rest: Any) -> None:
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
            self.code_of([at(ast.Expr(needs.node), node)], frame)

    def follow_assign(self, node: ast.Assign | ast.AnnAssign, frame: Frame, rest: Any) -> None:
        del rest
        if node.value is None:
            return
        value = self.code_value(node.value, frame, target_name(_targets(node)))
        try:
            self._assign(node, value, frame)
        except (NeedsCode, RunTimeValueUsed):
            name = frame.free("value")
            frame.set(name, value)
            made = ast.Assign(_targets(node), ast.Name(name, ast.Load()))
            self.code_of([at(made, node)], frame)

    follow_annassign = follow_assign

    def follow_augassign(self, node: ast.AugAssign, frame: Frame, rest: Any) -> None:
        del rest
        changed = ast.AugAssign(node.target, node.op, self.lifted(node.value, frame))
        self._plain([at(changed, node)], frame)

    def assign(self, target: ast.expr, value: Any, frame: Frame) -> None:
        """Set the names of a target."""
        if isinstance(target, ast.Tuple | ast.List) and is_symbol(value):
            if any(isinstance(one, ast.Starred) for one in target.elts):
                raise NeedsCode(None)
            value = tuple(value[place] for place in range(len(target.elts)))
        if isinstance(target, ast.Name):
            frame.statements.pop(target.id, None)
            frame.set(target.id, value)
            return
        frame.scope["__value__"] = value
        self.execute(at(ast.Assign([target], ast.Name("__value__", ast.Load())), target), frame)

    def _assign(self, node: ast.Assign | ast.AnnAssign, value: Any, frame: Frame) -> None:
        for target in _targets(node):
            self.assign(target, value, frame)

    def follow_return(self, node: ast.Return, frame: Frame, rest: Any) -> None:
        del rest
        self.trace.return_line = node.lineno
        if node.value is None:
            raise Returned(None)
        match node.value:
            case ast.Call(func=function, keywords=[ast.keyword(arg="message", value=message)]):
                state = resolved(function, frame.scope)
                if getattr(state, "__module__", "") == "prefect.states" and self.depth == 1:
                    self.trace.end_state(state, self.code_value(message, frame, "message"))
        name = frame.definition.name if self.depth > 1 else value_name(node.value) or "result"
        raise Returned(self.code_value(node.value, frame, name))

    def follow_raise(self, node: ast.Raise, frame: Frame, rest: Any) -> None:
        del rest
        if self.no_code:
            raise NeedsCode(None)
        error, message = "an exception", "the flow failed"
        match node.exc:
            case ast.Call(func=function, args=[only]):
                error, message = ast.unparse(function), self.code_value(only, frame, "message")
            case ast.Call(func=function) | (ast.Name() as function):
                error = message = ast.unparse(function)
        self.trace.fail(node.lineno, message)
        what = f"raise {error} becomes a Fail step"
        self.trace.report("raised", "info", what, line=node.lineno)
        raise Returned(None, failed=True)

    def follow_assert(self, node: ast.Assert, frame: Frame, rest: Any) -> None:
        message = node.msg or ast.Constant(ast.unparse(node.test))
        error = ast.Call(ast.Name("AssertionError", ast.Load()), [message], [])
        test = ast.UnaryOp(ast.Not(), node.test)
        self.follow_if(at(ast.If(test, [ast.Raise(error)], []), node), frame, rest)

    def follow_break(self, node: ast.stmt, frame: Frame, rest: Any) -> None:
        del frame, rest
        raise _LoopControl(type(node))

    follow_continue = follow_break

    def follow_for(self, node: ast.For | ast.AsyncFor, frame: Frame, rest: Any) -> None:
        del rest
        items = self.items(node.iter, frame)
        if is_symbol(items):
            self._follow_for_each(node, items, frame)
            return
        found = list(items)

        def rounds() -> Iterator[None]:
            for item in found:
                self.assign(node.target, item, frame)
                yield

        self._follow_rounds(node, rounds(), frame)

    def follow_while(self, node: ast.While, frame: Frame, rest: Any) -> None:
        del rest

        def rounds() -> Iterator[None]:
            while (test := self.tests.decided(node.test, frame)) is not False:
                if test is not True:
                    raise NotFollowed(node.lineno, "while with a run-time value", "run-time-loop")
                yield

        self._follow_rounds(node, rounds(), frame)

    def _follow_rounds(
        self, node: ast.For | ast.AsyncFor | ast.While, rounds: Iterator[None], frame: Frame
    ) -> None:
        for count, _ in enumerate(rounds):
            if count >= _MOST_ROUNDS:
                raise NotFollowed(node.lineno, f"the loop has more than {_MOST_ROUNDS} rounds")
            try:
                self.block(node.body, frame, None)
            except _LoopControl as control:
                if control.kind is ast.Break:
                    return
        self.block(node.orelse, frame, None)

    def _follow_for_each(self, node: ast.For | ast.AsyncFor, items: Symbol, frame: Frame) -> None:
        """A loop over a run-time list; ``results.append(…)`` at its end collects its results."""
        body, result, collected = list(node.body), None, ""
        match body[-1]:
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id=name), attr="append"), args=[one]
                )
            ) if frame.scope.get(name) == [] and name in frame.own:
                body, result, collected = body[:-1], one, name
        changed = set_names(body).keys() - set(stored_names(node.target))
        lost = sorted(changed & (set(frame.own) | read_elsewhere([node], frame.definition)))
        if lost or node.orelse or any(map(leaves_function, body)):
            what = f"a loop over a run-time list that changes {', '.join(lost) or 'its course'}"
            raise NotFollowed(node.lineno, what)

        def iteration(item: Symbol) -> Any:
            self.assign(node.target, item, frame)
            self.block(body, frame, None)
            return None if result is None else self.code_value(result, frame)

        futures = is_submit(node)
        made = self.for_each(node.lineno, items, iteration, frame, futures=futures)
        if collected:
            frame.set(collected, made)

    def follow_with(self, node: ast.With | ast.AsyncWith, frame: Frame, rest: Any) -> None:
        first, *others = node.items
        with self._entered(first.context_expr, frame) as value:
            if first.optional_vars is not None:
                self.assign(first.optional_vars, value, frame)
            inner: Sequence[ast.stmt] = node.body
            if others:
                inner = [at(type(node)(others, node.body), node)]
            self.block(inner, frame, None if rest is None else ())
        # A return in the block has ended the function.

    @contextmanager
    def _entered(self, node: ast.expr, frame: Frame) -> Iterator[Any]:
        """Enter a context manager; those of the file are made too, but act at run time."""
        function = resolved(node.func, frame.scope) if isinstance(node, ast.Call) else UNKNOWN
        is_own = self.file.definition(function) is not None and not self.engine.is_engine(function)
        manager = self.native(node, frame) if is_own else self.code_value(node, frame)
        self.trace.manager(manager, node.lineno)
        kind = type(manager)
        waits = not hasattr(kind, "__enter__")
        enter, leave = ("__aenter__", "__aexit__") if waits else ("__enter__", "__exit__")
        if is_symbol(manager) or not hasattr(kind, enter):
            raise NotFollowed(node.lineno, f"with {ast.unparse(node)}")
        try:
            value = self.tried(lambda: self._awaited(getattr(kind, enter)(manager)))
        except NeedsCode:
            raise NotFollowed(node.lineno, f"with {ast.unparse(node)}") from None
        try:
            yield value
        finally:
            self._awaited(getattr(kind, leave)(manager, None, None, None))


def _not_followed(error: RunTimeValueUsed, node: ast.stmt) -> NotFollowed:
    if isinstance(error, TaskStateUsed):
        return NotFollowed(node.lineno, "the state of a task run", "task-state", whole=True)
    return NotFollowed(node.lineno, "it looks at a run-time value")


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]
