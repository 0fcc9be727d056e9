"""The text of statements, at the left margin and with their comments."""

from __future__ import annotations

import ast
import copy
import inspect
import re
import sys
import textwrap
from collections.abc import Sequence
from typing import TypeVar

LITERALS = (str, int, float, bool, type(None), list, tuple, dict)
_BLOCKS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_MARKER = re.compile(r"\s*#\s*\[(?:START|END)\b")
GUARD = "if TYPE_CHECKING:"
_Node = TypeVar("_Node", bound=ast.AST)


def plain_definition(node: _Node, *, annotations: bool = True, decorators: bool = True) -> _Node:
    """A copy whose docstrings are as a formatter leaves them.

    Without ``annotations``, those of signatures are left out, and without ``decorators`` those of
    the definition itself.
    """
    plain = copy.deepcopy(node)
    if not decorators and isinstance(plain, _BLOCKS):
        plain.decorator_list = []
    for one in ast.walk(plain):
        if isinstance(one, _BLOCKS):
            match one.body[0]:
                case ast.Expr(value=ast.Constant(value=str() as text) as constant):
                    lines = inspect.cleandoc(text).splitlines()
                    constant.value = "\n".join(line.rstrip() for line in lines)
        if not annotations:
            if isinstance(one, ast.arg):
                one.annotation = None
            elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                one.returns = None
    return plain


def statement_text(
    node: ast.stmt, source: str, decorators: Sequence[ast.expr] | None = None
) -> str:
    """The text of a statement; ``decorators`` are those of a definition that are kept.

    It is the original text if that means the same at the left margin.
    """
    kept = node
    if decorators is not None and isinstance(node, _BLOCKS):
        kept = copy.copy(node)
        kept.decorator_list = list(decorators)
    try:
        text = statement_lines(node, source, decorators)
        (again,) = ast.parse(text).body
        if ast.dump(plain_definition(again)) == ast.dump(plain_definition(kept)):
            return text
    except (SyntaxError, ValueError, IndexError):
        pass
    return ast.unparse(kept)


def built_text(definition: ast.FunctionDef | ast.AsyncFunctionDef, source: str) -> str:
    """The text of a function that is built from statements of a source, which keep their text."""
    head = copy.copy(definition)
    head.body = [ast.Pass()]
    lines = [ast.unparse(ast.fix_missing_locations(head)).rpartition("\n")[0]]
    for node in definition.body:
        text = ""
        if hasattr(node, "col_offset"):
            text = statement_text(node, source)
        elif isinstance(node, ast.Return) and node.value and hasattr(node.value, "col_offset"):
            segment = ast.get_source_segment(source, node.value) or ""
            text = "" if "\n" in segment else f"return {segment}"
        lines.append(textwrap.indent(text or ast.unparse(node), "    "))
    whole = "\n".join(lines)
    code = ast.unparse(ast.fix_missing_locations(definition))
    try:
        return whole if ast.unparse(ast.parse(whole)) == code else code
    except (SyntaxError, ValueError):
        return code


def at_margin(expression: str) -> str:
    """An expression whose further lines are indented like the statement of a function."""
    first, _, rest = expression.partition("\n")
    rest = textwrap.indent(textwrap.dedent(rest), "    ")
    return f"{first}\n{rest}" if rest else first


def statement_lines(
    node: ast.stmt, source: str, decorators: Sequence[ast.expr] | None = None
) -> str:
    """The lines of a statement at the left margin, with its comments.

    These are comments right above it, after its last expression, and below it in its body; markers
    of excerpts above it are left out.
    """
    lines = source.split("\n")
    written: Sequence[ast.expr] = getattr(node, "decorator_list", ())
    first, last = node.lineno - 1, node.end_lineno or node.lineno
    rest = lines[last - 1].encode()[node.end_col_offset or 0 :].decode().strip()
    before = lines[first].encode()[: node.col_offset].decode().strip()
    if before or (rest and not rest.startswith("#")):  # another statement on the line
        return textwrap.dedent(ast.get_source_segment(source, node, padded=True) or "")
    removed = decorators is not None and len(decorators) < len(written)
    if decorators is None or not removed:
        first = min([first, *(one.lineno - 1 for one in written)])
    elif decorators:
        first = min(one.lineno - 1 for one in decorators)
    top = first
    while first > 0 and _is_comment(lines[first - 1]) and (first > 1 or not _is_header(lines[0])):
        first -= 1
    end = last
    for position in range(last, len(lines)) if isinstance(node, _BLOCKS) else ():
        line = lines[position]
        if _is_comment(line) and len(line) - len(line.lstrip()) > node.col_offset:
            end = position + 1
        elif line.strip():
            break
    above = [line for line in lines[first:top] if not is_marker(line)]
    own = [line.rstrip("\r") for line in (*above, *lines[top:end])]
    return "\n".join(own) if not node.col_offset else textwrap.dedent("\n".join(own))


def is_marker(line: str) -> bool:
    """Whether a line is a comment that marks an excerpt for documentation: ``# [START name]``."""
    return bool(_MARKER.match(line))


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _is_header(line: str) -> bool:
    """Whether a first line is that of a file, such as ``#!/usr/bin/env python``."""
    return _is_comment(line)


def split_imports(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """The imports at the top of a module, and its other statements."""
    at = next((at for at, one in enumerate(texts) if not _is_import(one)), len(texts))
    return list(texts[:at]), list(texts[at:])


def guarded(texts: Sequence[str]) -> str:
    """Imports under ``if TYPE_CHECKING``."""
    return "\n".join((GUARD, *(f"    {line}" for text in texts for line in text.splitlines())))


def guarded_imports(text: str) -> list[str]:
    """The imports in such a block."""
    (block,) = ast.parse(text).body
    assert isinstance(block, ast.If)
    return [statement_text(one, text) for one in block.body]


def sorted_imports(texts: Sequence[str]) -> list[str]:
    """Statements with the imports at the top in isort's order."""
    imports, rest = split_imports(texts)
    return [*sorted(imports, key=_import_order), *rest]


def _import_order(text: str) -> tuple[int, bool, str]:
    node = ast.parse(text).body[0]
    group = ("future", "standard", "third-party", "guard").index(_kind(text))
    if isinstance(node, ast.Import):
        return group, False, node.names[0].name
    return group, True, getattr(node, "module", None) or ""


def _is_import(text: str) -> bool:
    return _kind(text) not in ("block", "other")


def joined(texts: Sequence[str]) -> str:
    """The statements of a module in order, with blank lines that follow from their kinds."""
    result = ""
    last = ""
    for text in (one.strip("\n") for one in texts):
        if not result:
            result = text
        else:
            result += "\n" * (1 + blank_lines(last, text)) + text
        last = text
    return result


def blank_lines(above: str, below: str) -> int:
    """The number of blank lines between two statements."""
    kinds = (_kind(above), _kind(below))
    if "block" in kinds:
        return 2
    if kinds[0] != kinds[1]:
        return 1
    return int(kinds[0] == "other" and ("\n" in above or "\n" in below))


def _kind(text: str) -> str:
    """Statements of one kind have no blank line between them."""
    node = ast.parse(text).body[0]
    if text.startswith(GUARD):
        return "guard"
    if isinstance(node, _BLOCKS):
        return "block"
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = node.names[0].name if isinstance(node, ast.Import) else node.module or ""
        package = module.partition(".")[0]
        standard = package in sys.stdlib_module_names
        return "future" if package == "__future__" else "standard" if standard else "third-party"
    return "other"
