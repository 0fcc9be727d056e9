"""Record what a file reads from outside on import: the clock, random numbers, the environment.

The functions that return such values are replaced, once per process. Calls by libraries get the
original result. A call by the user's code is recorded, and returns another value if a reading
varies this input, so that :mod:`sagebridge.formats.python.input_effects` finds what depends on it.
"""

from __future__ import annotations

import ctypes
import gc
import getpass
import json
import os
import platform
import random
import re
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

from sagebridge.formats.python.user_frames import is_user_code, line_in_file, module_of

_WRAPPERS = frozenset(
    (
        __name__,
        "_collections_abc",
        "airflow._shared.timezones.timezone",
        "airflow.models.variable",
        "airflow.sdk._shared.timezones.timezone",
        "airflow.sdk.bases.hook",
        "airflow.sdk.definitions.connection",
        "airflow.sdk.definitions.variable",
        "airflow.sdk.timezone",
        "getpass",
        "os",
        "pendulum",
        "pendulum.datetime",
        "pathlib",
        "platform",
        "posixpath",
        "random",
        "sagebridge.formats.airflow.dates",
        "sagebridge.formats.prefect.prefect_answers",
        "secrets",
        "socket",
        "tempfile",
        "uuid",
    )
)
"""Modules whose functions return a value from outside to their caller."""
_TICK = 1_000_000
"""Nanoseconds between two calls, so that a loop that waits for a time ends."""
_OTHER = "zq7"
"""Part of the strings that replace others; no file contains it."""


_DATE = re.compile(r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])")


@dataclass(frozen=True, slots=True)
class ImportInput:
    """A value from outside the file.

    Attributes:
        what: a noun phrase, such as ``datetime.now()`` or ``the environment variable 'X'``.
        line: the line of the file that reads it first.
        name: for the parameter that replaces it.
        value: its JSON value; None if it is missing or not JSON.
        missing: whether reading it raised an exception.
        is_default: whether the value is the default of the parameter.
        fix: how to set it; empty if that is not possible.
        code: the code of its losses.
    """

    what: str
    line: int
    name: str
    value: Any = None
    missing: bool = False
    is_default: bool = False
    fix: str = ""
    code: str = "import-input"


@dataclass(slots=True)
class InputRecorder:
    """The inputs of one file, by key.

    ``start`` is the time at which the file is read, in nanoseconds; ``varied`` are the keys of the
    inputs that get other values; ``assigned`` are the environment variables that the file sets.
    """

    file: Path
    start: int
    varied: Collection[str]
    found: dict[str, ImportInput] = field(default_factory=dict)
    calls: int = 0
    is_reading: bool = False
    is_seeded: bool = False
    assigned: set[str] = field(default_factory=set)
    lines: dict[int, int] = field(default_factory=dict)
    """The lines that read inputs without a setting, with the number of calls before."""

    def call(self, what: str) -> str | None:
        """The key of a call such as ``datetime.now()``; None if a library calls it."""
        caller = self._caller(what)
        if caller is None:
            return None
        what, line = caller
        self.lines.setdefault(line, self.calls)
        self.calls += 1
        key = f"{what} {line}"
        self.found.setdefault(key, ImportInput(what, line, f"value_of_line_{line}"))
        return key

    def line(self) -> int | None:
        """The line of the file that reads a named value; None if a library reads it."""
        caller = self._caller("")
        return None if caller is None or self.is_reading else caller[1]

    def now(self, what: str) -> int | None:
        """The time for a call, in nanoseconds; None if a library calls it."""
        key = self.call(what)
        if key is None:
            return None
        now = self.start + self.calls * _TICK
        return _other_time(now) if key in self.varied else now

    def generator(self, what: str) -> random.Random | None:
        """The source of random numbers for a call; None if a library calls it."""
        key = self.call(what)
        return None if key is None else random.Random(f"{self.calls} {key in self.varied}")

    def _caller(self, what: str) -> tuple[str, int] | None:
        """The function that the user's code calls, and its line."""
        frame = sys._getframe(2)
        while module_of(frame) in _WRAPPERS and frame.f_back is not None:
            if module_of(frame) != __name__ and what:
                module = module_of(frame).rpartition(".")[2]
                owner, _, function = frame.f_code.co_qualname.rpartition(".")
                what = f"{module}.{owner if function.startswith('__') else function}()"
            frame = frame.f_back
        return (what, line_in_file(frame, self.file)) if is_user_code(frame) else None


_recorder: InputRecorder | None = None
_own_names = {"HOME", "HOSTNAME", "LOGNAME", "PATH", "PWD", "TMPDIR", "USER", "VIRTUAL_ENV"}
"""Environment variables whose values belong to this process or machine."""


def record(file: Path, start: int, varied: Collection[str]) -> dict[str, ImportInput]:
    """Record the inputs of a file from now on; the result fills as it is imported."""
    global _recorder  # noqa: PLW0603 - replaced functions cannot get it in another way
    random.seed(start)
    _recorder = InputRecorder(file, start, varied)
    return _recorder.found


