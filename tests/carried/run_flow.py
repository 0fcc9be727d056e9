"""Runs a flow of a file to its end: ``python -m tests.carried.run_flow`` in Prefect's environment.

The request on standard input is that of :mod:`tests.carried.run_dag`; ``date`` is the scheduled
start. Prefect's server is a temporary one.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

from sagebridge_operators.prefect.airflow_names.stores import secret
from tests.carried.runs import serve
from tests.carried.steps import plain, recorded_steps, records

_STATES = {
    "COMPLETED": "succeeded",
    "FAILED": "failed",
    "CRASHED": "failed",
    "CANCELLED": "skipped",
    "PENDING": "not run",
    "SCHEDULED": "not run",
}
_NUMBERS = count()
_NAMES = {"Skipped": "skipped", "NotRun": "not run", "NotReady": "not run"}


def main() -> None:
    home = tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))
    os.environ |= {
        "PREFECT_HOME": home,
        "PREFECT_LOCAL_STORAGE_PATH": f"{home}/storage",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        serve(run)
    os._exit(0)  # threads of Prefect may not end


def run(request: dict[str, Any]) -> dict[str, Any]:
    from prefect.variables import Variable

    for name, value in request["variables"].items():
        Variable.set(name, value, overwrite=True)
    try:
        return _run(request)
    finally:
        for name in request["variables"]:
            Variable.unset(name)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    from prefect import Flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.flow_engine import run_flow
    from prefect.states import Scheduled

    for module, kind, name, values in request.get("blocks", ()):
        getattr(__import__(module, fromlist=[kind]), kind)(**values).save(name, overwrite=True)
    module = _module(Path(request["file"]))
    flows = {id(one): one for one in vars(module).values() if isinstance(one, Flow)}
    own = [one for one in flows.values() if request["name"] in (None, one.name)]
    flow = max(own, key=lambda one: one.fn.__code__.co_firstlineno)
    with get_client(sync_client=True) as client:
        at = datetime.fromisoformat(request["date"])
        others = OtherFlows(client, request.get("others", ()), at)
        planned = client.create_flow_run(
            flow, parameters=request["parameters"], state=Scheduled(scheduled_time=at)
        )
        run_name = planned.name  # the run may get the flow's own name
        with others.succeeding():
            state = run_flow(
                flow, flow_run=planned, parameters=request["parameters"], return_type="state"
            )
            if inspect.isawaitable(state):
                state = asyncio.run(_awaited(state))
        started = others.started()
        runs = _all_runs(client, client.read_flow_run(planned.id))
        of_runs = FlowRunFilter(id={"any_": [one.id for one in runs]})
        # The call of a subflow is also a task run.
        calls = {one.parent_task_run_id for one in runs}
        ended = _settled(lambda: client.read_task_runs(flow_run_filter=of_runs))
        ended = [one for one in ended if one.id not in calls]
        tasks: dict[str, list[Any]] = defaultdict(list)
        for one in sorted(ended, key=lambda one: str(one.expected_start_time)):
            name = one.task_key.rpartition(".")[2].rpartition("-")[0] or one.task_key
            found = {"state": _state(one.state), "name": one.name, **_result(one.state)}
            tasks[name].append(found)
    return {
        "state": _state(state),
        "message": str(state.message),
        "tasks": tasks,
        "steps": recorded_steps(secret),
        "started": started,
        "run_ids": [str(planned.id), run_name, *records().ids()],
    }


class OtherFlows:
    """Flows with deployments that exist; a worker lets the runs that are started succeed."""

    def __init__(self, client: Any, others: Sequence[Any], date: datetime) -> None:
        from prefect import flow, task
        from prefect.flow_engine import run_flow
        from prefect.states import Scheduled

        self._client = client
        self._deployments = []
        self._before: set[Any] = set()
        for name, step, hours in others:
            if hours is None:
                there = client.create_flow_from_name(name)
                self._deployments.append(client.create_deployment(there, name))
                continue
            only = task(name=step, task_run_name=step)(lambda: None)
            code = flow(name=name)(lambda only=only: only() and None)
            due = Scheduled(scheduled_time=date - timedelta(hours=hours))
            run_flow(code, flow_run=client.create_flow_run(code, state=due))
        self._before = {one.id for one in self._runs()}

    def _runs(self) -> Sequence[Any]:
        from prefect.client.schemas.filters import DeploymentFilter

        chosen = DeploymentFilter(id={"any_": self._deployments})
        found = self._client.read_flow_runs(deployment_filter=chosen) if self._deployments else ()
        return [one for one in found if one.id not in self._before]

    def started(self) -> list[Any]:
        """The flow and the parameters of each run that the scenario started."""
        names = {one: self._client.read_deployment(one).name for one in self._deployments}
        return sorted([names[one.deployment_id], one.parameters] for one in self._runs())

    @contextmanager
    def succeeding(self) -> Iterator[None]:
        from prefect.client.orchestration import get_client
        from prefect.states import Completed

        ended = Event()

        def ends() -> None:
            with get_client(sync_client=True) as client:
                while not ended.wait(0.3):
                    for one in self._runs():
                        if not one.state.is_final():
                            client.set_flow_run_state(one.id, Completed(), force=True)

        worker = Thread(target=ends, daemon=True)
        if self._deployments:
            worker.start()
        try:
            yield
        finally:
            ended.set()


async def _awaited(state: Any) -> Any:
    return await state


def _module(file: Path) -> Any:
    import importlib.util

    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(f"{file.stem}_{next(_NUMBERS)}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _all_runs(client: Any, run: Any) -> list[Any]:
    """A flow run and those of its subflows."""
    from prefect.client.schemas.filters import FlowRunFilter

    found, new = [run], [run]
    while new:
        parents = FlowRunFilter(parent_flow_run_id={"any_": [one.id for one in new]})
        new = client.read_flow_runs(flow_run_filter=parents)
        found += new
    return found


def _settled(read: Any) -> list[Any]:
    """The task runs, once the server has received all of them."""
    from time import monotonic, sleep

    deadline, before = monotonic() + 30, -1
    while True:
        tasks: list[Any] = read()
        ended = all(one.state is not None and one.state.is_final() for one in tasks)
        if (ended and len(tasks) == before) or monotonic() > deadline:
            return tasks
        before = len(tasks)
        for _ in range(5):
            sleep(0.2)


def _state(state: Any) -> str:
    return _NAMES.get(state.name) or _STATES[state.type.value]


def _result(state: Any) -> dict[str, Any]:
    if not state.is_completed():
        return {"message": str(state.message)}
    try:
        found = state.result(raise_on_failure=False)
        if inspect.isawaitable(found):
            found = asyncio.run(_awaited(found))
    except Exception as error:  # noqa: BLE001 - a result that is not persisted
        return {"message": repr(error)}
    return {"result": plain(found)}


if __name__ == "__main__":
    main()
