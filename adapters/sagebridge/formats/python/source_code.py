"""Python source for the Airflow and Prefect writers, built from ``ast`` nodes.

Strings of a definition only appear in literals, which Python quotes. ruff's formatter makes the
output the same, byte for byte, each time.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

from sagebridge.authoring.json_document import MAX_DEPTH
from sagebridge.errors import FormatError, MissingExtra
from sagebridge.model.conditions import Comparison, Condition, In, Not, Or
from sagebridge.model.display import numbered
from sagebridge.model.expressions import (
    Get,
    Index,
    Join,
    JsonGet,
    Key,
    Member,
    Template,
    Token,
    current_item,
    execution,
    template,
)
from sagebridge.model.for_each import ITEM, OUTPUT
from sagebridge.model.values import ABSENT, Absent, Object, Value, key_of

_CALLS_A_LEVEL = 8
"""The most Python frames that ``ast.unparse`` uses for one level of nesting."""
_LONG = 50
"""Parts from which a reference is written as one string, as Python nests every attribute."""
_NEWLINE = "\ue000"
"""A newline in a string. It is not printable, so that no string in triple quotes contains it."""
_RECURSION_LIMIT = threading.Lock()
"""Threads share the limit: one must not lower it while another needs it."""
_SHOWN_BY_REPR = frozenset((str, int, bool, type(None)))
_VARIABLES = {
    getattr(execution, name).text: name for name in vars(type(execution)) if name[0] != "_"
}
_COMPARISONS = {
    "Equals": "equals",
    "GreaterThan": "greater_than",
    "GreaterThanOrEqualTo": "greater_than_or_equal_to",
    "LessThan": "less_than",
    "LessThanOrEqualTo": "less_than_or_equal_to",
}


@dataclass(slots=True)
class Names:
    """The identifiers of a file: imported names and one variable per step.

    An imported name that is ``foreign``, because carried code has it for something else, gets a
    prefix.
    """

    reserved: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    imported: set[str] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def use(self, name: str) -> ast.Name:
        """A name, which the file then imports."""
        self.imported.add(name)
        return self.fixed(name)

    def fixed(self, name: str) -> ast.Name:
        """A name that the file imports anyway."""
        return ast.Name(f"sagebridge_{name}" if name in self.foreign else name, ast.Load())

    def variable(self, step: str) -> str:
        """The variable of a step, made from its name on first use."""
        if step not in self.variables:
            self.variables[step] = self.free(identifier(step))
        return self.variables[step]

    def free(self, wanted: str, own: Collection[str] = (), suffix: str = "_step") -> str:
        """A variable that nothing else in the file has; it may be one of its ``own``."""
        names = chain((wanted, f"{wanted}{suffix}"), numbered(wanted))
        name = next(one for one in names if one in own or self._is_free(one))
        self._taken.add(name)
        return name

    def _is_free(self, name: str) -> bool:
        return name not in self._taken and name not in self.reserved and not _shadows(name)


def _shadows(name: str) -> bool:
    """Whether a variable of that name is an error, hides a builtin or looks like a 1."""
    ruled_out = keyword.iskeyword(name) or keyword.issoftkeyword(name) or name == "l"
    return ruled_out or hasattr(builtins, name)


def identifier(name: str) -> str:
    """``AbaloneMSECond`` and ``abalone-mse.cond`` as snake case: ``abalone_mse_cond``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    text = re.sub(r"\W+|_+", "_", words, flags=re.ASCII).strip("_").lower()
    return f"step_{text}".rstrip("_") if not text or text[0].isdigit() else text


def call(function: ast.expr, *args: ast.expr, **keywords: ast.expr) -> ast.Call:
    return ast.Call(
        func=function,
        args=list(args),
        keywords=[ast.keyword(arg=name, value=value) for name, value in keywords.items()],
    )


def attribute(base: ast.expr, name: str) -> ast.Attribute:
    return ast.Attribute(value=base, attr=name, ctx=ast.Load())


def array(items: Iterable[ast.expr]) -> ast.List:
    return ast.List(elts=list(items), ctx=ast.Load())


