"""Calls a user's function. Its prints go to the step's log, and a stop interrupts it.

The interrupt is raised at the next Python instruction. A call into C, such as ``time.sleep``,
returns first, unless a signal ends it.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TextIO

from sagebridge_operators.run_errors import StepFailed, StepStopped

_SLICE = 0.2
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
    Raises StepFailed if the function raises, and StepStopped after a stop.
    """
    try:
        with _route_prints(line), _interruptible(stop_requested):
            return function(*arguments["args"], **arguments["kwargs"])
    except StopInterrupt:
        raise StepStopped("stopped while its function ran") from None
    except (Exception, SystemExit) as error:
        frames = error.__traceback__.tb_next if error.__traceback__ else None
        trace = traceback.format_exception(type(error), error, frames)
        line("".join(trace).rstrip())
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        raise StepFailed(text, kind="code", code=type(error).__name__) from error


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
