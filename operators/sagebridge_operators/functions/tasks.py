"""Functions of steps that only order or select others."""

from __future__ import annotations

from datetime import UTC, datetime

from sagebridge_operators.lifecycle.user_code.run_context import current_run


def nothing() -> None:
    """Does nothing, as an EmptyOperator."""


def is_latest_run() -> bool:
    """Whether no later run of the schedule is due yet, as LatestOnlyOperator requires.

    A run that was started by hand is the latest.
    """
    following = current_run().facts.get("next_run")
    return following is None or datetime.now(UTC) <= following
