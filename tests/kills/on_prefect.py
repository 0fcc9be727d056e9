"""A Prefect with a process worker on the fake AWS, whose processes a test kills."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from sagebridge.formats.prefect.writer import write
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.launch.prefect_engine import PREFECT, PrefectServer
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.execution import execution_id
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.faulty_aws.server import FaultyAws
from tests.kills.on_airflow import eventually, kill
from tests.lifecycle.conftest import ARGUMENTS

FLOW = "kills"
_POOL = "sagebridge"
_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class KilledPrefect(PrefectServer):
    """A Prefect with a deployment of one Training step.

    ``process`` is the process of a flow run; ``worker`` the process worker with all of them.
    """

    kinds = ("process", "worker")
    shared = frozenset(("worker",))

    def __init__(self, folder: Path, aws: FaultyAws) -> None:
        variables = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_WORKER_QUERY_SECONDS": "1"}
        super().__init__(folder / "server", variables=variables | aws.environment())
        self.folder = folder
        self.records = ExecutionRecords(Folder(folder / "work" / "executions"))
        self._worker: subprocess.Popen[bytes] | None = None
        self._runs: dict[str, str] = {}
        self._forgotten: set[str] = set()

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            login = (self.login.user, self.login.password)
            self._client = httpx.Client(
                base_url=f"{self.api_url}/", auth=login, timeout=60, trust_env=False
            )
            step = Step("Train", "Training", arguments=plain(ARGUMENTS["Training"]))
            text = write(Pipeline(steps=(step,), name=FLOW))[0]
            (self.folder / "kills.py").write_text(text)
            self._command("deploy", "kills.py", "--on", "prefect", "--backend", "aws")
            body = {"deployments": {"name": {"any_": [FLOW]}}}
            self._deployment = self._request("POST", "deployments/filter", body)[0]["id"]
            self.restart("worker")
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        self._kill_worker()
        super().kill()

    def restart(self, kind: str) -> None:
        """Starts the worker, after it was killed."""
        with (self.home / "logs" / f"{kind}.log").open("ab") as log:
            self._worker = subprocess.Popen(
                [*PREFECT, "worker", "start", "--pool", _POOL, "--type", "process"],
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
            )

    def _kill_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            with suppress(psutil.NoSuchProcess):
                kill(psutil.Process(worker.pid).children(recursive=True))
            worker.kill()
            worker.wait()

    def start(self, run: str) -> None:
        path = f"deployments/{self._deployment}/create_flow_run"
        found = self._request("POST", path, {"name": run, "idempotency_key": run})
        self._runs[run] = found["id"]
        eventually(lambda: self.attempts(run), f"{run} starts")

    def kill_one(self, kind: str, run: str) -> bool:
        if kind == "worker":
            self._forgotten |= {one for one in self._runs if self._state(one) not in _ENDED}
            self._kill_worker()
            return True
        found = self._process_of(run)
        kill([found] if found else [])
        return found is not None

    def finish(self, run: str) -> str:
        """Retries a run that crashed, or that no process continues."""
        if run in self._forgotten:  # no hook runs, and Prefect shows it as running
            self._command("executions", "sweep", "--lost-for", "0")
        else:
            eventually(lambda: self._state(run) in _ENDED, f"{run} ends")
        if self._state(run) != "COMPLETED":
            if run not in self._forgotten:
                # The worker may report the crash a second time, after the hooks, even if the run
                # was scheduled again in between (BaseWorker in prefect/workers/base.py).
                report = f"flow_runs.worker - Reported flow run '{self._runs[run]}' as crashed"
                with suppress(TimeoutError):
                    eventually(lambda: report in self.log("worker"), "a second report", 60)
            eventually(lambda: not self._job_runs(run), f"the job of {run} is stopped")
            body = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
            self._request("POST", f"flow_runs/{self._runs[run]}/set_state", body)
        eventually(lambda: self._state(run) in _ENDED, f"{run} ends")
        return {"COMPLETED": "Succeeded"}.get(self._state(run), self._state(run))

    def attempts(self, run: str) -> list[Attempt]:
        return self.records.attempts(execution_id("prefect", FLOW, self._runs[run]))

    def _job_runs(self, run: str) -> bool:
        return any(one.running for one in self.attempts(run))

    def _process_of(self, run: str) -> psutil.Process | None:
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if self._runs[run] in one.cmdline()[-1:] or (
                    one.environ().get("PREFECT__FLOW_RUN_ID") == self._runs[run]
                ):
                    return one
        return None

    def _state(self, run: str) -> str:
        return str(self._request("GET", f"flow_runs/{self._runs[run]}")["state"]["type"])

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        def ask() -> httpx.Response | None:
            with suppress(httpx.TransportError):
                answer = self._client.request(method, path, json=body)
                return None if answer.is_server_error else answer
            return None

        answer = eventually(ask, f"an answer to {path}")
        assert answer is not None
        return answer.raise_for_status().json()

    def _command(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "sagebridge.cli", *words, "--workdir", "work"],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
