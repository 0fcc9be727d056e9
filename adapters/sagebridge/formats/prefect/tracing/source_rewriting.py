"""Rewrite a flow file so that symbols work where Python has no hook for them.

Functions keep their meaning and their lines. Syntax that no special method covers calls helpers in
:mod:`~sagebridge.formats.prefect.tracing.trace_helpers`: tests with ``and``, ``or`` and ``not``,
``is``, ``in``, f-strings, calls, ``while``, ``with``, ``return``, ``yield`` and ``match``. The
statements that cannot be carried over report themselves.
"""

from __future__ import annotations

import ast
from typing import Any

from sagebridge.formats.prefect.constructs import statement_rule

HELPERS = "__sagebridge_trace__"
_UNCHANGED_CALLS = frozenset(
    ("super", "locals", "globals", "vars", "eval", "exec", "dir", "isinstance", "type")
)
_EFFECTS = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)


_CONVERSIONS = frozenset(("bool", "float", "format", "int", "join", "len", "loads", "round", "str"))
"""Functions and methods that an assignment of a module may call with a value of the server."""


def rewrite_functions(tree: ast.Module) -> ast.Module:
    """Rewrite the functions of a tree in place, and conversions in its assignments."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            statement.value = _AssignmentRewriter().visit(statement.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = _Rewriter().block(node.body)
    return ast.fix_missing_locations(tree)


def raise_lines(tree: ast.Module) -> frozenset[int]:
    """The lines of ``raise`` and ``assert`` statements."""
    return frozenset(
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise | ast.Assert)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    )


def argument_lines(tree: ast.Module) -> dict[tuple[int, str], int]:
    """The lines of arguments, by the first line of their function and their name."""
    return {
        (min([node.lineno, *(one.lineno for one in node.decorator_list)]), one.arg): one.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    }


class _Rewriter(ast.NodeTransformer):
    def _call(self, helper: str, node: ast.AST, *arguments: ast.expr) -> ast.Call:
        function = ast.Attribute(ast.Name(HELPERS, ast.Load()), helper, ast.Load())
        # CPython gives a call of an attribute the line on which the attribute ends
        # (update_start_location_to_match_attr in Python/compile.c).
        ast.copy_location(function, node).end_lineno = node.lineno  # type: ignore[attr-defined]
        return ast.copy_location(ast.Call(function, list(arguments), []), node)

    def block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        holder = ast.Module(body, [])
        self.generic_visit(holder)
        return holder.body

    def visit(self, node: ast.AST) -> Any:
        """Rewrite a node; a statement that cannot be carried over reports itself first."""
        found = super().visit(node)
        kind = type(node).__name__
        if not isinstance(node, ast.stmt) or statement_rule(kind) is None:
            return found
        call = self._call("statement", node, ast.Constant(kind))
        return [ast.copy_location(ast.Expr(call), node), found]

    # Nested functions are rewritten on their own, classes are not rewritten.

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        return node

    def visit_If(self, node: ast.If) -> Any:
        test = self._test(node.test)
        node.test = ast.Constant(value=True)
        self.generic_visit(node)
        node.test = test
        return node

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        test = self._test(node.test)
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        node.test = test
        return node

    def visit_Assert(self, node: ast.Assert) -> Any:
        node.test = self._test(node.test)
        if node.msg is not None:
            node.msg = self.visit(node.msg)
        return node

    def visit_While(self, node: ast.While) -> Any:
        node.test = self._call("while_", node.test, self._test(node.test))
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        return node

    def visit_With(self, node: ast.With) -> Any:
        return self._with(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> Any:
        return self._with(node)

    def _with(self, node: ast.With | ast.AsyncWith) -> Any:
        self.generic_visit(node)
        for item in node.items:
            item.context_expr = self._call("with_", item.context_expr, item.context_expr)
        return node

    def visit_Return(self, node: ast.Return) -> Any:
        self.generic_visit(node)
        if node.value is not None:
            node.value = self._call("return_", node, node.value)
        return node

    def visit_Yield(self, node: ast.Yield) -> Any:
        self.generic_visit(node)
        node.value = self._call("yield_", node, node.value or ast.Constant(None))
        return node

    def visit_Match(self, node: ast.Match) -> Any:
        patterns = [one for case in node.cases for one in ast.walk(case.pattern)]
        self.generic_visit(node)
        if any(
            isinstance(
                one,
                ast.MatchClass
                | ast.MatchMapping
                | ast.MatchSequence
                | ast.MatchSingleton
                | ast.MatchStar,
            )
            for one in patterns
        ):
            node.subject = self._call("match_", node.subject, node.subject)
        return node

    def visit_Expr(self, node: ast.Expr) -> Any:
        self.generic_visit(node)
        match node.value:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="call") as helper):
                helper.attr = "call_statement" if name == HELPERS else helper.attr
        return node

    def visit_Compare(self, node: ast.Compare) -> Any:
        self.generic_visit(node)
        if len(node.ops) > 1:
            return node
        (operator,), (right,) = node.ops, node.comparators
        helper = {ast.Is: "is_", ast.IsNot: "is_not", ast.In: "in_", ast.NotIn: "not_in"}
        if type(operator) not in helper:
            return node
        return self._call(helper[type(operator)], node, node.left, right)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        parts: list[ast.expr] = []
        for part in node.values:
            if not isinstance(part, ast.FormattedValue):
                parts.append(part)
                continue
            spec: ast.expr = ast.Constant("") if part.format_spec is None else part.format_spec
            value = self.visit(part.value)
            entry = [value, ast.Constant(part.conversion), self.visit(spec)]
            parts.append(ast.Tuple(entry, ast.Load()))
        return self._call("text", node, *parts)

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in _UNCHANGED_CALLS:
            return node
        node.args.insert(0, node.func)
        function = ast.Attribute(ast.Name(HELPERS, ast.Load()), "call", ast.Load())
        node.func = ast.copy_location(function, node.func)
        return node

    def _test(self, node: ast.expr) -> ast.expr:
        """A test; all its run-time values become one condition instead of a branch each."""
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._call("not_", node, self._test(operand))
            case ast.BoolOp(op=operator, values=values) if self._is_safe(values):
                helper = "and_" if isinstance(operator, ast.And) else "or_"
                return self._call(helper, node, *(self._lambda(one) for one in values))
            case ast.Compare(left=left, ops=ops, comparators=rights) if len(ops) > 1:
                sides = [left, *rights]
                if all(isinstance(one, ast.Name | ast.Constant) for one in sides[1:-1]):
                    pairs = [
                        ast.copy_location(ast.Compare(sides[at], [one], [sides[at + 1]]), node)
                        for at, one in enumerate(ops)
                    ]
                    both = ast.copy_location(ast.BoolOp(ast.And(), list(pairs)), node)
                    return self._test(both)
        found = self.visit(node)
        assert isinstance(found, ast.expr)
        return found

    def _lambda(self, node: ast.expr) -> ast.expr:
        nothing = ast.arguments([], [], None, [], [], None, [])
        return ast.copy_location(ast.Lambda(nothing, self._test(node)), node)

    @staticmethod
    def _is_safe(values: list[ast.expr]) -> bool:
        """Whether all parts can be evaluated without calls that Python would have skipped."""
        return not any(
            isinstance(one, _EFFECTS) or (at and isinstance(one, ast.Call))
            for at, value in enumerate(values)
            for one in ast.walk(value)
        )


class _AssignmentRewriter(_Rewriter):
    """Rewrites a module-level value, which may convert a value of the Prefect server."""

    def visit_Call(self, node: ast.Call) -> Any:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
        if name in _CONVERSIONS:
            return super().visit_Call(node)
        self.generic_visit(node)
        return node
