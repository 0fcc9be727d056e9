"""A private Airflow: its own home, free loopback ports, gone when the command is."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx

from sagebridge.errors import ServiceError
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.launch import home as homes
from sagebridge_operators.launch.rest import AirflowApi
from sagebridge_operators.launch.warden import Warden

STARTS_WITHIN = 180.0
"""Seconds; without bytecode the first start of Airflow takes a minute."""

# The worker waits for its job, so no triggerer; logs are read from files, so nobody serves them.
_COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
}
_PORT_TAKEN = "address already in use"
_PORT_TRIALS = 5
_T = TypeVar("_T")


class PrivateAirflow:
    """Airflow with the DAG of one pipeline, for one run of it.

    Args:
        folder: where private Airflows of this working folder live.
        dag_id, run_id: as the run is called in the UI; ``run_id`` is also the home's name.
        execution: the execution whose jobs stop if this process is killed.
        parallelism: how many tasks run at once.
        variables: environment variables for the workers.
    """

    def __init__(
        self,
        folder: Path,
        pipeline: Pipeline,
        *,
        dag_id: str,
        run_id: str,
        execution: str,
        parallelism: int,
        variables: Mapping[str, str],
    ) -> None:
        folder = folder.resolve()
        self.home = folder / run_id
        self.dag_id, self.run_id = dag_id, run_id
        self._template = folder / f"airflow-{homes.airflow_version()}.db"
        self._pipeline = pipeline
        self._execution = execution
        self._parallelism = parallelism
        self._variables = variables
        self._api: AirflowApi | None = None
        self._warden: Warden | None = None

    @property
    def api(self) -> AirflowApi:
        if self._api is None:
            raise RuntimeError("not started")
        return self._api

    @property
    def ui(self) -> str:
        """Where the run can be watched; empty before the start."""
        return f"{self._api.url}/dags/{self.dag_id}/runs/{self.run_id}" if self._api else ""

    def __enter__(self) -> Self:
        try:
            homes.prepare(self.home, self._template, self._pipeline, self.dag_id)
            for _ in range(_PORT_TRIALS):
                warden = self._start(_free_port())
                if self._wait_until_ready():
                    return self
                warden.kill()
            raise ServiceError(f"Airflow found {_PORT_TRIALS} ports free that then were taken")
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        try:
            if self._warden is not None:
                self._warden.stop()
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends Airflow at once; of its home the logs stay."""
        if self._warden is not None:
            self._warden.kill()
        if self._api is not None:
            self._api.close()
        for path in self.home.iterdir() if self.home.exists() else ():
            if path.name != "logs":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def trigger(self, parameters: Mapping[str, object]) -> None:
        self.patiently(lambda: self.api.trigger(self.dag_id, self.run_id, parameters))

    def patiently(self, ask: Callable[[], _T], patience: float = 60.0) -> _T:
        """An answer of the API, which may be slow on a busy machine. Raises ServiceError."""
        until = time.monotonic() + patience
        while True:
            try:
                return ask()
            except httpx.TransportError as error:
                if not self.running:
                    raise ServiceError(f"Airflow ended:\n{self._last_words()}") from None
                if time.monotonic() > until:
                    raise ServiceError(f"Airflow does not answer: {error}") from None
                time.sleep(0.3)

    def failure(self, task: str) -> str:
        """What the log of a failed task's last try says of the failure."""
        logs = sorted((self.home / "logs").glob(f"*/*/task_id={task}/attempt=*.log"))
        for line in reversed(logs[-1].read_text(errors="replace").splitlines() if logs else []):
            try:
                entry = json.loads(line)
                details = entry.get("error_detail") or []
                if details:
                    return f"{details[0]['exc_type']}: {details[0]['exc_value']}"
                if entry.get("level") in ("error", "critical"):
                    return str(entry["event"])
            except (AttributeError, KeyError, TypeError, ValueError):
                continue
        return f"its worker was lost (logs are in {self.home / 'logs'})"

    @property
    def running(self) -> bool:
        return self._warden is not None and self._warden.running

    def _start(self, port: int) -> Warden:
        self._api = AirflowApi(f"http://127.0.0.1:{port}")
        self._warden = Warden(
            {name: (*homes.AIRFLOW, *words) for name, words in _COMPONENTS.items()},
            logs=self.home / "logs",
            cwd=self.home,
            env=homes.environment(
                self.home, port, parallelism=self._parallelism, more=self._variables
            ),
            execution=self._execution,
        )
        return self._warden

    def _wait_until_ready(self) -> bool:
        """Whether it came up; False where its port was taken. Raises ServiceError."""
        until = time.monotonic() + STARTS_WITHIN
        with closing(AirflowApi(self.api.url, timeout=5)) as api:
            while time.monotonic() < until:
                if not self.running:
                    if _PORT_TAKEN in self._log("api-server"):
                        return False
                    raise ServiceError(f"Airflow does not start:\n{self._last_words()}")
                if self._is_ready(api):
                    return True
                time.sleep(0.2)
        raise ServiceError(
            f"Airflow is not ready after {STARTS_WITHIN:.0f} s:\n{self._last_words()}"
        )

    def _is_ready(self, api: AirflowApi) -> bool:
        """Raises ServiceError for a DAG that cannot be imported."""
        try:
            # Something else may have taken the port, another Airflow with such a DAG even.
            file = api.dag_file(self.dag_id)
            if file and self.home in Path(file).parents:
                return api.scheduler_is_healthy()
            errors = api.import_errors()
        except (httpx.TransportError, ServiceError, LookupError, TypeError, ValueError):
            return False
        if errors:
            raise ServiceError(f"Airflow cannot import the DAG:\n{homes.last_lines(errors[0])}")
        return False

    def _log(self, component: str) -> str:
        try:
            return (self.home / "logs" / f"{component}.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _last_words(self) -> str:
        """The end of the log of each component, the one that ended last."""
        logs = {name: self._log(name) for name in ("warden", *_COMPONENTS)}
        return "\n".join(
            f"--- {name} ({self.home / 'logs' / name}.log)\n{homes.last_lines(text)}"
            for name, text in logs.items()
            if text
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
