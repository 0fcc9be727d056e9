"""The statements of a written file, each with its comments and the statements inside it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sagebridge.formats.python.source_code import attribute, call, source


@dataclass(frozen=True, slots=True)
class Block:
    """A statement, its comments, and for ``with`` and ``for`` the blocks inside it.

    Attributes:
        node: the statement; the body of ``with`` and ``for`` is ``pass``.
        comments: the lines above it.
        inside: the blocks of its body.
        close: there is no blank line above it.
        above: of a loop over constants: the assignments it needs.
        variables: of a loop over constants: the variables that hold steps, each with the variable
            that the step of each round has without the loop.
    """

    node: ast.stmt
    comments: Sequence[str] = ()
    inside: Sequence[Block] = ()
    close: bool = False
    above: Sequence[ast.Assign] = ()
    variables: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def text(self) -> str:
        """Unformatted source."""
        text = source(self.node)
        if self.inside:
            text = text.removesuffix("pass") + "\n" + indented(blocks_text(self.inside))
        return "\n".join((*map(source, self.above), *self.comments, text))

    def nodes(self) -> Iterator[ast.stmt]:
        """The statement, those above it and those inside it."""
        yield from self.above
        yield self.node
        for block in self.inside:
            yield from block.nodes()

    def names(self, context: type[ast.expr_context] = ast.Load) -> Iterator[str]:
        """The names that its statements use, or with ``Store`` set."""
        for node in self.nodes():
            for one in ast.walk(node):
                if isinstance(one, ast.Name) and isinstance(one.ctx, context):
                    yield one.id


def guarded_block(
    variable: str, guard: str, inside: Sequence[Block], comments: Sequence[str] = ()
) -> Block:
    """``with check.met():``, below the step that it belongs to."""
    opening = call(attribute(ast.Name(variable, ast.Load()), guard))
    node = ast.With([ast.withitem(opening)], [ast.Pass()])
    return Block(node, comments, inside, close=not comments)


def blocks_text(blocks: Sequence[Block]) -> str:
    """The unformatted source of blocks, with a blank line between them."""
    texts = [("\n" if one.close else "\n\n") + one.text() for one in blocks]
    return "".join(texts).lstrip("\n")


def indented(block: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in block.splitlines())
