"""Branches of a flow: if and match on run-time values."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, NoReturn

from sagebridge.formats.prefect.recording import code_steps
from sagebridge.formats.prefect.recording.code_steps import Frame
from sagebridge.formats.prefect.recording.step_recorder import BranchTest
from sagebridge.formats.prefect.recording.symbols import (
    Future,
    NotFollowed,
    Symbol,
    holds_future,
    is_symbol,
    same,
)
from sagebridge.formats.prefect.source.statements import at, case_test, has, leaves_function
from sagebridge.formats.prefect.tracing.expressions import Expressions
from sagebridge.model.expressions import Get


class Returned(BaseException):
    """The function returned a value, or failed."""

    def __init__(self, value: Any, *, failed: bool = False) -> None:
        self.value, self.failed = value, failed
        super().__init__()


class Branches(Expressions):
    """Follows the branches of a flow, each one once."""

    def block(
        self, body: Sequence[ast.stmt], frame: Frame, after: Sequence[ast.stmt] | None
    ) -> None:
        raise NotImplementedError

    def follow_if(self, node: ast.If, frame: Frame, rest: Sequence[ast.stmt] | None) -> None:
        match node.test:
            case ast.BoolOp(op=op, values=[first, *others]) if any(
                self.engine.calls(one, frame.scope) for one in others
            ):
                # A task of a later part runs only if the first one does not decide.
                later = others[0] if len(others) == 1 else ast.BoolOp(op, others)
                inner: list[ast.stmt] = [at(ast.If(later, node.body, node.orelse), node)]
                both = isinstance(op, ast.And)
                body, orelse = (inner, node.orelse) if both else (node.body, inner)
                node = at(ast.If(first, body, orelse), node)
        test = self.tests.decided(node.test, frame)
        if isinstance(test, bool):
            self.block(node.body if test else node.orelse, frame, rest)
        else:
            self._follow_both(node, test, frame, rest)

    def _follow_both(
        self, node: ast.If, test: BranchTest, frame: Frame, rest: Sequence[ast.stmt] | None
    ) -> None:
        if self.in_foreach or self.no_code:
            raise NotFollowed(node.lineno, "if in a loop over a run-time list")
        leaving = [one for one in (*node.body, *node.orelse) if leaves_function(one)]
        ends = any(has(one, (ast.Return, ast.Raise, ast.Assert)) for one in leaving)
        if leaving and (not ends or any(has(one, (ast.Break, ast.Continue)) for one in leaving)):
            raise NotFollowed(node.lineno, "break or continue by a run-time value")
        if leaving and rest is None:
            raise NotFollowed(node.lineno, "return or raise in a loop by a run-time value")
        after = tuple(rest or ()) if leaving else ()
        names = frame.saved()
        outcomes: list[tuple[dict[str, Any], Returned | None]] = []
        with self.trace.condition(test, node.lineno) as branch:
            for met, body in ((True, node.body), (False, node.orelse)):
                frame.restore(names)
                returned = None
                with branch(met):
                    try:
                        self.block((*body, *after), frame, ())
                    except Returned as found:
                        returned = found
                outcomes.append((frame.saved(), returned))
        if leaving:
            self._join_returned(test, outcomes, frame)
        if not self._join_names(test, outcomes, frame, names):
            self.trace.drop_empty(test)

    def _join_returned(self, test: BranchTest, outcomes: Any, frame: Frame) -> NoReturn:
        """End the function after both branches have done the rest of it."""
        ends = [one for _, one in outcomes]
        failed = [one is not None and one.failed for one in ends]
        if all(failed):
            raise ends[0]
        values = [None if one is None else one.value for one in ends]
        if self.depth == 1 or any(failed):
            raise Returned(next((one for one in values if one is not None), None))
        raise Returned(self._joined(test, values, frame.definition.name, frame))

    def _join_names(self, test: BranchTest, outcomes: Any, frame: Frame, before: Any) -> bool:
        """Set the variables of both branches; whether any depends on the outcome."""
        joined = False
        (met, _), (unmet, _) = outcomes
        frame.restore(before)
        for name in dict.fromkeys((*met, *unmet)):
            if name in met and name in unmet:
                found = self._joined(test, [met[name], unmet[name]], name, frame)
                joined = joined or (found is not met[name])
            else:
                # It is set in one branch only, so code after both uses it only if that one ran.
                found = met[name] if name in met else unmet[name]
            frame.set(name, found)
        return joined

    def _joined(self, test: BranchTest, values: list[Any], name: str, frame: Frame) -> Any:
        """A value that both branches set: a step that chooses it, made when it is needed."""
        first, second = values
        if first is second or same(first, second):
            return first
        place = self.trace.place()

        def made() -> Get:
            inner = Frame(dict(frame.scope), frame.definition)
            outcome = Symbol(test.outcome(), "String")
            for one, value in (("outcome", outcome), ("met", first), ("unmet", second)):
                inner.set(one, value)
            node = ast.parse('met if outcome == "True" else unmet', mode="eval").body
            code = code_steps.of_expression(node, self.file, inner, name)
            rule = "none_failed_min_one_success"
            step = self.trace.code(code, name, test.line, rule=rule, place=place)
            found = self.trace.result_of(step)._expression
            assert isinstance(found, Get)
            return found

        if holds_future(values):
            return Future(made, "", lambda: None)
        types = {one._type if is_symbol(one) else None for one in values}
        return Symbol(made, types.pop() or "" if len(types) == 1 else "")

    def follow_match(self, node: ast.Match, frame: Frame, rest: Any) -> None:
        """Cases with plain values, as a chain of tests."""
        subject = self.lifted(node.subject, frame)
        found: list[ast.stmt] = []
        for case in reversed(node.cases):
            test = case_test(case.pattern, subject)
            if test is None or case.guard is not None:
                what = "match with a pattern that is not a plain value"
                raise NotFollowed(node.lineno, what, "run-time-type")
            if isinstance(test, ast.Constant):
                found = list(case.body)
            else:
                found = [at(ast.If(test, case.body, found), case.pattern)]
        self.block(found, frame, rest)
