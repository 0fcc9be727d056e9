"""The Lambda functions of this machine: the Python function behind each function name."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Self

from sagebridge.authoring.declared_names import suggestion
from sagebridge.errors import UsageError
from sagebridge.model.pipeline import Step

LAMBDAS = "SAGEBRIDGE_LAMBDAS"
"""The environment variable with the functions: ``NAME=FILE.py:HANDLER``, separated by commas."""
_DEFAULT = "lambda_handler"
_HANDLER = re.compile(r"(?P<file>.+?\.py)(?::(?P<name>[^\W\d][\w.]*))?")
# The forms of FunctionName in the Invoke operation, with or without a version or alias.
_NAME = re.compile(
    r"(?:(?:arn:[\w-]+:lambda:[\w-]+:)?\d{12}:function:)?(?P<name>[\w-]+)(?::[\w$-]+)?", re.ASCII
)
# A comma in a path is not followed by a name and "=".
_SEPARATOR = re.compile(r"[,\n]\s*(?=[^\s,=]+\s*=)")


@dataclass(frozen=True, slots=True)
class LambdaHandler:
    """A function at the top level of a Python file."""

    file: Path
    name: str

    @classmethod
    def parse(cls, text: str, base: Path) -> Self:
        """Parse ``FILE.py:HANDLER``; the default handler is ``lambda_handler``.

        Raises UsageError for another form, and if the file does not exist.
        """
        if (found := _HANDLER.fullmatch(text)) is None:
            raise UsageError(f"{text}: expected FILE.py:HANDLER")
        file = base / found["file"]
        if not file.is_file():
            raise UsageError(f"{text}: {file} does not exist")
        return cls(file, found["name"] or _DEFAULT)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Self:
        """The handler that is a function. Raises UsageError if another process cannot import it."""
        name = getattr(function, "__qualname__", repr(function))
        try:
            file = inspect.getsourcefile(inspect.unwrap(function))
        except TypeError:
            file = None
        if file is None or not Path(file).is_file() or not name.isidentifier():
            advice = "expected a function at the top level of a Python file"
            raise UsageError(f"the Lambda handler {name} runs in its own process: {advice}")
        return cls(Path(file).absolute(), name)

    def check(self) -> None:
        """Raises UsageError if the file has no such name. Its code is not run."""
        there = _names_of(self.file)
        if there and "*" not in there and self.name.partition(".")[0] not in there:
            known = suggestion(self.name, sorted(there))
            raise UsageError(f"{self.file} has no {self.name!r}{known}")

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"


def _names_of(file: Path) -> set[str]:
    """The names that a file gives values; empty if it is not valid Python, which its run reports.

    Names that functions and classes use themselves are among them, which does no harm.
    """
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found: set[str] = set()
    for node in nodes:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.alias(name=name, asname=own):
                found.add(own or name.partition(".")[0])
    return found


_registered: dict[str, LambdaHandler] = {}


def register_lambda(function: str, handler: Callable[..., Any] | str) -> None:
    """Run Lambda steps of a function with a Python function, if their backend is this machine.

    Call it in the file of a DAG or flow. It has no effect on AWS.

    Args:
        function: the name or ARN of the Lambda function.
        handler: a function of an event and a context at the top level of a Python file, or
            ``FILE.py:HANDLER``.
    """
    # Imported here: the module of the backends imports this one.
    from sagebridge_operators.backends import base

    if isinstance(handler, str):
        _registered[_name_in(function)] = LambdaHandler.parse(handler, base())
    else:
        _registered[_name_in(function)] = LambdaHandler.of(handler)


def parse_lambdas(text: str, base: Path) -> dict[str, LambdaHandler]:
    """The handlers in the form of :data:`LAMBDAS`. Raises UsageError."""
    handlers: dict[str, LambdaHandler] = {}
    for pair in filter(None, map(str.strip, _SEPARATOR.split(text))):
        name, equals, spec = pair.partition("=")
        if not name or not equals:
            raise UsageError(f"{pair}: expected NAME=FILE.py:HANDLER")
        handlers[_name_in(name)] = LambdaHandler.parse(spec.strip(), base)
    return handlers


def as_variable(lambdas: Mapping[str, LambdaHandler]) -> str:
    """The value of :data:`LAMBDAS` for some handlers."""
    return ",".join(f"{name}={handler}" for name, handler in lambdas.items())


def find_handler(function: str) -> LambdaHandler | None:
    """The handler of a function, by its name or ARN. Raises UsageError for invalid settings."""
    from sagebridge_operators.backends import base, lambdas

    name = _name_in(function)
    return parse_lambdas(lambdas(), base()).get(name) or _registered.get(name)


def how_to_map(function: str) -> str:
    """How to give a function a handler, as the end of a message."""
    name = _name_in(function)
    setting = quote(f"{name}=FILE.py:HANDLER")
    return (
        f"pass --lambda {setting} to sagebridge run, set {LAMBDAS} to {setting}, or call "
        f"register_lambda({name!r}, HANDLER) in the file of the DAG or flow"
    )


def why_no_handler(step: Step) -> Iterator[tuple[str, str]]:
    """The reason why a Lambda step cannot run on this machine, if it has no handler.

    A function that is known only at run time is checked when the step runs.
    """
    function = step.extra.get("FunctionArn")
    if step.type == "Lambda" and isinstance(function, str) and find_handler(function) is None:
        name = _name_in(function)
        yield f"the Lambda function {name!r} without a handler: {how_to_map(function)}", step.name


def _name_in(function: str) -> str:
    """The name in the name or ARN of a function, without a version or alias."""
    found = _NAME.fullmatch(function.strip())
    return found["name"] if found is not None else function.strip()
