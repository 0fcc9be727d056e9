"""Loops over constants, in place of runs of steps that are the same apart from constants.

``load_orders = …``, ``load_items = …``, ``load_customers = …`` become ``load = {}`` and ``for name
in ("orders", "items", "customers"): load[name] = …``. Later steps use ``load["orders"]``. A loop is
written only if it gives the same statements again when it is unrolled.
"""

from __future__ import annotations

import ast
import copy
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from sagebridge.formats.python.blocks import Block
from sagebridge.formats.python.loop_body import LoopBody, StepsOfLoop
from sagebridge.formats.python.loop_uses import MovedSteps
from sagebridge.formats.python.loop_values import Unlike
from sagebridge.formats.python.source_code import Names
from sagebridge.formats.python.step_calls import Functions
from sagebridge.formats.python.unrolling import statements_of
from sagebridge.model.values import EMPTY

_MOST_STATEMENTS = 40
_LEAST_ROUNDS = 3
_MOST_FAILURES = 3
"""Attempts to find a loop in one run of statements."""
_ABSENT = "ABSENT"
_DEEPEST = 150
"""Deeper statements are not compared, since each level takes several Python frames."""


def rolled(
    blocks: Sequence[Block],
    names: Names,
    missing: Mapping[str, ast.expr],
    functions: Functions,
    unused: Collection[str] = (),
) -> Sequence[Block]:
    """The blocks, with loops over constants; these give the same statements as the blocks.

    ``missing`` has the keywords that a call may have with a value that means that it is not given.
    The variables in ``unused`` are left out.
    """
    rolling = _Rolling(blocks, names, missing, functions)
    result = rolling.level(blocks)
    if not rolling.loops or statements_of(result, missing) != statements_of(blocks, missing):
        result = list(blocks)
    if unused:
        result = [_without(one, unused) for one in result]
    absent = names.fixed(_ABSENT).id
    if any(name == absent for block in result for name in block.names()):
        names.use(_ABSENT)
    return result


def _without(block: Block, unused: Collection[str], own: Mapping[str, Any] = EMPTY) -> Block:
    """A block without assignments to unused variables; ``own`` are the steps of a loop's ones."""
    node = block.node
    match node:
        case ast.Assign([ast.Name(name)], value):
            if all(one in unused for one in own.get(name, (name,))):
                node = ast.Expr(value)
    own = block.variables or own
    return replace(block, node=node, inside=[_without(one, unused, own) for one in block.inside])


class _Shapes:
    """Numbers for blocks: equal ones for those that differ only in constants and steps."""

    def __init__(self, variables: frozenset[str], missing: Collection[str]) -> None:
        self.variables, self.missing = variables, missing
        self._numbers: dict[tuple[Any, ...], int] = {}

    def of(self, block: Block) -> int:
        """The number of a block's shape."""
        found: list[Any] = []
        self._block(block, found)
        if _DEEPEST in found:
            return -id(block)
        return self._numbers.setdefault(tuple(found), len(self._numbers))

    def _block(self, block: Block, found: list[Any]) -> None:
        found += (block.close, len(block.inside))
        self._node(block.node, found, 0)
        for one in block.inside:
            self._block(one, found)

    def _node(self, node: ast.AST, found: list[Any], depth: int) -> None:
        if isinstance(node, ast.Constant):
            found.append(ast.Constant)
        elif isinstance(node, ast.Name):
            found.append(ast.Name if node.id in self.variables else node.id)
        elif depth == _DEEPEST:
            found.append(_DEEPEST)
        else:
            found.append(type(node))
            for name in node._fields:
                value = getattr(node, name, None)
                if isinstance(value, list):
                    same = [one for one in value if getattr(one, "arg", "") not in self.missing]
                    found.append(len(same))
                    for one in same:
                        self._node(one, found, depth + 1)
                elif isinstance(value, ast.AST):
                    self._node(value, found, depth + 1)
                else:
                    found.append(str(value))


