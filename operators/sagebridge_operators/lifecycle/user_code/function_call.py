"""Calls a user's function: what it prints is its step's log, and a stop interrupts it.

It is interrupted at its next line of Python; one that waits in C, as ``time.sleep`` does, only
after that, unless a signal came.
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
_CALLING: set[int] = set()
_TURN = threading.Lock()


class Interrupted(BaseException):
    """A stop was asked for while a function ran; no ``except Exception`` of the user's has it."""


class _Lines:
    """What one function prints, told line by line."""

    def __init__(self, line: Callable[[str], Any]) -> None:
        self._line, self._rest = line, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        self._tell(lines)
        return len(text)

    def close(self) -> None:
        self._tell([self._rest] if self._rest else [])

    def _tell(self, lines: list[str]) -> None:
        # A log that is itself written to standard output would come back here.
        before = _LINES.set(None)
        try:
            for one in lines:
                self._line(one)
        finally:
            _LINES.reset(before)


_LINES: ContextVar[_Lines | None] = ContextVar("sagebridge_lines", default=None)


class _Stdout:
    """Stands for ``sys.stdout`` while functions run, several at a time in threads of their own."""

    def __init__(self, around: TextIO) -> None:
        self.around, self.users = around, 0

    def write(self, text: str) -> int:
        lines = _LINES.get()
        return self.around.write(text) if lines is None else lines.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.around, name)


@contextmanager
def _printing(line: Callable[[str], Any]) -> Iterator[None]:
    lines = _Lines(line)
    with _TURN:
        own: Any = sys.stdout if isinstance(sys.stdout, _Stdout) else _Stdout(sys.stdout)
        sys.stdout = own
        own.users += 1
    before = _LINES.set(lines)
    try:
        yield
    finally:
        _LINES.reset(before)
        with _TURN:
            own.users -= 1
            if not own.users and sys.stdout is own:
                sys.stdout = own.around
        lines.close()


def interrupt_here() -> None:
    """Raises :class:`Interrupted` where this thread, in a signal handler, is in a function."""
    if threading.get_ident() in _CALLING:
        raise Interrupted


def call(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    stop_asked: Callable[[], bool],
    line: Callable[[str], Any],
) -> Any:
    """What a function returns. Raises StepFailed with what it raised, or StepStopped.

    ``line`` is told each line that it prints, and the traceback of what it raised.
    """
    try:
        with _printing(line), _interruptible(stop_asked):
            return function(*arguments["args"], **arguments["kwargs"])
    except Interrupted:
        raise StepStopped("stopped while its function ran") from None
    except (Exception, SystemExit) as error:
        frames = error.__traceback__.tb_next if error.__traceback__ else None
        told = traceback.format_exception(type(error), error, frames)
        line("".join(told).rstrip())
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        raise StepFailed(text, kind="code", code=type(error).__name__) from error


@contextmanager
def _interruptible(stop_asked: Callable[[], bool]) -> Iterator[None]:
    """Raises :class:`Interrupted` in this thread once a stop is asked for."""
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    thread, over, turn = ctypes.c_ulong(threading.get_ident()), threading.Event(), threading.Lock()

    def watch() -> None:
        while not over.wait(_SLICE):
            asked = False
            with suppress(Exception):  # a store that does not answer is no reason to stop
                asked = stop_asked()
            if asked:
                with turn:
                    if not over.is_set():
                        raise_in(thread, ctypes.py_object(Interrupted))
                return

    watcher = threading.Thread(target=watch, daemon=True, name="sagebridge-stop")
    watcher.start()
    _CALLING.add(threading.get_ident())
    try:
        yield
    finally:
        _CALLING.discard(threading.get_ident())
        with turn:
            over.set()
            raise_in(thread, None)
