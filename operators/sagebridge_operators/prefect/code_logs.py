"""Shows messages of the ``logging`` module in the log of the task run whose code wrote them.

Prefect only shows those of its loggers and of PREFECT_LOGGING_EXTRA_LOGGERS, while Airflow has
all messages of level INFO and above in the log of a task.
"""

from __future__ import annotations

import logging
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import sagebridge_operators
from sagebridge_operators.lifecycle.user_code.kept_secrets import masked_text
from sagebridge_operators.lifecycle.user_code.run_context import CURRENT

_LIBRARIES = (
    *(sysconfig.get_path(one) for one in ("stdlib", "purelib", "platlib")),
    *(str(Path(one)) for one in sagebridge_operators.__path__),
)
_LOG: ContextVar[Any] = ContextVar("sagebridge_log", default=None)
_LOCK = threading.Lock()


class _Forwarding(logging.Handler):
    """A handler of the root logger; ``level_before`` was the level of that logger."""

    users, level_before = 0, logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        context = CURRENT.get()
        if context is not None and _is_forwarded(record):
            text = masked_text(self.format(record), context.secrets)
            _LOG.get().log(record.levelno, "[%s] %s", context.step, text)

    def is_printed(self, record: logging.LogRecord) -> bool:
        """A filter of the console: what is in the log of a task run is printed with that."""
        own = logging.getLogger(record.name)
        while own.level == logging.NOTSET and own.parent is not None:
            own = own.parent
        hidden = own is logging.root and record.levelno < self.level_before
        return not hidden and not _is_forwarded(record)


_FORWARDING = _Forwarding(logging.INFO)


def _is_forwarded(record: logging.LogRecord) -> bool:
    """Whether code of a step wrote a record that Prefect does not send to its API itself."""
    if CURRENT.get() is None or _LOG.get() is None or record.levelno < logging.INFO:
        return False
    if record.name.partition(".")[0] == "prefect" or record.pathname.startswith(_LIBRARIES):
        return False
    own: logging.Logger | None = logging.getLogger(record.name)
    while own is not None:
        if any(type(one).__name__ == "APILogHandler" for one in own.handlers):
            return False
        own = own.parent
    return True


@contextmanager
def show_messages(log: Any) -> Iterator[None]:
    """Shows messages of code of this thread in ``log``."""
    reset, root, own = _LOG.set(log), logging.root, _FORWARDING
    # Prefect's handler for the console (prefect/logging/logging.yml); others get what they got.
    consoles = [one for one in root.handlers if type(one).__module__ == "prefect.logging.handlers"]
    with _LOCK:
        if not own.users:
            own.level_before = root.level
            root.setLevel(min(root.level, logging.INFO))
            root.addHandler(own)
            for one in consoles:
                one.addFilter(own.is_printed)
        own.users += 1
    try:
        yield
    finally:
        _LOG.reset(reset)
        with _LOCK:
            own.users -= 1
            if not own.users:
                root.setLevel(own.level_before)
                root.removeHandler(own)
                for one in consoles:
                    one.removeFilter(own.is_printed)
