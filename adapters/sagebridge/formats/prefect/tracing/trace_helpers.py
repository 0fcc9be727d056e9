"""Helpers that a rewritten flow file calls; without symbols they behave as plain Python."""

from __future__ import annotations

import builtins
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import FunctionType, ModuleType
from typing import Any

from sagebridge.formats.prefect.constructs import manager_rule, statement_rule
from sagebridge.formats.prefect.tracing.source_rewriting import HELPERS
from sagebridge.formats.prefect.tracing.symbols import (
    Symbol,
    Test,
    TraceContext,
    UnsupportedValue,
    holds_symbol,
    is_symbolic,
)
from sagebridge.formats.prefect.tracing.symbols import text as text_of
from sagebridge.model.conditions import In, Or
from sagebridge.model.expressions import Get

_TRACES: list[TraceContext] = []
IMPORTS: list[Any] = []
"""The ImportTrace of the file, for code that runs before any flow is traced."""
_RESULTS = {
    **dict.fromkeys(("float", "round", "abs"), "Float"),
    **dict.fromkeys(("int", "len"), "Integer"),
    **dict.fromkeys(("dumps", "format", "repr", "str", "strftime"), "String"),
    "bool": "Boolean",
}
"""The parameter types of the results of functions, by name."""
_COMPUTING_BUILTINS = frozenset(
    (
        "abs",
        "bool",
        "bytes",
        "divmod",
        "float",
        "format",
        "int",
        "len",
        "max",
        "min",
        "pow",
        "repr",
        "round",
        "sum",
    )
)
_VARYING_FUNCTIONS = {
    "datetime": ("now", "today", "utcnow"),
    "os": ("getenv",),
    "random": ("choice", "choices", "randint", "random", "randrange", "sample", "uniform"),
    "secrets": ("choice", "token_bytes", "token_hex", "token_urlsafe"),
    "time": ("ctime", "gmtime", "localtime", "strftime", "time", "time_ns"),
    "uuid": ("uuid1", "uuid4"),
}
"""Functions with a different result in each run, by module."""
_LOG_METHODS = frozenset(
    ("critical", "debug", "error", "exception", "fatal", "info", "log", "warn", "warning")
)
_OWN_PACKAGES = frozenset(("sagebridge", "sagebridge_operators"))
"""Packages whose functions report their own losses: step functions, and the replaced functions."""
_KEPT_MODULES = frozenset(
    ("builtins", "contextlib", "dataclasses", "functools", "itertools", "logging", "typing")
)


@contextmanager
def tracing(trace: TraceContext) -> Iterator[None]:
    """Within this context, rewritten files use ``trace``."""
    _TRACES.append(trace)
    try:
        yield
    finally:
        _TRACES.pop()


def _current() -> TraceContext:
    """The trace of the innermost flow, or that of the import."""
    imported: TraceContext = IMPORTS[-1]
    return _TRACES[-1] if _TRACES else imported


def while_(value: Any) -> Any:
    if is_symbolic(value):
        _TRACES[-1].stop("run-time-loop", "while with a run-time value is not supported")
    return value


def match_(value: Any) -> Any:
    if is_symbolic(value):
        what = "match with a pattern for a run-time value is not supported"
        _TRACES[-1].stop("run-time-type", what)
    return value


def statement(kind: str) -> None:
    """Report a statement of the flow that cannot be carried over."""
    rule = statement_rule(kind)
    if _TRACES and rule is not None:
        _TRACES[-1].report(*rule._replace(what=rule.what.format(name=kind)))


def return_(value: Any) -> Any:
    if _TRACES:
        _TRACES[-1].returns()
    return value


def yield_(value: Any) -> Any:
    if _TRACES:
        _TRACES[-1].yields()
    return value