class _Rolling:
    """Finds the loops of a file."""

    def __init__(
        self,
        blocks: Sequence[Block],
        names: Names,
        missing: Mapping[str, ast.expr],
        functions: Functions,
    ) -> None:
        self.names, self.missing, self.functions = names, missing, functions
        self.shapes = _Shapes(frozenset(names.variables.values()), missing)
        self.uses: Counter[str] = Counter(name for block in blocks for name in block.names())
        self.steps: dict[str, ast.expr] = {}
        """What stands for the variable of each step that a loop creates."""
        self.kept: dict[str, StepsOfLoop] = {}
        self.known: dict[str, str] = {}
        """The variable for the values of each column of a loop."""
        self.loops = 0

    def level(self, blocks: Sequence[Block]) -> list[Block]:
        """The blocks of one body, with loops."""
        result: list[Block] = []
        runs = _Runs([self.shapes.of(one) for one in blocks])
        at = 0
        while at < len(blocks):
            for statements, rounds, spare in runs.at(at):
                found = [self._body(blocks, at + more, statements, rounds) for more in spare]
                best = min(found, key=lambda one: one.cost if one else math.inf)
                if best is None:
                    runs.fail(at, statements)
                    continue
                if best is found[0]:
                    loop = best.written(self.names, self.known)
                    result.append(loop.block)
                    self.loops += 1
                    self.steps |= loop.steps
                    self.kept |= loop.kept
                    at += statements * rounds
                    break
            else:
                block = self._current(blocks[at])
                result.append(replace(block, inside=self.level(block.inside)))
                at += 1
        return result

    def _body(
        self, blocks: Sequence[Block], first: int, statements: int, rounds: int
    ) -> LoopBody | None:
        run = [self._current(one) for one in blocks[first : first + statements * rounds]]
        each = [run[at::statements] for at in range(statements)]
        try:
            return LoopBody(each, self.uses, self.missing, self.functions.parameters)
        except Unlike:
            return None

    def _current(self, block: Block) -> Block:
        """A block in which the steps of loops above it have their new names."""
        if self.steps.keys().isdisjoint(block.names()):
            return block
        moved = MovedSteps(self.steps, self.kept, lambda: self._variable)
        node = moved.visit(copy.deepcopy(block.node))
        return replace(block, node=node, inside=[self._current(one) for one in block.inside])

    @cached_property
    def _variable(self) -> str:
        """The variable of comprehensions over the steps of a loop."""
        return self.names.free("one", suffix="_2")


class _Runs:
    """The repeated statements of one body."""

    def __init__(self, shapes: Sequence[int]) -> None:
        self.failures: Counter[tuple[int, int]] = Counter()
        self.equal: dict[int, list[int]] = {}
        """By a number of statements: how many from each one on have the shape of those before."""
        for statements in range(1, min(_MOST_STATEMENTS, len(shapes) // _LEAST_ROUNDS) + 1):
            found = [0] * (len(shapes) + 1)
            for at in range(len(shapes) - 1, statements - 1, -1):
                if shapes[at] == shapes[at - statements]:
                    found[at] = found[at + 1] + 1
            if any(found):
                self.equal[statements] = found

    def at(self, first: int) -> Iterator[tuple[int, int, range]]:
        """The statements and rounds of loops that may begin there, the largest ones first.

        The range has how much later a loop of the same size may begin.
        """
        found: list[tuple[int, int]] = []
        for statements, equal in self.equal.items():
            same = equal[first + statements] if first + statements < len(equal) else 0
            if same // statements + 1 >= _LEAST_ROUNDS:
                found.append((same // statements * statements, -statements))
        for same, statements in sorted(found, reverse=True):
            if self.failures[self._run(first, -statements)] < _MOST_FAILURES:
                spare = (self.equal[-statements][first - statements]) % -statements
                yield -statements, same // -statements + 1, range(spare + 1)

    def fail(self, first: int, statements: int) -> None:
        """Count that no loop of these statements can begin there."""
        self.failures[self._run(first, statements)] += 1

    def _run(self, first: int, statements: int) -> tuple[int, int]:
        return statements, first + self.equal[statements][first + statements]
