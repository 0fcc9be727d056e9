"""Calls a user's function. Its prints go to the step's log, and a stop interrupts it.

The interrupt is raised at the next Python instruction. A call into C, such as ``time.sleep``,
returns first, unless a signal ends it.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TextIO

from sagebridge_operators.run_errors import StepFailed, StepSkipped, StepStopped

_SLICE = 0.2
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_FUNCTION_THREADS: set[int] = set()
_STDOUT_LOCK = threading.Lock()


class StopInterrupt(BaseException):
    """A stop was requested while a function ran.

    A BaseException, so that ``except Exception`` in user code does not catch it.
    """


class _LineWriter:
    """Collects the prints of one function and passes on whole lines."""

    def __init__(self, line: Callable[[str], Any]) -> None:
        self._line, self._rest = line, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        self._tell(lines)
        return len(text)

    def close(self) -> None:
        self._tell([self._rest] if self._rest else [])

    def _tell(self, lines: list[str]) -> None:
        # A log handler that writes to sys.stdout would come back here.
        before = _LINE_WRITER.set(None)
        try:
            for one in lines:
                self._line(one)
        finally:
            _LINE_WRITER.reset(before)


_LINE_WRITER: ContextVar[_LineWriter | None] = ContextVar("sagebridge_lines", default=None)


class _StdoutRouter:
    """Replaces ``sys.stdout`` while functions run; routes each thread's prints to its own log.

    ``contextlib.redirect_stdout`` is not an option: it replaces ``sys.stdout`` for all threads.
    """

    def __init__(self, around: TextIO) -> None:
        self.around, self.users = around, 0

    def write(self, text: str) -> int:
        lines = _LINE_WRITER.get()
        # A logger of structlog holds its lock here (structlog/_output.py); the log takes it, too.
        if sys._getframe(1).f_globals.get("__name__") == "structlog._output":
            lines = None
        return self.around.write(text) if lines is None else lines.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.around, name)


@contextmanager
def _route_prints(line: Callable[[str], Any]) -> Iterator[None]:
    lines = _LineWriter(line)
    with _STDOUT_LOCK:
        own: Any = (
            sys.stdout if isinstance(sys.stdout, _StdoutRouter) else _StdoutRouter(sys.stdout)
        )
        sys.stdout = own
        own.users += 1
    before = _LINE_WRITER.set(lines)
    try:
        yield
    finally:
        _LINE_WRITER.reset(before)
        with _STDOUT_LOCK:
            own.users -= 1
            if not own.users and sys.stdout is own:
                sys.stdout = own.around
        lines.close()


def interrupt_function() -> None:
    """Raises :class:`StopInterrupt` if this thread is in a function; for signal handlers."""
    if threading.get_ident() in _FUNCTION_THREADS:
        raise StopInterrupt


def call(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    stop_requested: Callable[[], bool],
    line: Callable[[str], Any],
) -> Any:
    """Calls a function and returns its result.

    ``line`` is called with each line that the function prints and with the traceback of an error.
    An async function runs in its own event loop. Raises StepFailed if the function raises,
    StepSkipped if that is Airflow's AirflowSkipException, and StepStopped after a stop.
    """
    try:
        with _route_prints(line), _interruptible(stop_requested):
            result = function(*arguments["args"], **arguments["kwargs"])
            if inspect.isawaitable(result):
                result = asyncio.run(_awaited(result))
            if inspect.isgeneratorfunction(function):
                result = _returned(result)
            with suppress(RecursionError):  # a value that contains itself is refused later
                result = _without_futures(result)
    except StopInterrupt:
        raise StepStopped("stopped while its function ran") from None
    except StepFailed:  # a function of the library
        raise
    except (Exception, SystemExit) as error:
        raise _failure(error, line) from error
    return _data_of(result)


def _returned(result: Generator[Any, Any, Any]) -> Any:
    """What a generator function returns; in Airflow, it yields only Metadata of assets.

    Any other generator remains a result that cannot be kept.
    """
    while True:
        try:
            yielded = next(result)
        except StopIteration as end:
            return end.value
        if type(yielded).__name__ != "Metadata":
            return result


async def _awaited(result: Awaitable[Any]) -> Any:
    """The result of an async function. Wakes the event loop, so that a stop can interrupt it."""
    task = asyncio.ensure_future(result)
    while not task.done():
        await asyncio.wait((task,), timeout=_SLICE)
    return task.result()


def _failure(error: BaseException, line: Callable[[str], Any]) -> StepFailed:
    """The end of a step whose function raised.

    Airflow's exceptions are known by their names: in a flow they are classes of sagebridge.
    """
    names = {one.__name__ for one in type(error).__mro__}
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if "AirflowSkipException" in names:
        line(text)
        return StepSkipped(str(error) or "its function raised AirflowSkipException")
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    trace = traceback.format_exception(type(error), error, frames)
    line("".join(trace).rstrip())
    final = not names.isdisjoint(("AirflowFailException", "AirflowSensorTimeout"))
    return StepFailed(text, kind="final" if final else "code", code=type(error).__name__)


def _without_futures(result: Any) -> Any:
    """The result with those of tasks in the place of their Prefect futures."""
    if any(one.__name__ == "PrefectFuture" for one in type(result).__mro__):
        return _without_futures(result.result())
    if isinstance(result, list):
        return [_without_futures(one) for one in result]
    if type(result) in (tuple, dict):
        pairs = result.items() if isinstance(result, dict) else result
        return type(result)(_without_futures(one) for one in pairs)
    return result


def _data_of(result: Any) -> Any:
    """The value of a Prefect state that a function returned; any other result as it is.

    Raises StepFailed for a failed state, StepSkipped for a cancelled one.
    """
    kind = getattr(getattr(result, "type", None), "value", None)
    if type(result).__name__ != "State" or not isinstance(kind, str):
        return result
    text = result.message or f"its function returned the state {result.name}"
    if kind in ("FAILED", "CRASHED"):
        raise StepFailed(text, kind="code", code=result.name)
    if kind in ("CANCELLED", "CANCELLING"):
        raise StepSkipped(text)
    return getattr(result.data, "result", result.data)


def globals_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """The globals of the module of a function; empty for a callable without any."""
    if isinstance(function, type):
        return vars(sys.modules.get(function.__module__, object))
    own = inspect.unwrap(getattr(function, "func", function))
    found: Mapping[str, Any] = getattr(own, "__globals__", {})
    return found


def with_context(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """The keyword arguments with the values of the Airflow context that the call does not set.

    As for Airflow's PythonOperator, ``**kwargs`` gets the whole context, and a function without it
    gets only the keyword arguments that it has (KeywordParameters in airflow.sdk.bases.operator).
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a callable of C
        return dict(kwargs)
    by_place = [one.name for one in parameters if one.kind in _BY_PLACE][: len(args)]
    merged = {**context, **kwargs}
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        named = [one.name for one in parameters if one.kind in _BY_NAME]
        merged = {name: merged[name] for name in named if name in merged}
    return {name: one for name, one in merged.items() if name not in by_place or name in kwargs}


@contextmanager
def _interruptible(stop_requested: Callable[[], bool]) -> Iterator[None]:
    """Raises :class:`StopInterrupt` in this thread once a stop is requested."""
    # Python offers no other way to interrupt a thread (Python/C API, "PyThreadState_SetAsyncExc").
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    # The thread id is an unsigned long there.
    thread, over, turn = ctypes.c_ulong(threading.get_ident()), threading.Event(), threading.Lock()

    def watch() -> None:
        while not over.wait(_SLICE):
            asked = False
            with suppress(Exception):  # records that do not answer request no stop
                asked = stop_requested()
            if asked:
                with turn:
                    if not over.is_set():
                        raise_in(thread, ctypes.py_object(StopInterrupt))
                return

    watcher = threading.Thread(target=watch, daemon=True, name="sagebridge-stop")
    watcher.start()
    _FUNCTION_THREADS.add(threading.get_ident())
    try:
        yield
    finally:
        _FUNCTION_THREADS.discard(threading.get_ident())
        with turn:
            over.set()
            raise_in(thread, None)  # clears an interrupt that was set but not raised yet
