"""The statements of blocks without their loops over constants, to check the loops."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sagebridge.formats.python.blocks import Block


def statements_of(blocks: Sequence[Block], missing: Mapping[str, ast.expr]) -> list[Any]:
    """The syntax tree of each statement, as text, and the statements inside it.

    Keywords that a loop gives the value in ``missing`` are left out.
    """
    return list(_Unrolled(missing).statements(blocks))


class _Unrolled(ast.NodeTransformer):
    """Runs loops: their variables get values, and their steps get their variables back."""

    def __init__(self, missing: Mapping[str, ast.expr]) -> None:
        self.missing = {name: ast.dump(value) for name, value in missing.items()}
        self.values: dict[str, ast.expr] = {}
        self.earlier: set[str] = set()
        self.steps: dict[str, dict[Any, str]] = {}
        """The variable of each step in a dict, by its key."""
        self.current: dict[str, str] = {}
        """The variable of the step that a round of a loop puts in a dict."""

    def statements(self, blocks: Sequence[Block]) -> Iterator[Any]:
        for block in blocks:
            node = copy.deepcopy(block.node)
            if isinstance(node, ast.For):
                yield from self._loop(block, node)
            elif isinstance(node, ast.Assign) and _name(node) in self.earlier:
                self.values[_name(node)] = self.visit(node.value)
            else:
                yield ast.dump(self.visit(node)), list(self.statements(block.inside))

    def _loop(self, block: Block, node: ast.For) -> Iterator[Any]:
        for one in block.above:
            assert isinstance(one, ast.Assign)
            if isinstance(one.value, ast.Dict):
                self.steps[_name(one)] = {}
            else:
                self.earlier.add(_name(one))
                self.values[_name(one)] = self.visit(copy.deepcopy(one.value))
        assert isinstance(node.iter, ast.Tuple)
        for at, row in enumerate(node.iter.elts):
            if isinstance(node.target, ast.Tuple):
                assert isinstance(row, ast.Tuple)
                pairs = list(zip(node.target.elts, row.elts, strict=True))
            else:
                pairs = [(node.target, row)]
            for target, value in pairs:
                assert isinstance(target, ast.Name)
                self.values[target.id] = value
            for variable, steps in block.variables.items():
                if variable in self.steps:
                    self.current[variable] = steps[at]
                else:
                    self.values[variable] = ast.Name(steps[at], ast.Load())
            yield from self.statements(block.inside)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = copy.deepcopy(self.values.get(node.id, node))
        if isinstance(value, ast.Name):
            value.ctx = node.ctx
        return value

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        text = ""
        for part in node.values:
            value = self.visit(part.value if isinstance(part, ast.FormattedValue) else part)
            text += str(value.value)
        return ast.Constant(text)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if not isinstance(node.value, ast.Name) or node.value.id not in self.steps:
            return self.generic_visit(node)  # type: ignore[return-value]
        variable, key = node.value.id, self.visit(node.slice)
        if isinstance(node.ctx, ast.Store):
            self.steps[variable][key.value] = self.current[variable]
        return ast.Name(self.steps[variable][key.value], node.ctx)

    def visit_Starred(self, node: ast.Starred) -> Any:
        match node.value:
            case ast.Call(ast.Attribute(ast.Name(variable), "values")) if variable in self.steps:
                return [ast.Name(one, ast.Load()) for one in self.steps[variable].values()]
            case ast.GeneratorExp(element, [over]):
                return [self.visit(copy.deepcopy(element)) for _ in self._each(over)]
        return self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        each = self._each(node.generators[0])
        return ast.List([self.visit(copy.deepcopy(node.elt)) for _ in each], ast.Load())

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        keys: list[ast.expr | None] = []
        values = []
        for key in self._each(node.generators[0]):
            keys.append(key)
            values.append(self.visit(copy.deepcopy(node.value)))
        return ast.Dict(keys, values)

    def _each(self, over: ast.comprehension) -> Iterator[ast.expr]:
        """The keys of the steps in a dict, each while its step is the value of the variable."""
        match over:
            case ast.comprehension(
                ast.Name(name) | ast.Tuple([_, ast.Name(name)]),
                ast.Call(ast.Attribute(ast.Name(variable))),
            ):
                for key, step in self.steps[variable].items():
                    self.values[name] = ast.Name(step, ast.Load())
                    yield ast.Constant(key)
                del self.values[name]

    def visit_Call(self, node: ast.Call) -> ast.AST:
        varying = [one for one in node.keywords if _name(one) in self.values]
        self.generic_visit(node)
        node.keywords = [
            one
            for one in node.keywords
            if one not in varying or ast.dump(one.value) != self.missing.get(str(one.arg))
        ]
        return node


def _name(node: ast.Assign | ast.keyword) -> str:
    """The variable that a statement sets, or that a keyword uses."""
    found = node.targets[0] if isinstance(node, ast.Assign) else node.value
    return found.id if isinstance(found, ast.Name) else ""
