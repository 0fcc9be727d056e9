"""Sets the final state of a flow run from the outcome of its steps.

Otherwise, a flow without ``return finish()`` would be Completed although its steps failed or never
ran.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Failed, State

from sagebridge_operators.lifecycle.iterations import StepRow
from sagebridge_operators.lifecycle.step_states import Status
from sagebridge_operators.run_errors import ExecutionFailed

_STATES: dict[Any, State | None] = {}


def require_finish(flow: Any, flow_run: Any) -> None:
    """Makes the flow run fail unless :func:`set_state` is called before it ends."""
    _STATES[flow_run] = Failed(
        message="the flow declares steps but does not run them with `return finish()`"
    )
    if apply_final_state not in flow.on_completion_hooks:
        flow.on_completion_hooks.append(apply_final_state)


def set_state(flow_run: Any, state: State | None) -> None:
    """Sets the state that the flow run ends in; None keeps Prefect's own."""
    _STATES[flow_run] = state


def result_of(
    found: Status, execution: str, steps: Iterable[StepRow]
) -> dict[str, Any] | State[Any]:
    """What a flow returns when its steps have ended: a dict after a success, otherwise a state."""
    if found.status == "Succeeded":
        return {"execution": execution, "steps": {one.name: one.state for one in steps}}
    failure = ExecutionFailed(found.reason)
    if found.status == "Stopped":
        return Cancelled(name="Stopped", message=found.reason, data=failure)
    return Failed(name=found.status, message=found.reason, data=failure)


def apply_final_state(flow: Any, flow_run: Any, state: State) -> None:
    """An ``on_completion`` hook that replaces the Completed state, if another one is expected."""
    expected = _STATES.pop(flow_run.id, None)
    if expected is not None:
        with get_client(sync_client=True) as client:
            # Without force the server rejects a change of a final state.
            client.set_flow_run_state(flow_run.id, expected, force=True)


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