def input_lines() -> Collection[int]:
    """The lines of the file that read inputs without a setting, such as the clock."""
    return () if _recorder is None else tuple(_recorder.lines)


@contextmanager
def replayed(line: int) -> Iterator[None]:
    """Repeat a line of the file: the clock shows the same time."""
    recorder = _recorder
    if recorder is not None:
        recorder.calls = recorder.lines.get(line, recorder.calls)
    yield


def is_this_python(path: str) -> bool:
    """Whether a path is that of this process and not written in the file, as sys.executable is."""
    written = "" if _recorder is None else _recorder.file.read_text("utf-8", "replace")
    return path == sys.executable and path not in written


def own_environment(names: Collection[str]) -> None:
    """Declare environment variables that this process sets for itself."""
    _own_names.update(names)


def read_input(
    what: str,
    name: str,
    read: Callable[[], Any],
    *,
    vary: Callable[[Any], Any] | None = None,
    is_default: bool = True,
    fix: str = "",
    code: str = "import-input",
) -> Any:
    """Read a value that has a name, such as an environment variable or a Variable of an engine.

    ``read`` returns it or raises an exception; ``vary`` makes another value of it.
    """
    recorder = _recorder
    line = None if recorder is None else recorder.line()
    if recorder is None or line is None:
        return read()
    if not is_default and not fix:
        recorder.lines.setdefault(line, recorder.calls)
    value, missing = None, None
    recorder.is_reading = True
    try:
        value = read()
    except Exception as error:  # noqa: BLE001 - raised again below
        missing = error
    finally:
        recorder.is_reading = False
    if what not in recorder.found:
        parameter = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[:60] or "value"
        known = value if _is_json(value) else None
        recorder.found[what] = ImportInput(
            what, line, parameter, known, missing is not None, is_default, fix, code
        )
    if what in recorder.varied:
        return (vary or other_value)(value)
    if missing is not None:
        raise missing
    return value