@dataclass(slots=True)
class Expressions:
    """Values of the model as Python expressions; ``defined`` are the steps that have a variable."""

    names: Names
    defined: set[str] = field(default_factory=set)
    properties: str = "properties"
    used: set[str] = field(default_factory=set)

    def value(self, value: Value) -> ast.expr:
        if isinstance(value, str):
            return ast.Constant(value)
        match value:
            case Object():
                keys: list[ast.expr | None] = [ast.Constant(name) for name in value]
                return ast.Dict(keys, [self.value(item) for item in value.values()])
            case Absent():
                return self.names.use("ABSENT")
            case Get():
                return self.get(value)
            case Join():
                return self._join(value)
            case JsonGet():
                return self._json_get(value)
            case Template(text):
                return call(self.names.use("template"), ast.Constant(text))
            case Mapping():
                return ast.Dict(
                    keys=[ast.Constant(name) for name in value],
                    values=[self.value(item) for item in value.values()],
                )
            case list() | tuple():
                return array(self.value(item) for item in value)
            case int() | float() if str(value)[0] == "-":
                return ast.UnaryOp(ast.USub(), ast.Constant(-value))
        return ast.Constant(value)

    def get(self, reference: Get) -> ast.expr:
        plain = reference.spelling is None
        first, only = reference.tokens[0], len(reference.tokens) == 1
        if plain and only and reference.root == "Parameters" and isinstance(first, Member):
            return call(self.names.use("parameter"), ast.Constant(reference.name))
        if plain and reference.text in _VARIABLES:
            return attribute(self.names.use("execution"), _VARIABLES[reference.text])
        if plain and (found := _iteration_variable(reference)) is not None:
            name, tokens = found
            if self._is_attribute_path((Member(name), *reference.tokens)):
                return _path(self.names.use(name), tokens)
        is_known = reference.root == "Steps" and reference.name in self.defined
        if plain and is_known and self._is_attribute_path(reference.tokens):
            return _path(
                attribute(self.step(reference.name), self.properties), reference.tokens[1:]
            )
        return call(self.names.use("get"), ast.Constant(reference.text))

    def step(self, name: str) -> ast.Name:
        """The variable of a step, which the file then uses."""
        variable = self.names.variable(name)
        self.used.add(variable)
        return ast.Name(variable, ast.Load())

    @staticmethod
    def _is_attribute_path(tokens: Sequence[Token]) -> bool:
        return (
            1 < len(tokens) < _LONG
            and isinstance(tokens[0], Member)
            and all(
                token.name.isidentifier()
                and token.name.isascii()
                and not token.name.startswith("_")
                and not keyword.iskeyword(token.name)
                for token in tokens[1:]
                if isinstance(token, Member)
            )
        )

    def _join(self, expression: Join) -> ast.expr:
        on = None if expression.on is ABSENT else expression.on
        bare = {"bare": ast.Constant(value=True)} if expression.bare else {}
        if (whole := _one_template(expression)) is not None:
            return self.value(whole)
        parts = [self.value(value) for value in expression.values]
        return call(self.names.use("join"), ast.Constant(on), *parts, **bare)

    def _json_get(self, expression: JsonGet) -> ast.expr:
        path, file = self.value(expression.path), expression.property_file
        if file is ABSENT:
            return call(self.names.use("json_get_s3"), self.value(expression.s3_uri), path)
        name = file.property_file
        if file.spelling is None and name is not None and isinstance(file.tokens[2], Member):
            step = ast.Constant(file.name)
            return call(self.names.use("json_get"), step, ast.Constant(name), path)
        return call(
            self.names.use("JsonGet"), path, call(self.names.use("get"), ast.Constant(file.text))
        )

    def condition(self, condition: Condition) -> ast.expr:
        found = {name: getattr(condition, name, None) for name in ("extra", "spelling")}
        more = {name: self.value(value) for name, value in found.items() if value}
        match condition:
            case Comparison(type=type_, left=left, right=right):
                function = self.names.use(_COMPARISONS[type_])
                return call(function, self.value(left), self.value(right), **more)
            case In(query=query, values=values):
                return call(self.names.use("is_in"), self.value(query), self.value(values), **more)
            case Not(condition=inner):
                return call(self.names.use("not_"), self.condition(inner), **more)
            case Or(conditions=several):
                return call(self.names.use("or_"), *map(self.condition, several), **more)
        return call(self.names.use("other_condition"), self.value(condition.raw))


def _one_template(expression: Join) -> Template | None:
    """The text whose templates are those of a join, such as ``s3://bucket/{{ ds }}``."""
    parts = [one.text if isinstance(one, Template) else one for one in expression.values]
    if not all(isinstance(one, str) for one in parts):
        return None
    text = "".join(map(str, parts))
    return Template(text) if key_of(template(text)) == key_of(expression) else None


def _iteration_variable(reference: Get) -> tuple[str, tuple[Token, ...]] | None:
    """``current_item`` or ``iteration_output``, and the path below it."""
    if reference.root == ITEM and reference.tokens[0] == current_item._get.tokens[0]:
        return "current_item", reference.tokens[1:]
    return ("iteration_output", reference.tokens) if reference.root == OUTPUT else None


