"""An execution of a flow on a private Prefect server, in a separate process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sagebridge.model.values import ABSENT, EMPTY
from sagebridge_operators.backends import MAX_PARALLEL, RESUMED
from sagebridge_operators.launch.engine_execution import MAX_TASKS, EngineExecution
from sagebridge_operators.launch.prefect_engine import PrefectServer
from sagebridge_operators.launch.prefect_flow import Flow
from sagebridge_operators.launch.private_engine import last_lines
from sagebridge_operators.launch.process_keeper import ProcessKeeper
from sagebridge_operators.launch.workdir import Workdir

# The command that Prefect's runner uses (prefect/runner/_starter_engine.py).
_ENGINE = (sys.executable, "-P", "-m", "prefect.engine")
_LIMIT = "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS"
_UNSUCCESSFUL = ("FAILED", "CRASHED", "CANCELLED")
_CANCELLED = ("CANCELLING", "CANCELLED")
_OPEN = ("PENDING", "RUNNING")
_MAX_RESTARTS = 2
"""How often the process of a flow is restarted after it was killed."""


class PrefectExecution(EngineExecution):
    """An execution on Prefect. A new one gets its id from its flow run, after the server starts."""

    engine = "prefect"

    def __init__(
        self,
        flow: Flow,
        parameters: Mapping[str, Any],
        workdir: Workdir,
        record: Mapping[str, Any] = EMPTY,
    ) -> None:
        super().__init__(flow.pipeline, parameters, workdir, record)
        self.flow = flow
        self._name = self.run_name(flow.entry)
        self._server = PrefectServer(
            workdir.home / "prefect" / self._name, variables=workdir.variables()
        )
        self._flow_run = ""
        self._process: ProcessKeeper | None = None
        self._variables: dict[str, str] = {}
        self._folder = workdir.home
        self._restarts = 0
        self._jobs_stopped = False
        workdir.check_writable()

    @property
    def server(self) -> PrefectServer:
        return self._server

    @property
    def ui(self) -> str:
        # Without a login, the page of a run is "not found"; the login page then opens it.
        page = f"/login?redirect=/runs/flow-run/{self._flow_run}"
        return f"{self.server.url}{page}" if self._flow_run else ""

    def trigger(self) -> None:
        server, flow = self.server, self.flow
        given = flow.given(self.parameters)
        self._flow_run = server.patiently(
            lambda: server.api.create_run(flow.name, self._name, given)
        )
        self.identify(flow.name, self._flow_run)
        if flow.file:  # user code runs in the current folder
            file, self._folder, limit = flow.file, Path.cwd(), {}
        else:
            file, self._folder, limit = self._write_flow(), server.home, {_LIMIT: str(MAX_TASKS)}
        if (most := flow.pipeline.parallelism) is not ABSENT:
            limit[MAX_PARALLEL] = str(most.max_parallel_execution_steps)
        # prefect/flow_engine.py loads the flow from this variable.
        self._variables = {
            "PREFECT__FLOW_ENTRYPOINT": f"{file}:{flow.entry}",
            "SAGEBRIDGE_EXECUTION": f"{self._flow_run}={self.id}",
            **limit,
        }
        self.begin()
        self._start()

    def running(self) -> bool:
        """Whether the run is in progress.

        A run cancelled in the UI is stopped here, since no Prefect worker does it. If its process
        was killed, another one is started.
        """
        state = self._state()["type"]
        if state in _CANCELLED and not self._jobs_stopped:
            self._stop_jobs()
        if self._process is None:
            return False
        return self._process.running or (state in _OPEN and self._restart())

    def _stop_jobs(self) -> None:
        """Stop the jobs immediately, since Prefect kills the process that handles them."""
        with suppress(Exception):  # retried at the next look
            if not self._stop_requested():
                self.workdir.records.request_stop(self.id)
            self.ending.stop_jobs()
            self._jobs_stopped = True

    def _restart(self) -> bool:
        """Restart the process if it was killed; False if it was not, or was killed too often."""
        if not self._killed or self._restarts == _MAX_RESTARTS or self._stop_requested():
            return False
        why = self._process_end()
        self._restarts += 1
        self.report(f"{why}; restarted ({self._restarts} of {_MAX_RESTARTS})")
        self.server.patiently(lambda: self.server.api.reset_run(self._flow_run, why))
        self._start({RESUMED: "1"})
        return True

    def _start(self, more: Mapping[str, str] | None = None) -> None:
        self._process = self.server.add(
            "flow",
            (*_ENGINE, self._flow_run),
            execution=self.id,
            variables={**self._variables, **(more or {})},
            folder=self._folder,
        )

    def end_run(self, reason: str) -> None:
        self._set_state("CANCELLED", reason, patience=5)

    def settle(self) -> str:
        """Record the end, unless the flow did so; otherwise it ended early."""
        ending = self.ending
        if ending.records.end(self.id) is not None:
            return ""
        state = self._state()
        if state["type"] in _UNSUCCESSFUL:
            why = state["message"] or f"the flow run is {state['name']}"
        else:
            why = self._process_end()
            self._set_state("CRASHED", why)
        ending.mark_lost(why, no_worker=True)
        ending.stop()
        ending.settle("Failed", why)
        return why

    def _write_flow(self) -> Path:
        file = self.server.home / "flow.py"
        file.write_text(self.flow.text, encoding="utf-8")
        return file

    def _stop_requested(self) -> bool:
        records = self.workdir.records
        return records.end(self.id) is not None or records.stop_requested(self.id)

    def _state(self) -> dict[str, Any]:
        return self.server.patiently(lambda: self.server.api.run_state(self._flow_run))

    def _set_state(self, type_: str, message: str, patience: float = 60) -> None:
        server = self.server
        server.patiently(lambda: server.api.end_run(self._flow_run, type_, message), patience)

    @property
    def _killed(self) -> int:
        """The signal that killed the flow's process; 0 if none did."""
        code = self._process.exit_code if self._process is not None else None
        number = (code or 0) - 128
        return number if number in set(signal.Signals) else 0

    def _process_end(self) -> str:
        log = self.server.home / "logs" / "flow.log"
        if self._killed:
            times = f", {self._restarts + 1} times in total" if self._restarts else ""
            return f"the flow's process was killed by {signal.Signals(self._killed).name}{times}"
        last = last_lines(self.server.log("flow"), 1)
        return f"the flow's process ended before its steps: {last} (log: {log})"
