"""A private Airflow: its own home and loopback port, removed when the command ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from sagebridge.errors import ServiceError
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.launch import airflow_home as homes
from sagebridge_operators.launch.engine_apis import NO_ANSWER, AirflowApi
from sagebridge_operators.launch.engine_versions import version_of
from sagebridge_operators.launch.private_engine import PrivateEngine, last_lines

# No log server: the API server reads the log files.
_COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
}
_TRIGGERER = {"triggerer": ("triggerer", "--skip-serve-logs")}


class PrivateAirflow(PrivateEngine[AirflowApi]):
    """Airflow with the DAG of one pipeline, for one run.

    Args:
        folder: the parent folder of private Airflow homes.
        dag_id, run_id: the ids in the UI; ``run_id`` is also the name of the home.
        execution: the execution whose jobs are stopped if this process is killed.
        parallelism: the maximum number of tasks running at a time.
        variables: environment variables for the workers.
    """

    client = AirflowApi
    port_taken = "address already in use"

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
        super().__init__(folder / run_id, execution)
        self.dag_id, self.run_id = dag_id, run_id
        self._template = self.home.parent / f"airflow-{version_of('airflow')}.db"
        self._pipeline = pipeline
        self._parallelism = parallelism
        self._variables = variables

    @property
    def ui(self) -> str:
        """The URL of the run in the UI; empty before the start."""
        return f"{self.url}/dags/{self.dag_id}/runs/{self.run_id}" if self.url else ""

    @property
    def login_hint(self) -> str:
        return f"user {self.login.user}, password {self.login.password}"

    def prepare(self) -> None:
        homes.prepare(self.home, self._template, self._pipeline, self.dag_id)

    def commands(self, port: int) -> dict[str, tuple[str, ...]]:
        found = _COMPONENTS | (_TRIGGERER if homes.defers(self._variables) else {})
        return {name: (*homes.AIRFLOW, *arguments) for name, arguments in found.items()}

    def make_environment(self, port: int) -> dict[str, str]:
        return homes.environment(
            self.home, port, parallelism=self._parallelism, more=self._variables
        )

    def trigger(self, parameters: Mapping[str, object]) -> None:
        self.patiently(lambda: self.api.trigger(self.dag_id, self.run_id, parameters))

    def failure(self, task: str, index: int = -1) -> str:
        """The failure in the log of a failed task's last try; ``index`` of a mapped one."""
        # As log_filename_template in the section logging of the default configuration.
        folder = f"task_id={task}" if index < 0 else f"task_id={task}/map_index={index}"
        logs = sorted((self.home / "logs").glob(f"*/*/{folder}/attempt=*.log"))
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
        return f"its worker was lost (logs: {self.home / 'logs'})"

    def is_ready(self) -> bool:
        """Whether the DAG can run. Raises ServiceError if the DAG cannot be imported."""
        try:
            with closing(AirflowApi(self.url, self.login, timeout=5)) as api:
                api.prepare_for_workers()
                # Another process may have taken the port, even another Airflow with this DAG.
                file = api.dag_file(self.dag_id)
                if file and self.home in Path(file).parents:
                    return api.scheduler_is_healthy()
                errors = api.import_errors()
        except (*NO_ANSWER, ServiceError, LookupError, TypeError, ValueError):
            return False
        if errors:
            raise ServiceError(f"Airflow cannot import the DAG:\n{last_lines(errors[0])}")
        return False
