"""The body of a loop over constants, from the statements of each round."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagebridge.formats.python.blocks import Block
from sagebridge.formats.python.loop_values import Column, LoopValues, Unlike, common_start, size_of
from sagebridge.formats.python.source_code import Names, array, identifier

_BEFORE_STEP = "depends_on"
_ARGUMENTS = ("args", "op_args")
_LOSS = "# sagebridge: "
_NAME_KEYWORDS = ("task_id", "step_name")
_STEP_NAME = "_name"
_VALUE, _OWN, _BEFORE = "?", "#", "<"
"""The first letters of names that stand for values, own steps and earlier steps in a body."""


@dataclass(frozen=True, slots=True)
class StepsOfLoop:
    """The steps in a dict that a loop fills, by variable, and the keys, with their variable."""

    steps: Sequence[str]
    keys: Sequence[ast.expr]
    key: str


@dataclass(frozen=True, slots=True)
class WrittenLoop:
    """A loop, what replaces the variables of its steps, and the dicts that it fills."""

    block: Block
    steps: Mapping[str, ast.expr]
    kept: Mapping[str, StepsOfLoop]


class LoopBody:
    """What the rounds of a loop have in common.

    Raises Unlike if they cannot be one loop, or if it does not save a third of the code.

    Args:
        statements: for each statement, the block of each round.
        uses: how often the file uses each variable.
        missing: see ``rolled``.
        parameters: the parameters of each function in the file.
    """

    def __init__(
        self,
        statements: Sequence[Sequence[Block]],
        uses: Mapping[str, int],
        missing: Mapping[str, ast.expr],
        parameters: Mapping[str, Sequence[str]],
    ) -> None:
        self.statements, self.missing, self.parameters = statements, missing, parameters
        rounds = list(zip(*statements, strict=True))
        targets = [[name for one in blocks for name in one.names(ast.Store)] for blocks in rounds]
        self.own = list(zip(*targets, strict=True))
        """The variables of each step, one per round."""
        self.at = {name: at for at, names in enumerate(self.own) for name in names}
        self.outside = Counter({name: uses[name] for name in self.at})
        for blocks in rounds:
            self.outside.subtract(name for one in blocks for name in one.names())
        self.values = LoopValues()
        self.before: list[tuple[ast.expr, ast.expr]] = []
        """The steps that the first round waits for, and those that each later one waits for."""
        self.body = [self._block(blocks) for blocks in statements]
        self.columns = sorted(self.values.columns(), key=lambda one: one.rank)
        self.kept = [any(self.outside[one] for one in steps) for steps in self.own]
        """Whether steps are used outside the loop."""
        self.cost = sum(_size(blocks[0]) for blocks in statements) + len(self.own)
        self.cost += sum(one.size for one in self.columns) + 4 * len(self.before)
        size = sum(_size(one) for blocks in statements for one in blocks)
        is_worth_it = self.columns and 3 * self.cost <= 2 * size
        if not is_worth_it or (any(self.kept) and not self.columns[0].is_key):
            raise Unlike

    def written(self, names: Names, known: dict[str, str]) -> WrittenLoop:
        """The loop. ``known`` has the variable for the values of each column of other loops."""
        columns, kept = self.columns, self.kept
        key = columns[0]
        step_names = sum(one.wanted.endswith(_STEP_NAME) for one in columns)
        for column in columns:
            only = column.wanted.endswith(_STEP_NAME) and step_names == 1
            wanted = "name" if only else identifier(column.wanted or column.kind)
            values = " ".join(map(ast.dump, column.values))
            if values not in known:
                known[values] = names.free(wanted, suffix="_2")
            column.variable = known[values]
        variables = {names.free(_common(steps) or "steps", steps): steps for steps in self.own}
        own: list[ast.expr] = []
        moved: dict[str, ast.expr] = {}
        above: list[ast.Assign] = []
        for (variable, steps), is_kept in zip(variables.items(), kept, strict=True):
            if not is_kept:
                own.append(ast.Name(variable, ast.Load()))
                continue
            own.append(_item(variable, key.name()))
            above.append(_assign(variable, ast.Dict([], [])))
            items = (_item(variable, value) for value in key.values)
            moved |= dict(zip(steps, items, strict=True))
        earlier = []
        for first, _ in self.before:
            earlier.append(names.free("before"))
            above.append(_assign(earlier[-1], first))
        then = [_assign(one, steps) for one, (_, steps) in zip(earlier, self.before, strict=True)]
        fill = _Filled(own, self.values, earlier)
        inside = [fill.block(one) for one in (*self.body, *map(Block, then))]
        loop = ast.For(_targets(columns), _table(columns), [ast.Pass()], [])
        block = Block(loop, (), inside, above=above, variables=variables)
        filled = {
            variable: StepsOfLoop(steps, key.values, key.variable)
            for (variable, steps), is_kept in zip(variables.items(), kept, strict=True)
            if is_kept
        }
        return WrittenLoop(block, moved, filled)

    def _block(self, blocks: Sequence[Block]) -> Block:
        each = zip(*(one.inside for one in blocks), strict=True)
        steps = [self.at[name] for name in Block(blocks[0].node).names(ast.Store)]
        wanted = f"{_common(self.own[steps[0]])}{_STEP_NAME}" if steps else _STEP_NAME
        node = self._node([one.node for one in blocks], wanted)
        return Block(node, _comments(blocks), [self._block(own) for own in each], blocks[0].close)

    def _node(self, nodes: Sequence[Any], wanted: str) -> Any:
        """The node of all rounds; ``wanted`` is the name of a variable for the values in it."""
        first = nodes[0]
        if any(type(one) is not type(first) for one in nodes):
            raise Unlike
        if isinstance(first, ast.Constant):
            return first if _are_same(nodes) else self._value(nodes, wanted)
        if isinstance(first, ast.Name):
            return self._name(nodes, wanted)
        if isinstance(first, ast.Dict):
            keys = self._each([one.keys for one in nodes], wanted)
            values = zip(keys, *(one.values for one in nodes), strict=True)
            return ast.Dict(keys, [self._node(own, _text(key) or wanted) for key, *own in values])
        result = copy.copy(first)
        for name in first._fields:
            fields: list[Any] = [getattr(one, name, None) for one in nodes]
            if name == "keywords":
                setattr(result, name, self._keywords(nodes, wanted))
            elif isinstance(fields[0], list):
                setattr(result, name, self._each(fields, wanted))
            elif isinstance(fields[0], ast.AST):
                setattr(result, name, self._node(fields, wanted))
            elif any(one != fields[0] for one in fields):
                raise Unlike
        return result

    def _each(self, lists: Sequence[Sequence[Any]], wanted: str) -> list[Any]:
        if any(len(one) != len(lists[0]) for one in lists):
            raise Unlike
        return [self._node(own, wanted) for own in zip(*lists, strict=True)]

    def _keywords(self, calls: Sequence[ast.Call], wanted: str) -> list[ast.keyword]:
        given = [{str(one.arg): one.value for one in own.keywords} for own in calls]
        parameters = self._parameters_of(calls[0])
        order = max(given, key=len)
        if any(own.keys() - order.keys() for own in given):
            raise Unlike
        result = []
        for name in order:
            values = [own.get(name) for own in given]
            if name in self.missing:
                value = self._optional(name, values)
            elif name in _ARGUMENTS and all(isinstance(one, ast.List) for one in values):
                value = self._arguments(values, parameters)
            else:
                value = self._node(values, wanted if name in _NAME_KEYWORDS else name)
            result.append(ast.keyword(name, value))
        return result

    def _parameters_of(self, node: ast.Call) -> Sequence[str]:
        """The parameters of the function that a step calls."""
        values = [*node.args, *(one.value for one in node.keywords)]
        names = (one.id for one in values if isinstance(one, ast.Name))
        return next((self.parameters[one] for one in names if one in self.parameters), ())

    def _arguments(self, lists: Sequence[Any], parameters: Sequence[str]) -> ast.expr:
        if any(len(one.elts) != len(lists[0].elts) for one in lists):
            raise Unlike
        each = zip(*(one.elts for one in lists), strict=True)
        wanted = [*parameters, *("value" for _ in lists[0].elts)]
        return array(self._node(own, name) for own, name in zip(each, wanted, strict=False))

    def _value(self, nodes: Sequence[ast.expr], wanted: str) -> ast.Name:
        if any(name in self.at for one in nodes for name in _names_in(one)):
            raise Unlike
        return ast.Name(f"{_VALUE}{self.values.add(nodes, wanted)}", ast.Load())

    def _name(self, nodes: Sequence[ast.Name], wanted: str) -> ast.Name:
        names = tuple(one.id for one in nodes)
        at = self.at.get(names[0])
        if at is not None and names == self.own[at]:
            return ast.Name(f"{_OWN}{at}", nodes[0].ctx)
        return nodes[0] if len(set(names)) == 1 else self._value(nodes, wanted)

    def _optional(self, name: str, values: Sequence[Any]) -> ast.expr:
        """The value of a keyword that some rounds may not have."""
        known = len(self.values.varying)
        if None not in values:
            try:
                return self._node(values, name)  # type: ignore[no-any-return]
            except Unlike:
                del self.values.varying[known:]
        if name == _BEFORE_STEP and None not in values[1:]:
            try:
                return self._before(values)
            except Unlike:
                pass
        return self._value([one or self.missing[name] for one in values], name)

    def _before(self, values: Sequence[Any]) -> ast.expr:
        """The steps that a round waits for, if they are those of the round before it."""
        later = [_Earlier(self, at).visit(copy.deepcopy(one)) for at, one in enumerate(values[1:])]
        if not _are_same(later):
            raise Unlike
        for at, one in enumerate(values[1:]):
            self.outside.subtract(name for name in _names_in(one) if name in self.own_of(at))
        self.before.append((values[0] or self.missing[_BEFORE_STEP], later[0]))
        return ast.Name(f"{_BEFORE}{len(self.before) - 1}", ast.Load())

    def own_of(self, at: int) -> list[str]:
        """The variables of the steps of one round."""
        return [names[at] for names in self.own]


class _Earlier(ast.NodeTransformer):
    """Replaces the steps of one round; there may be none of another round."""

    def __init__(self, body: LoopBody, at: int) -> None:
        self.body, self.own = body, body.own_of(at)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id in self.own:
            return ast.Name(f"{_OWN}{self.own.index(node.id)}", node.ctx)
        if node.id in self.body.at:
            raise Unlike
        return node


class _Filled(ast.NodeTransformer):
    """Replaces the names that stand for something else."""

    def __init__(self, own: Sequence[ast.expr], values: LoopValues, earlier: Sequence[str]) -> None:
        self.own, self.values, self.earlier = own, values, earlier

    def block(self, block: Block) -> Block:
        inside = [self.block(one) for one in block.inside]
        return Block(self.visit(block.node), block.comments, inside, block.close)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        kind, number = node.id[0], node.id[1:]
        if kind == _VALUE:
            return self.values.expression(int(number))
        if kind == _BEFORE:
            return ast.Name(self.earlier[int(number)], node.ctx)
        if kind != _OWN:
            return node
        own = copy.copy(self.own[int(number)])
        own.ctx = node.ctx  # type: ignore[attr-defined] # a name or an item
        return own


def _size(block: Block) -> int:
    return sum(map(size_of, block.nodes()))


def _names_in(node: ast.AST) -> list[str]:
    return [one.id for one in ast.walk(node) if isinstance(one, ast.Name)]


def _are_same(nodes: Sequence[ast.AST]) -> bool:
    return len({ast.dump(one) for one in nodes}) == 1


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _comments(blocks: Sequence[Block]) -> list[str]:
    """The comments of the first round, and the losses, whose codes must be equal in each round."""
    losses = [[one for one in it.comments if one.startswith(_LOSS)] for it in blocks]
    codes = [[one.split(":")[1] for one in own] for own in losses]
    if any(own != codes[0] for own in codes):
        raise Unlike
    notes = [[one for one in it.comments if not one.startswith(_LOSS)] for it in blocks]
    if any(notes[1:]):
        raise Unlike
    return [*notes[0], *dict.fromkeys(one for own in losses for one in own)]


def _common(names: Sequence[str]) -> str:
    """The words that variables begin or end with."""
    words = [one.split("_") for one in names]
    found = common_start(words) or common_start([one[::-1] for one in words])[::-1]
    return identifier("_".join(found)) if found else ""


def _assign(variable: str, value: ast.expr) -> ast.Assign:
    return ast.Assign([ast.Name(variable, ast.Store())], value, lineno=0)


def _item(variable: str, key: ast.expr) -> ast.Subscript:
    return ast.Subscript(ast.Name(variable, ast.Load()), key, ast.Load())


def _targets(columns: Sequence[Column]) -> ast.expr:
    names: list[ast.expr] = [ast.Name(one.variable, ast.Store()) for one in columns]
    return names[0] if len(names) == 1 else ast.Tuple(names, ast.Store())


def _table(columns: Sequence[Column]) -> ast.expr:
    if len(columns) == 1:
        return ast.Tuple(list(columns[0].values), ast.Load())
    rows = zip(*(one.values for one in columns), strict=True)
    return ast.Tuple([ast.Tuple(list(row), ast.Load()) for row in rows], ast.Load())
