"""Unformatted source, compared with that of ``ast.unparse``."""

from __future__ import annotations

import ast
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from sagebridge.formats.python.source_code import layout, source

EXPRESSIONS = (
    "f()",
    "f('a', 1, -1, 1.5, None, True, key={'a': [1, {}], 'b': []})",
    "f(g(h(\"it's\")), 'line\\n', '\\ud800')",
    "f(step.properties.A['b'][0].C, get('Steps.A').B)",
    "f(*values, **options)",
    "f({**options, 'a': 1})",
    "f(...)",
    "f(1e999)",
    "f((1).real, (1,), values[1, 2])",
    "object.method(1)",
    "f(lambda: 1, a if b else c)",
)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_source_equals_that_of_ast(text: str) -> None:
    assert source(ast.parse(text).body[0]) == ast.unparse(ast.parse(text))
    assert source(ast.parse(f"x = {text}").body[0]) == ast.unparse(ast.parse(f"x = {text}"))


def test_threads_restore_the_recursion_limit() -> None:
    before = sys.getrecursionlimit()
    call = ast.parse(f"f({'[' * 80}{']' * 80})").body[0]
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: source(call), range(400)))) == 1
    assert sys.getrecursionlimit() == before


def test_spaces_before_the_closing_quotes_keep_lines() -> None:
    text = "\n    set -e\n    echo one\n    "
    assert layout(f"x = {source(ast.Constant(text))}\n") == f'x = """{text}"""\n'