def other_value(value: Any) -> Any:
    """Another value of the same form: a number for a number, an ARN for an ARN."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case None:
            return _OTHER
        case dict():
            return {name: other_value(item) for name, item in value.items()}
        case list() | tuple():
            return [other_value(item) for item in value]
        case str():
            return _other_text(value)
    return value


def _other_text(text: str) -> str:
    if text.lower() in ("true", "false"):
        return ("true" if text.lower() == "false" else "false").capitalize()
    try:
        if not isinstance(known := json.loads(text), str | None):
            return json.dumps(other_value(known))
    except (ValueError, RecursionError):
        pass
    if _DATE.match(text):
        following = date.fromisoformat(text[:10]) + timedelta(days=1)
        return f"{following}{text[10:]}"
    # The prefix (s3://, arn:aws:…) and the suffix (.tar.gz) stay.
    start = max(text.rstrip("/").rfind(sign) for sign in "/:") + 1
    return f"{text[:start]}{_OTHER}{text[start:]}"


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _other_time(now: int) -> int:
    """A later time with another year, month, day, weekday, hour, minute, second and fraction."""
    was = datetime.fromtimestamp(now / 1e9, UTC)
    other = was.replace(
        year=was.year + 11,
        month=(was.month + 4) % 12 + 1,
        day=(was.day + 12) % 28 + 1,
        hour=(was.hour + 11) % 24,
        minute=(was.minute + 17) % 60,
        second=(was.second + 23) % 60,
        microsecond=(was.microsecond + 345_678) % 1_000_000,
    )
    while other.weekday() == was.weekday() or other.day == was.day:
        other = other.replace(day=other.day % 28 + 1)
    return int(other.timestamp() * 1e6) * 1000


# The replaced functions


def install() -> None:
    """Replace the functions, before any user code binds their names.

    They keep their names and modules, by which the tracer of flows knows them.
    """
    _replace_dates()
    _replace_clock()
    _replace_random_numbers()
    _replace_machine()
    _replace_environment()


def _now(what: str) -> int | None:
    return None if _recorder is None else _recorder.now(what)


def _replace_dates() -> None:
    def today(of: type[date], now: int) -> date:
        return of.fromtimestamp(now / 1e9)

    def at(of: type[datetime], now: int, tz: Any = None) -> datetime:
        return of.fromtimestamp(now / 1e9, tz)

    def utc(of: type[datetime], now: int) -> datetime:
        return of.fromtimestamp(now / 1e9, UTC).replace(tzinfo=None)

    _replace_method(date, "today", today)
    _replace_method(datetime, "now", at)
    _replace_method(datetime, "utcnow", utc)


def _replace_method(owner: type, name: str, at: Callable[..., Any]) -> None:
    original = vars(owner)[name]

    @wraps(original)
    def replacement(cls: type, *args: Any, **kwargs: Any) -> Any:
        now = _now(f"{owner.__name__}.{name}()")
        if now is None:
            return original.__get__(None, cls)(*args, **kwargs)
        return at(cls, now, *args, **kwargs)

    # The classes of datetime are written in C and reject new attributes. A subclass in the module
    # would miss names that are bound already, and isinstance() would not know other dates.
    (attributes,) = gc.get_referents(vars(owner))
    attributes[name] = classmethod(replacement)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(owner))


def _replace_clock() -> None:
    localtime, gmtime = time.localtime, time.gmtime
    clocks: dict[str, tuple[int, Callable[..., Any]]] = {
        "time": (0, lambda now: now / 1e9),
        "time_ns": (0, lambda now: now),
        "localtime": (0, lambda now: localtime(now / 1e9)),
        "gmtime": (0, lambda now: gmtime(now / 1e9)),
        "ctime": (0, lambda now, original=time.ctime: original(now / 1e9)),
        "asctime": (0, lambda now, original=time.asctime: original(localtime(now / 1e9))),
        "strftime": (
            1,
            lambda now, form, original=time.strftime: original(form, localtime(now / 1e9)),
        ),
    }
    for name, (count, at) in clocks.items():
        setattr(time, name, _clock(name, getattr(time, name), count, at))


def _clock(name: str, original: Any, count: int, at: Callable[..., Any]) -> Callable[..., Any]:
    """A function of ``time`` that uses the clock if it has no more than ``count`` arguments."""

    @wraps(original)
    def replacement(*args: Any) -> Any:
        if any(one is not None for one in args[count:]) or (now := _now(f"time.{name}()")) is None:
            return original(*args)
        return at(now, *args[:count])

    return replacement


def _replace_random_numbers() -> None:
    owner: Any = random
    instance = owner._inst  # the generator of the functions in random
    for name in owner.__all__:
        if getattr(getattr(owner, name), "__self__", None) is instance:
            setattr(owner, name, _random_function(name, getattr(owner, name)))
    seed, urandom, uuid1 = random.Random.seed, os.urandom, uuid.uuid1

    def new_seed(self: Any, a: Any = None, version: int = 2) -> None:
        numbers = _generator("random.Random()") if a is None else None
        seed(self, a if numbers is None else numbers.random(), version)

    def new_bytes(size: int, /) -> bytes:
        numbers = _generator("os.urandom()")
        return urandom(size) if numbers is None else numbers.randbytes(size)

    @wraps(uuid1)
    def new_uuid(*args: Any, **kwargs: Any) -> uuid.UUID:
        numbers = _generator("uuid.uuid1()")
        if numbers is None:
            return uuid1(*args, **kwargs)
        return uuid.UUID(bytes=numbers.randbytes(16), version=1)

    owner.Random.seed = new_seed
    os.urandom = owner._urandom = new_bytes  # random binds it when it is imported
    uuid.uuid1 = new_uuid


def _generator(what: str) -> random.Random | None:
    return None if _recorder is None else _recorder.generator(what)


def _random_function(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        recorder = _recorder
        if recorder is not None and name in ("seed", "setstate"):
            recorder.is_seeded = bool(args or kwargs)
        elif recorder is not None and not recorder.is_seeded:
            key = recorder.call(f"random.{name}()")
            result = original(*args, **kwargs)
            if key in recorder.varied:
                # A choice of few items needs several attempts to give another one.
                other = getattr(random.Random(recorder.calls), name)
                again = (other(*args, **kwargs) for _ in range(20))
                return next((one for one in again if one != result), result)
            return result
        return original(*args, **kwargs)

    return replacement


def _replace_machine() -> None:
    for module, name, what in (
        (os, "getcwd", "the working folder"),
        (os, "getpid", "the process id"),
        (os, "getppid", "the process id of the parent"),
        (os, "getlogin", "the user's name"),
        (getpass, "getuser", "the user's name"),
        (platform, "node", "the host name"),
        (tempfile, "gettempdir", "the temporary folder"),
        (socket, "getfqdn", "the host name"),
        (socket, "gethostname", "the host name"),
    ):
        setattr(module, name, _machine_function(getattr(module, name), name, what))


def _machine_function(original: Callable[..., Any], name: str, what: str) -> Callable[..., Any]:
    @wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return read_input(what, name, lambda: original(*args, **kwargs), is_default=False)

    return replacement


def _replace_environment() -> None:
    owner: Any = type(os.environ)
    getitem, get, setitem = owner.__getitem__, owner.get, owner.__setitem__

    def read(name: Any, value: Callable[[], Any]) -> Any:
        if _recorder is not None and name in _recorder.assigned:
            return value()
        return read_input(
            f"the environment variable {str(name)!r}",
            str(name),
            value,
            is_default=name not in _own_names,
            fix="" if name in _own_names else f"set the environment variable {name}",
        )

    def new_getitem(self: Any, key: Any) -> Any:
        return read(key, lambda: getitem(self, key))

    def new_get(self: Any, key: Any, default: Any = None) -> Any:
        return read(key, lambda: get(self, key, default))

    def new_setitem(self: Any, key: Any, value: Any) -> None:
        # setdefault() calls this from its own frame: its value may come from outside.
        if _recorder is not None and is_user_code(sys._getframe(1)):
            _recorder.assigned.add(key)
        setitem(self, key, value)

    owner.__getitem__, owner.get, owner.__setitem__ = new_getitem, new_get, new_setitem
