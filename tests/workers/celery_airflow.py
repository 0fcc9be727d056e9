"""Airflow with Celery workers that share no folder, as on several machines."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.launch import airflow_home
from sagebridge_operators.launch.airflow_engine import PrivateAirflow
from sagebridge_operators.launch.process_keeper import ProcessKeeper
from tests.faulty_aws.control import AwsControl
from tests.faulty_aws.protocol import REGION

CHECKOUT = Path(__file__).parents[2]
DAG = "abalone"
RECORDS = "s3://records/executions"
_LOADER = '''"""An airflow dag of each definition."""

from datetime import timedelta
from pathlib import Path

from sagebridge_operators.airflow import load_folder

load_folder(Path(__file__).parent / "pipelines", globals(), retry_delay=timedelta(seconds=1))
'''


class CeleryAirflow(PrivateAirflow):
    """API server, scheduler and DAG processor; ``add_worker`` adds the workers.

    ``database`` and ``broker`` are addresses of an empty PostgreSQL database and of Redis.
    """

    def __init__(self, folder: Path, database: str, broker: str, aws: AwsControl) -> None:
        self._aws = aws
        self._folder = folder
        self._workers: dict[str, ProcessKeeper] = {}
        variables = {
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            # A lost worker is detected within 12 seconds.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "SAGEBRIDGE_RECORDS": RECORDS,
        }
        super().__init__(
            folder,
            Pipeline(steps=()),
            dag_id=DAG,
            run_id="run-1",
            execution="",
            parallelism=4,
            variables=variables,
        )

    def prepare(self) -> None:
        _write_dags(self.home)
        airflow_home.write_settings(self.home)
        subprocess.run(
            [*airflow_home.AIRFLOW, "db", "migrate"],
            env=self.make_environment(0),
            cwd=self.home,
            check=True,
            capture_output=True,
        )

    def add_worker(self, name: str, access_key: str) -> None:
        """Start a worker for one task at a time, whose requests to AWS have an access key."""
        folder = self._worker_folder(name)
        folder.mkdir()
        _write_dags(folder)
        airflow_home.write_settings(folder)
        connection = {
            "conn_type": "aws",
            "login": access_key,
            "password": "secret",
            "extra": {"endpoint_url": self._aws.url, "region_name": REGION},
        }
        once = ("--concurrency", "1", "--skip-serve-logs", "--without-mingle", "--without-gossip")
        self._workers[name] = self.add(
            name,
            (*airflow_home.AIRFLOW, "celery", "worker", "--celery-hostname", name, *once),
            variables={
                "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
                "AIRFLOW_HOME": str(folder),
                "HOME": str(folder),
                "SAGEBRIDGE_HOME": str(folder / "sagebridge"),
            },
            folder=folder,
        )

    def kill_worker(self, name: str) -> None:
        """Kill all processes of a worker, its task included, as when its machine dies."""
        self._workers[name].kill()

    def task_logs(self) -> str:
        """The logs of the tasks on all workers."""
        files = sorted(self._folder.glob("*/logs/dag_id=*/**/*.log"))
        return "\n".join(f"--- {file}\n{file.read_text(errors='replace')}" for file in files)

    def _worker_folder(self, name: str) -> Path:
        return self._folder.resolve() / name


def _write_dags(home: Path) -> None:
    definition = home / "dags" / "pipelines" / DAG / "definition.json"
    definition.parent.mkdir(parents=True)
    shutil.copyfile(CHECKOUT / "pipelines" / "abalone" / "definition.json", definition)
    (home / "dags" / "pipelines.py").write_text(_LOADER)
