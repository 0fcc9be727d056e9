"""Sensors: functions that are called until they return a true value; and a plain wait."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from glob import glob
from pathlib import Path
from zoneinfo import ZoneInfo

from sagebridge_operators.lifecycle.user_code.run_context import current_run
from sagebridge_operators.lifecycle.user_code.shell_command import run_command
from sagebridge_operators.run_errors import StepFailed

_SLICE = 0.2


def time_passed(time: str, timezone: str = "UTC") -> bool:
    """Whether it is later than a time of day, such as ``06:30``, on the day the step began."""
    zone = ZoneInfo(timezone)
    context = current_run()
    day = (context.began or context.started).astimezone(zone)
    return datetime.now(UTC) > datetime.combine(day, _time(time), zone)


def _time(text: str) -> time:
    return time.fromisoformat(text)


def moment_passed(moment: str | datetime) -> bool:
    """Whether a moment has passed; without a zone it is in UTC."""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return datetime.now(UTC) > (found if found.tzinfo else found.replace(tzinfo=UTC))


def run_time_passed(seconds: float) -> bool:
    """Whether this time has passed since the end of the run's data interval, or its date."""
    context = current_run()
    base = context.facts.get("data_interval_end") or context.scheduled
    return bool(datetime.now(UTC) > base + timedelta(seconds=seconds))


def wait(seconds: float) -> None:
    """Waits, as WaitSensor."""
    until = clock.monotonic() + seconds
    while (left := until - clock.monotonic()) > 0:  # a stop interrupts the loop, but not a sleep
        clock.sleep(min(left, _SLICE))


def is_weekday(
    days: Sequence[int],
    of_run: bool = False,
) -> bool:
    """Whether today, or the date of the run, is one of these days of the week; Monday is 1."""
    today = current_run().scheduled if of_run else datetime.now(UTC)
    return today.isoweekday() in days


def file_exists(
    path: str,
    recursive: bool = False,
    connection: str = "",
) -> bool:
    """Whether a file exists, or a folder with a file in it. ``path`` may have wildcards.

    Args:
        path: relative to the folder of the ``connection``, if there is one.
        recursive: whether ``**`` matches any number of folders.
        connection: the engine's connection of a file system.
    """
    if connection:
        folder = current_run().facts.get("folder_of_connection")
        path = str(Path(folder(connection) if folder else "/") / path)
    # Path.glob needs a folder, and a path may be absolute and have wildcards anywhere.
    return any(_has_file(found) for found in glob(path, recursive=recursive))  # noqa: PTH207


def _has_file(path: str) -> bool:
    return Path(path).is_file() or any(files for _, _, files in os.walk(path))


def command_succeeds(
    command: str, env: Mapping[str, str] | None = None, retry_exit_code: int | None = None
) -> bool:
    """Whether a command ends with the exit code 0, as BashSensor.

    With ``retry_exit_code``, any other code fails the step, and it is not tried again.
    """
    environment = dict(os.environ) if env is None else dict(env)
    try:
        run_command(command, environment, lambda: False, print)
    except StepFailed as failed:
        if retry_exit_code is not None and failed.code != str(retry_exit_code):
            raise StepFailed(str(failed), kind="final") from None
        return False
    return True
