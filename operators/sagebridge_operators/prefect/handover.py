"""Handing a flow run over to another process, as when its pod is evicted."""

from __future__ import annotations

from prefect.exceptions import TerminationSignal


def is_handed_over(error: BaseException) -> bool:
    """Whether another process continues the flow run, so its jobs must not be stopped.

    With ``PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR=reschedule``, ``prefect flow-run execute``
    announces this to the process of the flow run before it ends that process. Prefect has no public
    function for it (get_intent in prefect/_internal/control_listener.py, Prefect 3.9).
    """
    if not isinstance(error, TerminationSignal):
        return False
    try:
        from prefect._internal.control_listener import get_intent
    except ImportError:  # an older Prefect
        return False
    return get_intent() in ("reschedule", "relinquish")
