"""The uses of steps that a loop over constants creates."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Mapping, Sequence

from sagebridge.formats.python.loop_body import StepsOfLoop
from sagebridge.formats.python.source_code import call

_STEP = "#"


class MovedSteps(ast.NodeTransformer):
    """Replaces the variables of steps by items of dicts.

    If a list, a call or a dict uses all steps of a loop in order, it gets them from the dict:
    ``[*load.values()]``, ``[one.properties.A for one in load.values()]``.
    """

    def __init__(
        self,
        steps: Mapping[str, ast.expr],
        kept: Mapping[str, StepsOfLoop],
        variable: Callable[[], str],
    ) -> None:
        self.steps, self.kept, self.variable = steps, kept, variable

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.steps.get(node.id, node))

    def visit_List(self, node: ast.List) -> ast.AST:
        node.elts = self._shortened(node.elts)
        match node.elts:
            case [ast.Starred(ast.GeneratorExp(element, generators))]:
                return ast.ListComp(element, generators)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.args = self._shortened(node.args)
        return self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict | ast.DictComp) -> ast.AST:
        assert isinstance(node, ast.Dict)
        for variable, own in self.kept.items():
            keys = [one and ast.dump(one) for one in node.keys]
            if keys != list(map(ast.dump, own.keys)):
                continue
            if (each := self._each(node.values, own.steps)) is not None:
                each = _Renamed(_STEP, self.variable()).visit(each)
                over = _over(variable, "items", own.key, self.variable())
                node = ast.DictComp(ast.Name(own.key, ast.Load()), each, over)
                break
        return self.generic_visit(node)

    def _shortened(self, items: Sequence[ast.expr]) -> list[ast.expr]:
        """The items; those for the steps of a loop are one starred item."""
        result = list(items)
        used = frozenset().union(*map(_names_in, items))
        for variable, own in self.kept.items():
            count = len(own.steps)
            for at in range(len(result) - count + 1) if used.issuperset(own.steps) else ():
                each = self._each(result[at : at + count], own.steps)
                if each is None:
                    continue
                values: ast.expr = _members(variable, "values")
                if not isinstance(each, ast.Name):
                    values = ast.GeneratorExp(each, _over(variable, "values", self.variable()))
                result[at : at + count] = [ast.Starred(values, ast.Load())]
                break
        return result

    def _each(self, items: Sequence[ast.expr], steps: Sequence[str]) -> ast.expr | None:
        """The expression for each step, if all items are the same one for the steps in order."""
        pairs = zip(items, steps, strict=True)
        found = [_Renamed(step, _STEP).visit(copy.deepcopy(item)) for item, step in pairs]
        if _STEP not in _names_in(found[0]) or len({ast.dump(one) for one in found}) > 1:
            return None
        if isinstance(found[0], ast.Name):
            return found[0]
        return _Renamed(_STEP, self.variable()).visit(found[0])  # type: ignore[no-any-return]


class _Renamed(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.new, node.ctx) if node.id == self.old else node


def _names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _over(variable: str, method: str, *targets: str) -> list[ast.comprehension]:
    names: list[ast.expr] = [ast.Name(one, ast.Store()) for one in targets]
    target = names[0] if len(names) == 1 else ast.Tuple(names, ast.Store())
    return [ast.comprehension(target, _members(variable, method), [], 0)]


def _members(variable: str, method: str) -> ast.Call:
    return call(ast.Attribute(ast.Name(variable, ast.Load()), method, ast.Load()))
