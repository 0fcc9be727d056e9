"""Branches of a flow: if and match on run-time values."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from sagebridge.formats.prefect.recording import code_steps
from sagebridge.formats.prefect.recording.code_steps import Frame
from sagebridge.formats.prefect.recording.step_recorder import BranchTest
from sagebridge.formats.prefect.recording.symbols import Future, Symbol, holds_future, is_symbol
from sagebridge.formats.prefect.tracing.branch_tests import NotFollowed
from sagebridge.formats.prefect.tracing.syntax import (
    case_test,
    has,
    leaves_function,
    pushed,
    restore,
    same,
    saved,
)
from sagebridge.model.expressions import Get

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.interpreter import Interpreter


class Returned(BaseException):
    """The function returned a value, or failed."""

    def __init__(self, value: Any, *, failed: bool = False) -> None:
        self.value, self.failed = value, failed
        super().__init__()


class Branches:
    """Follows the branches for the statements of a flow."""

    def __init__(self, owner: Interpreter) -> None:
        self.owner = owner

    def follow_if(self, node: ast.If, frame: Frame, rest: Sequence[ast.stmt] | None) -> None:
        match pushed(node.test):
            case ast.BoolOp(op=op, values=[first, *others]) if any(
                self.owner.engine.calls(one, frame.scope) for one in others
            ):
                # A task of a later part runs only if the first one does not decide.
                later = pushed(others[0]) if len(others) == 1 else ast.BoolOp(op, others)
                nested: list[ast.stmt] = [
                    ast.copy_location(ast.If(later, node.body, node.orelse), node)
                ]
                both = isinstance(op, ast.And)
                node = ast.copy_location(
                    ast.If(first, nested if both else node.body, node.orelse if both else nested),
                    node,
                )
                ast.fix_missing_locations(node)
        test = self.owner.tests.decided(node.test, frame)
        if isinstance(test, bool):
            self.owner.block(node.body if test else node.orelse, frame, rest)
            return
        self.both(node, test, frame, rest)

    def both(
        self, node: ast.If, test: BranchTest, frame: Frame, rest: Sequence[ast.stmt] | None
    ) -> None:
        if self.owner.in_foreach or self.owner.no_code:
            raise NotFollowed(node.lineno, "if in a loop over a run-time list")
        leaving = [
            one for branch in (node.body, node.orelse) for one in branch if leaves_function(one)
        ]
        returns = any(has(one, (ast.Return, ast.Raise, ast.Assert)) for one in leaving)
        if leaving and (not returns or any(has(one, (ast.Break, ast.Continue)) for one in leaving)):
            raise NotFollowed(node.lineno, "break or continue by a run-time value")
        if leaving and rest is None:
            raise NotFollowed(node.lineno, "return or raise in a loop by a run-time value")
        after = tuple(rest or ()) if leaving else ()
        names = saved(frame)
        outcomes: list[tuple[dict[str, Any], Returned | None]] = []
        with self.owner.trace.condition(test, node.lineno) as branch:
            for met, body in ((True, node.body), (False, node.orelse)):
                restore(frame, names)
                returned = None
                with branch(met):
                    try:
                        self.owner.block((*body, *after), frame, ())
                    except Returned as found:
                        returned = found
                outcomes.append((saved(frame), returned))
        if leaving:
            self._join_returned(test, outcomes, frame)
        if not self._join_names(test, outcomes, frame, names):
            self.owner.trace.drop_empty(test)

    def _join_returned(self, test: BranchTest, outcomes: Any, frame: Frame) -> NoReturn:
        """End the function after both branches have done the rest of it."""
        ends = [one for _, one in outcomes]
        if all(one is not None and one.failed for one in ends):
            raise ends[0]
        values = [None if one is None or one.failed else one.value for one in ends]
        if self.owner.depth == 1 or any(one is not None and one.failed for one in ends):
            kept = next((one for one in values if one is not None), None)
            raise Returned(kept)
        raise Returned(self._joined(test, values, "result", frame))

    def _join_names(self, test: BranchTest, outcomes: Any, frame: Frame, before: Any) -> bool:
        """Set the variables of both branches; whether any depends on the outcome."""
        joined = False
        (met, _), (unmet, _) = outcomes
        restore(frame, before)
        for name in dict.fromkeys((*met, *unmet)):
            values = [one.get(name, before.get(name)) for one in (met, unmet)]
            if name not in met or name not in unmet:
                # It is set in one branch only, so code after both uses it only if that one ran.
                only = met if name in met else unmet
                frame.set(name, only[name])
                continue
            found = self._joined(test, values, name, frame)
            joined = joined or (found is not values[0])
            frame.set(name, found)
        return joined

    def _joined(self, test: BranchTest, values: list[Any], name: str, frame: Frame) -> Any:
        """A value that both branches set: a step that chooses it, made when it is needed."""
        first, second = values
        if first is second or same(first, second):
            return first
        place = self.owner.trace.place()

        def made() -> Get:
            inner = Frame(dict(frame.scope), frame.definition, {"outcome": None})
            inner.scope["outcome"] = Symbol(test.outcome(), "String")
            for one, value in (("met", first), ("unmet", second)):
                inner.set(one, value)
            node = ast.parse('met if outcome == "True" else unmet', mode="eval").body
            code = code_steps.of_expression(node, self.owner.file, inner, name)
            rule = "none_failed_min_one_success"
            step = self.owner.trace.code(code, name, test.line, rule=rule, at=place)
            found = self.owner.trace.result_of(step)._expression
            assert isinstance(found, Get)
            return found

        if holds_future(values):
            return Future(made, "", lambda: None)
        types = {one._type if is_symbol(one) else None for one in values}
        return Symbol(made, types.pop() or "" if len(types) == 1 else "")

    def follow_match(self, node: ast.Match, frame: Frame, rest: Any) -> None:
        """Cases with plain values, as a chain of tests."""
        subject = self.owner.lifted(node.subject, frame)
        found: list[ast.stmt] = []
        for case in reversed(node.cases):
            test = case_test(case.pattern, subject)
            if test is None or case.guard is not None:
                value = self.owner.code_value(subject, frame)
                if is_symbol(value):
                    what = "match with a pattern for a run-time value"
                    raise NotFollowed(node.lineno, what, "run-time-type")
                self._native_match(node, value, frame, rest)
                return
            if isinstance(test, ast.Constant):
                found = list(case.body)
            else:
                made = ast.copy_location(ast.If(test, case.body, found), case.pattern)
                found = [ast.fix_missing_locations(made)]
        self.owner.block(found, frame, rest)

    def _native_match(self, node: ast.Match, value: Any, frame: Frame, rest: Any) -> None:
        """Execute the patterns for a known value, and follow the case that matches."""
        frame.scope["__value__"] = value
        cases = [
            ast.match_case(
                one.pattern,
                one.guard,
                [ast.Assign([ast.Name("__case__", ast.Store())], ast.Constant(at))],
            )
            for at, one in enumerate(node.cases)
        ]
        chosen = ast.Match(ast.Name("__value__", ast.Load()), cases)
        frame.scope["__case__"] = None
        self.owner.execute(ast.fix_missing_locations(ast.copy_location(chosen, node)), frame)
        if (at := frame.scope["__case__"]) is not None:
            self.owner.block(node.cases[at].body, frame, rest)
