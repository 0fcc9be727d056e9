"""Loops in expressions: over known items, and over run-time lists."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sagebridge.formats.prefect.recording.code_steps import Frame
from sagebridge.formats.prefect.recording.symbols import Symbol, is_symbol, type_of
from sagebridge.formats.prefect.tracing.branch_tests import SCALARS, NeedsCode, NotFollowed
from sagebridge.model.expressions import Get, current_item, plain

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.expressions import Expressions


class Loops:
    """Follows loops for the expressions of a flow."""

    def __init__(self, owner: Expressions) -> None:
        self.owner, self.at_once = owner, False

    def items(self, node: ast.expr, frame: Frame) -> Any:
        """The items of an iterable: known ones, or a run-time list."""
        try:
            found = self.owner.value(node, frame)
        except NeedsCode as needs:
            if needs.node is None or self.owner.no_code:
                raise NeedsCode(node) from None
            made = ast.Call(ast.Name("list", ast.Load()), [needs.node], [])
            made = ast.fix_missing_locations(ast.copy_location(made, node))
            return self.owner.expression_step(made, frame, "items")
        if is_symbol(found) and found._code is not None:
            raise NotFollowed(node.lineno, f"a loop over {ast.unparse(node)}")
        if is_symbol(found) and type_of(found) in SCALARS:
            made = ast.Call(ast.Name("list", ast.Load()), [node], [])
            return self.owner.expression_step(ast.fix_missing_locations(made), frame, "items")
        return found

    def comprehension(self, node: Any, frame: Frame) -> Any:
        frame, found = self.owner.inside(frame), list[Any]()
        first = node.generators[0]
        if isinstance(node, ast.DictComp):
            element: ast.expr = ast.copy_location(
                ast.Tuple([node.key, node.value], ast.Load()), node
            )
        else:
            element = node.elt
        items = self.items(first.iter, frame)
        if is_symbol(items):
            if len(node.generators) > 1 or first.ifs or isinstance(node, ast.DictComp):
                raise NotFollowed(node.lineno, "a comprehension over a run-time list")

            def iteration(item: Symbol) -> Any:
                self.owner.assign(first.target, item, frame)
                return self.owner.code_value(element, frame)

            in_turn = not self.at_once and not _submits(element)
            return self.for_each(node.lineno, items, iteration, frame, in_turn=in_turn)
        self._generate(node.generators, items, element, found, frame)
        if isinstance(node, ast.DictComp):
            return dict(found)
        return set(found) if isinstance(node, ast.SetComp) else found

    def _generate(
        self,
        generators: Sequence[ast.comprehension],
        items: Any,
        element: ast.expr,
        found: list[Any],
        frame: Frame,
    ) -> None:
        first, *others = generators
        for item in items:
            self.owner.assign(first.target, item, frame)
            tests = [self.owner.tests.decided(one, frame) for one in first.ifs]
            if not all(isinstance(one, bool) for one in tests):
                raise NotFollowed(element.lineno, "a comprehension with a test of a run-time value")
            if not all(tests):
                continue
            if not others:
                found.append(self.owner.code_value(element, frame))
                continue
            inner = self.items(others[0].iter, frame)
            if is_symbol(inner):
                raise NotFollowed(element.lineno, "a comprehension over a run-time list")
            self._generate(others, inner, element, found, frame)

    def for_each(
        self,
        line: int,
        items: Symbol,
        iteration: Callable[[Symbol], Any],
        frame: Frame,
        **settings: Any,
    ) -> Symbol:
        """A ForEach whose body makes the steps of one iteration; its result is their list."""
        if self.owner.in_foreach or self.owner.no_code:
            raise NotFollowed(line, "a loop in a loop over a run-time list")
        self.owner.in_foreach = True
        try:
            with self.owner.trace.loop(items, **settings) as (name, last):
                result = iteration(Symbol(plain(current_item)))
                made = last()
                if made is None:
                    raise NotFollowed(line, "a loop without steps")
                if result is not None and not _is_result(result, made):
                    inner = self.owner.inside(frame)
                    inner.set("result", result)
                    self.owner.expression_step(
                        _at(ast.Name("result", ast.Load()), line), inner, "result"
                    )
        finally:
            self.owner.in_foreach = False
        return self.owner.trace.result_of(name)


def _at(node: ast.expr, line: int) -> ast.expr:
    node.lineno, node.col_offset = line, 0
    return ast.fix_missing_locations(node)


def _submits(node: ast.AST) -> bool:
    return any(
        isinstance(one, ast.Call)
        and isinstance(one.func, ast.Attribute)
        and one.func.attr in ("submit", "map")
        for one in ast.walk(node)
    )


def _is_result(value: Any, step: str) -> bool:
    get = value._expression if is_symbol(value) else None
    return type(get) is Get and get.step == step and len(get.tokens) == 2
