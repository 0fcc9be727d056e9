"""The source of user functions, if it is self-contained. Nothing is executed."""

from __future__ import annotations

import ast
import builtins
import copy
import inspect
import re
import symtable
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from sagebridge.model.display import shown
from sagebridge.model.functions import Function
from sagebridge.model.parameters import PYTHON_TYPES

_ENGINES = frozenset(("airflow", "prefect"))
_DECORATED = "has another decorator"


class NotSelfContained(Exception):
    """A function or command that needs its module; the string completes "it ..."."""


def of_function(function: Any, *, decorated: bool = False) -> Function:
    """The source of a live function. ``decorated`` allows one decorator, which is removed.

    Raises :class:`NotSelfContained`.
    """
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        raise NotSelfContained("is not a named function")
    if hasattr(function, "__wrapped__"):
        raise NotSelfContained(_DECORATED)
    try:
        source = inspect.getsource(function.__code__)
        if source[0].isspace():
            source = f"if True:\n{source}"
        (definition,) = ast.parse(source).body
    except (OSError, SyntaxError, TypeError, ValueError):
        raise NotSelfContained("has no readable source") from None
    if isinstance(definition, ast.If):
        definition = definition.body[0]
    found = of_definition(definition, source, decorated=decorated)
    assert isinstance(definition, ast.FunctionDef)
    if not _has_its_defaults(function, definition):
        raise NotSelfContained("has defaults that differ from its source")
    return found


def function_text(function: Any) -> str:
    """The source of a live function, for people; empty if it is not known."""
    try:
        return inspect.getsource(inspect.unwrap(function))
    except (OSError, TypeError, ValueError):
        return ""


def of_definition(definition: Any, source: str, *, decorated: bool = False) -> Function:
    """The function of a ``def`` statement. Raises :class:`NotSelfContained`."""
    if not isinstance(definition, ast.FunctionDef):
        raise NotSelfContained("is not a plain function")
    if len(definition.decorator_list) > int(decorated):
        raise NotSelfContained(_DECORATED)
    plain = _plain(definition)
    returns = _returns(definition.returns)
    used = _needs(plain)
    if used and not _needs(bare := _without_annotations(plain)):
        plain, used = bare, []
        source, definition = _unannotated(source, definition)
    if used:
        raise NotSelfContained(f"uses {', '.join(map(shown, used))} from its module")
    if engines := sorted(set(_imported(plain)) & _ENGINES):
        raise NotSelfContained(f"imports {engines[0]}, which may be missing where the step runs")
    return Function(
        plain.name, ast.unparse(plain), _text(definition, source, plain), returns=returns
    )


def _returns(annotation: ast.expr | None) -> str:
    match annotation:
        case ast.Name(id=name) | ast.Constant(value=str() as name):
            return PYTHON_TYPES.get(name, "")
    return ""


def renamed(function: Function, name: str) -> Function:
    """The function under another name, recursive calls included; its text keeps its layout."""
    if name == function.name:
        return function
    definition = ast.parse(function.code).body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.name = name
    for node in _own_names(definition, function.name):
        node.id = name
    code = ast.unparse(definition)
    return Function(name, code, _renamed_text(function, name, code), function.returns)


