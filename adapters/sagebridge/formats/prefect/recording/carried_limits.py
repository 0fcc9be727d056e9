"""Limits on concurrent tasks in the code of steps, which only Prefect has."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import suppress

from sagebridge.model.code_steps import PythonStep
from sagebridge.model.losses import POOL, Loss
from sagebridge.model.pipeline import Step

_LIMITS = ("concurrency", "rate_limit")
_TAGS = "of a task that code calls have no effect, nor has a concurrency limit of these tags"


def lost_limits(steps: Iterable[Step], tree: ast.Module, target: str) -> Iterator[Loss]:
    """One loss for each limit, at the first line of its file that has it."""
    found: dict[str, Loss] = {}
    for step in steps:
        if not isinstance(step, PythonStep):
            continue
        for call, what in _limits(ast.parse(step.function.module or step.function.code)):
            calls = (one for one in ast.walk(tree) if isinstance(one, ast.Call))
            lines = [one.lineno for one in calls if ast.unparse(one) == ast.unparse(call)]
            place = str(min(lines)) if lines else step.origin
            lost = Loss("concurrency", "changed", place, what, target, POOL, step.name)
            found.setdefault(what, lost)
    yield from found.values()


def _limits(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """The calls that limit something, and what is lost."""
    own = {
        alias.asname or alias.name: alias.name
        for one in ast.walk(tree)
        if isinstance(one, ast.ImportFrom) and (one.module or "").partition(".")[0] == "prefect"
        for alias in one.names
    }
    modules = {
        alias.asname
        for one in ast.walk(tree)
        if isinstance(one, ast.Import)
        for alias in one.names
        if alias.name.startswith("prefect.concurrency.")
    }
    for call in ast.walk(tree):
        match call:
            case (
                ast.Call(func=ast.Name(id=name))
                | ast.Call(func=ast.Attribute(value=ast.Name(id=name)))
            ) if own.get(name) in _LIMITS or name in modules:
                given = [*call.args, *(one.value for one in call.keywords if one.arg == "names")]
                for value in given[:1]:
                    yield call, f"the concurrency limit {_text(value)} has no effect"
            case (
                ast.Call(func=ast.Name(id=name), keywords=keywords)
                | ast.Call(func=ast.Attribute(attr=name), keywords=keywords)
            ) if own.get(name) == "task" or name == "with_options":
                for value in (one.value for one in keywords if one.arg == "tags"):
                    yield call, f"the tags {_text(value)} {_TAGS}"


def _text(node: ast.expr) -> str:
    with suppress(ValueError):
        return str(ast.literal_eval(node))
    return ast.unparse(node)
