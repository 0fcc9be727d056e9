"""One execution of a flow on a private Prefect server, by a process of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sagebridge_operators.backends import RESUMED
from sagebridge_operators.launch.engine_execution import MOST_TASKS, EngineExecution
from sagebridge_operators.launch.prefect_engine import PrefectServer
from sagebridge_operators.launch.prefect_flow import Flow
from sagebridge_operators.launch.private_engine import last_lines
from sagebridge_operators.launch.process_keeper import ProcessKeeper
from sagebridge_operators.launch.workdir import Workdir

# What Prefect's own runner starts for a flow run.
_ENGINE = (sys.executable, "-P", "-m", "prefect.engine")
_LIMIT = "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS"
_UNSUCCESSFUL = ("FAILED", "CRASHED", "CANCELLED")
_CANCELLED = ("CANCELLING", "CANCELLED")
_OPEN = ("PENDING", "RUNNING")
_MOST_AGAIN = 2
"""Times that a flow's process is started anew where one was killed."""


class PrefectExecution(EngineExecution):
    """Its id follows from that of its flow run, which only a server that runs can give."""

    engine = "prefect"

    def __init__(self, flow: Flow, parameters: Mapping[str, Any], place: Workdir) -> None:
        super().__init__(flow.pipeline, parameters, place)
        self.flow = flow
        self._name = self.run_name(flow.entry)
        self._server = PrefectServer(
            place.home / "prefect" / self._name, variables=place.variables()
        )
        self._flow_run = ""
        self._process: ProcessKeeper | None = None
        self._variables: dict[str, str] = {}
        self._folder = place.home
        self._again = 0
        self._jobs_stopped = False
        place.check_writable()

    @property
    def server(self) -> PrefectServer:
        return self._server

    @property
    def ui(self) -> str:
        return f"{self.server.url}/runs/flow-run/{self._flow_run}" if self._flow_run else ""

    def trigger(self) -> None:
        server, flow = self.server, self.flow
        given = flow.given(self.parameters)
        self._flow_run = server.patiently(
            lambda: server.api.create_run(flow.name, self._name, given)
        )
        self.identify(flow.name, self._flow_run)
        if flow.file:  # a person's own code finds the folder that the command was started in
            file, self._folder, limit = flow.file, Path.cwd(), {}
        else:
            file, self._folder, limit = self._written(), server.home, {_LIMIT: str(MOST_TASKS)}
        self._variables = {"PREFECT__FLOW_ENTRYPOINT": f"{file}:{flow.entry}", **limit}
        self.begin()
        self._start()

    def running(self) -> bool:
        """A run that is cancelled in Prefect is stopped: no worker is there to do it.

        One whose process was killed goes on in another.
        """
        state = self._state()["type"]
        if state in _CANCELLED and not self._jobs_stopped:
            self._stop_jobs()
        if self._process is None:
            return False
        return self._process.running or (state in _OPEN and self._goes_on())

    def _stop_jobs(self) -> None:
        """Stops the jobs at once, as Prefect ends the process that is at them."""
        with suppress(Exception):  # once more at the next look
            if not self._stop_asked():
                self.place.records.request_stop(self.id)
            self.ending.stop_jobs()
            self._jobs_stopped = True

    def _goes_on(self) -> bool:
        """Starts another process for one that was killed, unless that has happened too often."""
        if not self._killed or self._again == _MOST_AGAIN or self._stop_asked():
            return False
        why = self._end_of_process()
        self._again += 1
        self.tell(f"{why}; another goes on ({self._again} of {_MOST_AGAIN})")
        self.server.patiently(lambda: self.server.api.wait_again(self._flow_run, why))
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
        """A flow that ended by itself has recorded its end; any other ended too early."""
        ending = self.ending
        if ending.records.end(self.id) is not None:
            return ""
        state = self._state()
        if state["type"] in _UNSUCCESSFUL:
            why = state["message"] or f"the flow run is {state['name']}"
        else:
            why = self._end_of_process()
            self._set_state("CRASHED", why)
        ending.mark_lost(why, no_worker=True)
        ending.stop()
        ending.settle("Failed", why)
        return why

    def _written(self) -> Path:
        file = self.server.home / "flow.py"
        file.write_text(self.flow.text, encoding="utf-8")
        return file

    def _stop_asked(self) -> bool:
        records = self.place.records
        return records.end(self.id) is not None or records.stop_requested(self.id)

    def _state(self) -> dict[str, Any]:
        return self.server.patiently(lambda: self.server.api.run_state(self._flow_run))

    def _set_state(self, type_: str, message: str, patience: float = 60) -> None:
        server = self.server
        server.patiently(lambda: server.api.end_run(self._flow_run, type_, message), patience)

    @property
    def _killed(self) -> int:
        """The signal that ended the flow's process, else 0."""
        code = self._process.exit_code if self._process is not None else None
        number = (code or 0) - 128
        return number if number in set(signal.Signals) else 0

    def _end_of_process(self) -> str:
        log = self.server.home / "logs" / "flow.log"
        if self._killed:
            times = f", {self._again + 1} times in all" if self._again else ""
            return f"the flow's process was killed by {signal.Signals(self._killed).name}{times}"
        said = last_lines(self.server.log("flow"), 1)
        return f"the flow's process ended before its steps did: {said} (its log is {log})"