def _own_names(definition: ast.FunctionDef, name: str) -> Iterator[ast.Name]:
    """The nodes that refer to the function itself."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Name) and node.id == name:
            yield node


def _renamed_text(function: Function, name: str, code: str) -> str:
    """The text under another name; empty if it does not mean ``code``.

    Before Python 3.12, the names in f-strings have no positions, so that the check fails.
    """
    if not function.text:
        return ""
    definition = ast.parse(function.text).body[0]
    assert isinstance(definition, ast.FunctionDef)
    lines = function.text.encode().split(b"\n")
    old, new = function.name.encode(), name.encode()
    header = re.match(rb"\s*def\s+", lines[definition.lineno - 1])
    places = [(one.lineno, one.col_offset) for one in _own_names(definition, function.name)]
    places += [(definition.lineno, header.end())] if header else []
    for line, column in sorted(set(places), reverse=True):
        code_line = lines[line - 1]
        if code_line[column : column + len(old)] != old:
            return ""
        lines[line - 1] = code_line[:column] + new + code_line[column + len(old) :]
    text = b"\n".join(lines).decode()
    (again,) = ast.parse(text).body
    same = isinstance(again, ast.FunctionDef) and ast.unparse(_plain(again)) == code
    return text if same else ""


def _has_its_defaults(function: FunctionType, definition: ast.FunctionDef) -> bool:
    """Whether the literal defaults of a ``def`` are those of the live function."""
    said, live = definition.args.defaults, function.__defaults__ or ()
    named = {
        one.arg: default
        for one, default in zip(
            definition.args.kwonlyargs, definition.args.kw_defaults, strict=True
        )
        if default is not None
    }
    live_named = function.__kwdefaults__ or {}
    if len(said) != len(live) or named.keys() != live_named.keys():
        return False
    pairs = (*zip(said, live, strict=True), *((named[one], live_named[one]) for one in named))
    return all(_may_be(default, value) for default, value in pairs)


def _may_be(default: ast.expr, value: object) -> bool:
    try:
        literal = ast.literal_eval(default)
    except (ValueError, TypeError):
        return True
    return type(literal) is type(value) and repr(literal) == repr(value)


def _plain(definition: ast.FunctionDef) -> ast.FunctionDef:
    """A copy without decorators, its docstrings as a formatter leaves them."""
    plain = copy.deepcopy(definition)
    plain.decorator_list = []
    for node in ast.walk(plain):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            match node.body[0]:
                case ast.Expr(value=ast.Constant(value=str() as text) as constant):
                    lines = inspect.cleandoc(text).splitlines()
                    constant.value = "\n".join(line.rstrip() for line in lines)
    return plain


def _text(definition: ast.FunctionDef, source: str, plain: ast.FunctionDef) -> str:
    """The original text of a definition, if it means the same at module level, otherwise empty."""
    try:
        text = _lines_of(definition, source)
        (again,) = ast.parse(text).body
    except (SyntaxError, ValueError, IndexError):
        return ""
    same = isinstance(again, ast.FunctionDef) and ast.dump(_plain(again)) == ast.dump(plain)
    return text if same else ""


def _lines_of(definition: ast.FunctionDef, source: str) -> str:
    """The lines of a definition without its decorators, at the left margin, comments included.

    These are comments below the decorators, after the last statement, and below it in the body.
    """
    lines = source.split("\n")
    first, last = definition.lineno - 1, definition.end_lineno or definition.lineno
    rest = lines[last - 1].encode()[definition.end_col_offset or 0 :].decode().strip()
    if rest and not rest.startswith("#"):  # another statement follows
        return textwrap.dedent(ast.get_source_segment(source, definition, padded=True) or "")
    while first and _is_comment(lines[first - 1]) and definition.decorator_list:
        first -= 1
    end = last
    for position in range(last, len(lines)):
        line = lines[position]
        if _is_comment(line) and len(line) - len(line.lstrip()) > definition.col_offset:
            end = position + 1
        elif line.strip():
            break
    own = [line.rstrip("\r") for line in lines[first:end]]
    return "\n".join(own) if not definition.col_offset else textwrap.dedent("\n".join(own))


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _without_annotations(definition: ast.FunctionDef) -> ast.FunctionDef:
    """A copy without the annotations of its signature, which calls do not need."""
    bare = copy.deepcopy(definition)
    bare.returns = None
    for argument in _arguments(bare):
        argument.annotation = None
    return bare


def _unannotated(source: str, definition: ast.FunctionDef) -> tuple[str, Any]:
    """The source of the definition alone, without the annotations of its signature."""
    text = _lines_of(definition, source)
    try:
        (definition,) = ast.parse(text).body  # type: ignore[assignment]
    except (SyntaxError, ValueError):
        return "", definition
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def offset(line: int | None, column: int | None) -> int:
        return starts[(line or 1) - 1] + (column or 0)

    cuts = [
        (offset(one.lineno, one.col_offset) + len(one.arg.encode()), one.annotation)
        for one in _arguments(definition)
        if one.annotation is not None
    ]
    data = text.encode()
    if definition.returns is not None:
        returns = offset(definition.returns.lineno, definition.returns.col_offset)
        arrow = data.rindex(b"->", 0, returns)
        cuts.append((len(data[:arrow].rstrip()), definition.returns))
    for start, annotation in sorted(cuts, key=lambda cut: cut[0], reverse=True):
        end = offset(annotation.end_lineno, annotation.end_col_offset)
        # PEP 8: spaces around the "=" of a default only after an annotation.
        data = data[:start] + re.sub(rb"^[ \t]*=[ \t]*", b"=", data[end:])
    text = data.decode()
    return text, ast.parse(text).body[0]


def _arguments(definition: ast.FunctionDef) -> Iterator[ast.arg]:
    given = definition.args
    for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if one is not None:
            yield one


def _imported(definition: ast.FunctionDef) -> Iterator[str]:
    """The top-level packages that a function imports."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def _needs(definition: ast.FunctionDef) -> list[str]:
    """The names that a function reads or sets in its module, other than builtins."""
    own = definition.name

    def inside(scope: symtable.SymbolTable, top: bool) -> Iterator[str]:
        for symbol in scope.get_symbols():
            name = symbol.get_name()
            if not top and (symbol.is_declared_global() or (name == own and symbol.is_local())):
                yield name
            outer = symbol.is_global() or (top and not symbol.is_assigned())
            if outer and symbol.is_referenced() and name != own and not hasattr(builtins, name):
                yield name
        for child in scope.get_children():
            yield from inside(child, top=False)

    return sorted(set(inside(symtable.symtable(ast.unparse(definition), "source", "exec"), True)))