def _path(base: ast.expr, tokens: Sequence[Token]) -> ast.expr:
    for token in tokens:
        match token:
            case Member(name):
                base = attribute(base, name)
            case Key(key) | Index(key):
                base = ast.Subscript(base, ast.Constant(key), ast.Load())
    return base


def source(node: ast.AST) -> str:
    """The source of a node, unformatted."""
    with _RECURSION_LIMIT:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(limit + _CALLS_A_LEVEL * MAX_DEPTH)
        try:
            match node:
                case ast.Assign(targets=[ast.Name(variable)], value=value):
                    return f"{variable} = {_expression(value)}"
                case ast.Expr(value=ast.Call() as value):
                    return _expression(value)
            return _unparsed(node)
        finally:
            sys.setrecursionlimit(limit)


def _expression(node: ast.expr) -> str:
    """As ``ast.unparse``, which takes four times as long, for the kinds that a step consists of."""
    if isinstance(node, ast.Constant) and type(node.value) in _SHOWN_BY_REPR:
        return _lines_of(node.value) or repr(node.value)
    match node:
        case ast.Name(name):
            return name
        case ast.Dict(keys, values) if None not in keys:
            items = zip(
                map(_expression, cast("list[ast.expr]", keys)),
                map(_expression, values),
                strict=True,
            )
            return "{" + ", ".join([f"{key}: {value}" for key, value in items]) + "}"
        case ast.List(items):
            return "[" + ", ".join(map(_expression, items)) + "]"
        case ast.Attribute(ast.Name() | ast.Attribute() | ast.Subscript() as base, name):
            return f"{_expression(base)}.{name}"
        case ast.JoinedStr(values):
            return _formatted(values)
        case ast.Subscript(ast.Attribute() | ast.Subscript() as base, ast.Constant() as key):
            return f"{_expression(base)}[{_expression(key)}]"
        case ast.Call(ast.Name(function), args, keywords) if all(one.arg for one in keywords):
            given = [_expression(one) for one in args]
            given += [f"{one.arg}={_expression(one.value)}" for one in keywords]
            return f"{function}({', '.join(given)})"
    return _unparsed(node)


def _unparsed(node: ast.AST) -> str:
    statements = [node]
    while statements:
        statement = statements.pop()
        statement.lineno = 0  # type: ignore[attr-defined] # ast.unparse reads it for type comments
        body = getattr(statement, "body", ())
        statements += body if isinstance(body, list) else ()  # not a list in a lambda
    return ast.unparse(_LongStrings().visit(node))


def _formatted(values: Sequence[ast.expr]) -> str:
    """A string with the values of variables in it."""
    text = ""
    for one in values:
        if isinstance(one, ast.Constant):
            text += str(one.value).replace("{", "{{").replace("}", "}}")
        elif isinstance(one, ast.FormattedValue) and isinstance(one.value, ast.Name):
            text += f"{{{one.value.id}}}"
    return f"f{_lines_of(text) or repr(text)}"


class _LongStrings(ast.NodeTransformer):
    """Replaces strings of several lines, other than docstrings, by their source."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        return ast.Name(_formatted(node.values), ast.Load())

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        text = _lines_of(node.value)
        return ast.Name(text, ast.Load()) if text else node


def _lines_of(value: Any) -> str:
    """A string of several lines in triple quotes, with marks for newlines; otherwise empty.

    The marks keep blocks of code that contain it in one line until :func:`layout`.
    """
    if not isinstance(value, str) or "\n" not in value.strip("\n"):
        return ""
    *lines, last = value.split("\n")  # editors remove spaces at the end of other lines
    plain = all(line.isprintable() and line == line.rstrip() for line in lines)
    if not plain or not last.isprintable() or '"""' in value or value[-1] in '"\\':
        return ""
    return f'"""{value}"""'.replace("\\", "\\\\").replace("\n", _NEWLINE)


def layout(text: str) -> str:
    """A file formatted by ruff with its default settings."""
    text = text.replace(_NEWLINE, "\n")
    try:
        from ruff.__main__ import find_ruff_bin  # type: ignore[import-untyped]

        # Not `python -m ruff`: starting Python takes five times longer than formatting.
        done = subprocess.run(
            [find_ruff_bin(), "format", "--isolated", "--stdin-filename", "generated.py", "-"],
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
    except (ImportError, OSError) as error:
        raise MissingExtra("writing Python files (ruff)", "airflow") from error
    if done.returncode:
        problem = f"ruff cannot format the generated file: {done.stderr.strip()}"
        raise FormatError(f"{problem}; please report this as a bug of sagebridge")
    return done.stdout


def literal(value: Any) -> ast.expr:
    """A JSON value without expressions."""
    return Expressions(Names()).value(value)
