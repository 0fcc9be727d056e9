"""Holds a flow run to the end that its steps came to.

A flow that forgets ``return finish()`` would be Completed although its steps failed or never ran.
"""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import get_client
from prefect.states import Failed, State

_EXPECTED: dict[Any, State | None] = {}


def expect(flow: Any, flow_run: Any) -> None:
    """From now on the flow run fails unless its end becomes known."""
    _EXPECTED[flow_run] = Failed(message="the flow has steps but no `return finish()` to run them")
    if hold_to_it not in flow.on_completion_hooks:
        flow.on_completion_hooks.append(hold_to_it)


def know(flow_run: Any, state: State | None) -> None:
    """The state that the flow run has to end in; None where it may end as it likes."""
    _EXPECTED[flow_run] = state


def hold_to_it(flow: Any, flow_run: Any, state: State) -> None:
    del flow, state
    expected = _EXPECTED.pop(flow_run.id, None)
    if expected is not None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, expected, force=True)