def with_(manager: Any) -> Any:
    """A context manager; one that only acts at run time is a loss."""
    if not _TRACES:
        return manager
    name = _manager_name(manager)
    rule = None if name.startswith("sagebridge.") else manager_rule(name)
    if rule is not None:
        shown = name.rpartition(".")[2]
        _TRACES[-1].report(*rule._replace(what=rule.what.format(name=shown)))
    return nullcontext(manager) if is_symbolic(manager) else manager


def _manager_name(manager: Any) -> str:
    """The qualified name of the class or the generator function of a context manager."""
    if type(manager) is Symbol:
        return "a run-time value"
    # contextlib._GeneratorContextManager and its asynchronous form keep the generator here.
    generator: Any = getattr(manager, "gen", None)
    for kind in ("gi", "ag"):
        if (frame := getattr(generator, f"{kind}_frame", None)) is not None:
            return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}"
    return f"{type(manager).__module__}.{type(manager).__qualname__}"


def is_(left: Any, right: Any) -> bool:
    for value, other in ((left, right), (right, left)):
        if type(value) is Symbol:
            get = value._expression
            if other is None and type(get) is Get and get.root == "Parameters":
                return False
            what = "`is` with a run-time value is not supported"
            value._trace.stop("run-time-type", what)
    return left is right


def is_not(left: Any, right: Any) -> bool:
    return not is_(left, right)


def in_(item: Any, items: Any) -> Any:
    if type(items) in (list, tuple, set, frozenset) and (
        type(item) is Symbol or any(type(one) is Symbol for one in items)
    ):
        trace = _TRACES[-1]
        return Test((In(item, tuple(items)),), trace)
    return item in items


def not_in(item: Any, items: Any) -> Any:
    return not_(in_(item, items))


def not_(value: Any) -> Any:
    if type(value) in (Symbol, Test):
        return value._test().negated()
    return not value


def and_(*parts: Callable[[], Any]) -> Any:
    tests: list[Test] = []
    for part in parts:
        value = part()
        if type(value) in (Symbol, Test):
            tests.append(value._test())
        elif not value:
            return False
    if not tests:
        return True
    return Test([one for test in tests for one in test.conditions], _TRACES[-1])


def or_(*parts: Callable[[], Any]) -> Any:
    tests: list[Test] = []
    for part in parts:
        value = part()
        if type(value) in (Symbol, Test):
            tests.append(value._test())
        elif value:
            return True
    if len(tests) < 2:
        return tests[0] if tests else False
    return Test((Or(tuple(test.single() for test in tests)),), _TRACES[-1])


def text(*parts: Any) -> Any:
    """An f-string; ``parts`` are strings or tuples (value, conversion, format)."""
    if not _TRACES or not any(holds_symbol(part) for part in parts):
        return "".join(
            part if isinstance(part, str) else format(_convert(part[0], part[1]), part[2])
            for part in parts
        )
    trace = _TRACES[-1]
    pieces: list[Any] = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(part)
        elif not holds_symbol(part):
            pieces.append(format(_convert(part[0], part[1]), part[2]))
        elif is_symbolic(part[0]) and part[1] in (-1, 115) and part[2] == "":
            pieces.append(part[0])
        else:
            sign = {114: "!r", 97: "!a"}.get(part[1], "")
            spec = f":{part[2]}" if part[2] else ""
            pieces.append(
                trace.parameter_for(f"a string with the format {sign + spec!r}", "String", part[0])
            )
    return Symbol(text_of(pieces, trace), "String", trace)


def _convert(value: Any, conversion: int) -> Any:
    conversions: dict[int, Callable[[Any], Any]] = {114: repr, 115: str, 97: ascii}
    return conversions[conversion](value) if conversion in conversions else value


