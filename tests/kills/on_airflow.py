"""An Airflow on the fake AWS whose processes a test kills and starts again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import psutil

from sagebridge.errors import ServiceError
from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.launch.airflow_engine import PrivateAirflow
from sagebridge_operators.launch.airflow_home import AIRFLOW
from sagebridge_operators.launch.engine_apis import NO_ANSWER
from sagebridge_operators.launch.private_engine import last_lines
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from tests.faulty_aws.server import FaultyAws
from tests.lifecycle.conftest import ARGUMENTS

DAG = "kills"
T = TypeVar("T")


class KilledAirflow(PrivateAirflow):
    """An Airflow with one DAG of one Training step.

    Its scheduler, with the executor, and its triggerer are children of this process.
    """

    shared = frozenset(("scheduler", "triggerer"))

    def __init__(
        self,
        folder: Path,
        aws: FaultyAws,
        *,
        deferred: bool,
        variables: Mapping[str, str] = MappingProxyType({}),
        dags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        step = Step("Train", "Training", arguments=plain(ARGUMENTS["Training"]))
        super().__init__(
            folder,
            Pipeline(steps=(step,), name=DAG),
            dag_id=DAG,
            run_id="kills",
            execution="",
            parallelism=8,
            variables={
                **aws.environment(),
                "SAGEBRIDGE_BACKEND": "aws",
                "SAGEBRIDGE_HOME": str(folder / "work"),
                "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": str(deferred),
                # Detect lost workers quickly.
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
                # A new scheduler adopts the tasks of a dead one only at the first check after this
                # threshold (adopt_or_reset_orphaned_tasks in airflow/jobs/scheduler_job_runner.py).
                "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
                "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
                **variables,
            },
        )
        self.records = ExecutionRecords(Folder(folder / "work" / "executions"))
        self._services: dict[str, subprocess.Popen[bytes]] = {}
        self.kinds = (
            ("task", "triggerer", "scheduler") if deferred else ("task", "worker", "scheduler")
        )
        self._deferred = deferred
        self._dags = dags

    def prepare(self) -> None:
        super().prepare()
        for name, text in self._dags.items():
            (self.home / "dags" / f"{name}.py").write_text(text)

    def commands(self, port: int) -> dict[str, tuple[str, ...]]:
        found = super().commands(port)
        return {name: found[name] for name in ("api-server", "dag-processor")}

    def is_ready(self) -> bool:
        if "scheduler" not in self._services:
            self.restart("scheduler")
            if self._deferred:
                self.restart("triggerer")
        return super().is_ready()

    def kill(self) -> None:
        for name in list(self._services):
            self.kill_service(name)
        super().kill()

    def restart(self, name: str) -> None:
        """Starts a service, after it was killed."""
        words = ("--skip-serve-logs",)
        log = (self._logs / f"{name}.log").open("ab")
        with log:
            self._services[name] = subprocess.Popen(
                [*AIRFLOW, name, *words],
                cwd=self.home,
                env=self.environment(),
                stdout=log,
                stderr=log,
            )

    def kill_service(self, name: str) -> None:
        """Kills a service and all its processes, such as the workers of the executor."""
        service = self._services.pop(name)
        with suppress(psutil.NoSuchProcess):
            kill(psutil.Process(service.pid).children(recursive=True))
        service.kill()
        service.wait()

    def trigger_other(self, dag: str, run: str) -> None:
        """Starts a run of another DAG, once Airflow has parsed its file."""

        def trigger() -> bool:
            self.api.trigger(dag, run, {})
            return True

        eventually(trigger, f"{dag} {run} is triggered")  # a busy SQLite answers 500

    def start(self, run: str) -> None:
        self.trigger_other(DAG, run)
        eventually(lambda: self.task(run).get("state") in ("running", "deferred"), f"{run} starts")

    def kill_one(self, kind: str, run: str) -> bool:
        """Kills a process: the task's, the executor's worker process above it, or a service."""
        if kind in self.shared:
            self.kill_service(kind)
            return True
        task = self.task(run)
        if task.get("state") != "running" or not task.get("pid"):
            return False
        try:
            process = psutil.Process(task["pid"])
            worker = process.parent()
            if kind == "worker" and worker is not None:
                process = worker
            process.kill()
        except psutil.NoSuchProcess:
            return False
        return True

    def finish(self, run: str) -> str:
        try:
            state = eventually(lambda: self._final_state(run), f"{run} ends")
        except TimeoutError as late:
            there = {name: self.task(run).get(name) for name in ("state", "try_number", "pid")}
            log = last_lines(self.log("scheduler"), 40)
            raise TimeoutError(f"{late}; its task: {there}; log of the scheduler:\n{log}") from None
        return {"success": "Succeeded", "failed": "Failed"}[state]

    def attempts(self, run: str) -> list[Attempt]:
        return self.records.attempts(execution) if (execution := self.execution(run)) else []

    def task(self, run: str) -> dict[str, Any]:
        return eventually(lambda: self.api.task_instances(DAG, run), f"tasks of {run}").get(
            ("Train", -1), {}
        )

    def _final_state(self, run: str) -> str:
        state = self.api.run_state(DAG, run)
        return state if state in ("success", "failed") else ""

    def execution(self, run: str) -> str:
        """The execution of a run; empty before its task has started."""
        for one in self.records.ids():
            if (self.records.execution(one) or {}).get("run") == f"{DAG}/{run}":
                return one
        return ""


def kill(processes: Iterable[psutil.Process]) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def eventually(ask: Callable[[], T], what: str, seconds: float = 240.0) -> T:
    """The first true result of ``ask``. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while True:
        with suppress(*NO_ANSWER, ServiceError):
            if found := ask():
                return found
        if time.monotonic() > until:
            raise TimeoutError(f"{what} after {seconds:.0f} s")
        time.sleep(0.2)
