"""A clock for tests in which minutes pass at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo
from threading import RLock
from types import ModuleType
from typing import Any

import pytest


class Clock:
    """Replaces ``time`` and ``datetime`` in modules; ``now`` is in seconds since the epoch.

    ``sleep`` returns at once and moves the time forward. Other modules, such as those of the
    engines, keep the real time.
    """

    def __init__(self) -> None:
        self.now = time.time()
        self._lock = RLock()
        self._events: list[tuple[float, Callable[[], object]]] = []

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        """Move the time forward and make the calls that are due."""
        with self._lock:
            self.now += max(seconds, 0.0)
            due = [event for event in self._events if event[0] <= self.now]
            self._events = [event for event in self._events if event[0] > self.now]
        for _, call in due:
            call()
        time.sleep(0)  # other threads may run

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Make a call once ``seconds`` have passed."""
        self._events.append((self.now + seconds, call))

    def patch(self, monkeypatch: pytest.MonkeyPatch, modules: Iterable[ModuleType]) -> None:
        """Use this clock in every module that imports ``time`` or ``datetime.datetime``."""
        for module in modules:
            if getattr(module, "time", None) is time:
                monkeypatch.setattr(module, "time", self)
            if getattr(module, "datetime", None) is datetime:
                monkeypatch.setattr(module, "datetime", self._datetime())

    def _datetime(self) -> type[datetime]:
        clock = self

        class AnyDatetime(type):
            """``isinstance`` accepts times of the real class, too."""

            def __instancecheck__(cls, value: object) -> bool:
                return isinstance(value, datetime)

        class FakeDatetime(datetime, metaclass=AnyDatetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return datetime.fromtimestamp(clock.now, tz or UTC)

        return FakeDatetime


def modules_of(*packages: str) -> list[ModuleType]:
    """The imported modules of packages."""
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name in packages or name.startswith(tuple(f"{package}." for package in packages))
    ]