def call(function: Any, *arguments: Any, **named: Any) -> Any:
    """A call. What the standard library computes from symbols becomes a parameter.

    So does a result that differs in each run: the time, the environment, a random value.
    """
    if _TRACES and _varies_by_run(function):
        return _TRACES[-1].parameter_for(f"the result of {function.__name__}()")
    if _TRACES and (output := _output(function, named)):
        what = f"{output}: output of the flow body is not carried over"
        _TRACES[-1].report("output", "info", what)
        return None
    if not (holds_symbol(list(arguments)) or holds_symbol(named)):
        return function(*arguments, **named)
    trace = _current()
    if trace.importing and _makes_text(function):
        return function(*map(_with_marks, arguments), **named)
    if function is str and len(arguments) == 1 and type(arguments[0]) is Symbol:
        if arguments[0]._type == "String":
            return arguments[0]
        return Symbol(text_of([arguments[0]], trace), "String", trace)
    owner = getattr(function, "__self__", None)
    if type(owner) is str and function.__name__ == "join" and len(arguments) == 1:
        try:
            return Symbol(text_of(list(arguments[0]), trace, owner), "String", trace)
        except UnsupportedValue:
            return trace.parameter_for("a joined string")
    name = getattr(function, "__name__", type(function).__name__)
    if _computes(function):
        return trace.parameter_for(
            f"the result of {name}()", _RESULTS.get(name, ""), arguments, named
        )
    return function(*arguments, **named)


def _makes_text(function: Any) -> bool:
    return function is str or getattr(function, "__name__", "") in ("format", "join")


def _with_marks(value: Any) -> Any:
    """A value with strings in the place of its symbols; a string marks each of them."""
    if isinstance(value, list | tuple):
        return [_with_marks(one) for one in value]
    return str(value) if is_symbolic(value) else value


def call_statement(function: Any, *arguments: Any, **named: Any) -> None:
    """A call as a statement; a function of another module that adds no step is a loss."""
    before = _TRACES[-1].progress() if _TRACES else 0
    result = call(function, *arguments, **named)
    if _TRACES and type(function) is Symbol:
        name = function._part.rpartition(".")[2]
        what = f".{name}() of a run-time value: calls in the flow body are not carried over"
        _TRACES[-1].report("run-time-code", "dropped", what, "call it in a task")
        return
    if not _TRACES or result is not None or _TRACES[-1].progress() > before:
        return
    if _is_other_module(function):
        what = f"{function.__name__}(): calls in the flow body are not carried over"
        _TRACES[-1].report("run-time-code", "dropped", what, "call it in a task")


def _is_other_module(function: Any) -> bool:
    """Whether it is user code of another module, or Prefect's; the traced file is followed."""
    function = getattr(function, "__func__", function)
    if type(function) is not FunctionType or HELPERS in function.__globals__:
        return False
    root = (function.__module__ or "").partition(".")[0]
    return root not in sys.stdlib_module_names and root not in _OWN_PACKAGES


def _output(function: Any, named: Mapping[str, Any]) -> str:
    """The name of a call that prints or logs; empty for any other."""
    streams = (sys.stdout, sys.stderr)
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if function is print:
        file = named.get("file")
        return "print()" if file is None or any(file is one for one in streams) else ""
    if isinstance(owner, logging.Logger | logging.LoggerAdapter) and name in _LOG_METHODS:
        return f"logger.{name}()"
    if getattr(function, "__module__", "") in ("_warnings", "warnings") and name == "warn":
        return "warnings.warn()"
    return f"{name}() to the terminal" if any(owner is one for one in streams) else ""


def _varies_by_run(function: Any) -> bool:
    owner = getattr(function, "__self__", None)
    if owner is os.environ:
        return True
    if owner is None or isinstance(owner, ModuleType):
        place = getattr(function, "__module__", None)
    else:
        place = (owner if isinstance(owner, type) else type(owner)).__module__
    return getattr(function, "__name__", "") in _VARYING_FUNCTIONS.get(str(place), ())


def _computes(function: Any) -> bool:
    name, module = getattr(function, "__name__", ""), getattr(function, "__module__", None)
    if getattr(builtins, name, None) is function:
        return name in _COMPUTING_BUILTINS
    if isinstance(function, type) and issubclass(function, BaseException):
        return False
    root = (module or "builtins").partition(".")[0]
    return root in sys.stdlib_module_names and root not in _KEPT_MODULES
