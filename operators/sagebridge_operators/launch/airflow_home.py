"""The home folder and the environment of a private Airflow, independent of any existing Airflow."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import sagebridge
from sagebridge.authoring.dag_pipeline import legal_id
from sagebridge.authoring.definition_writer import write_envelope
from sagebridge.errors import ServiceError
from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge_operators.launch.private_engine import (
    LOGIN_FILE,
    environment_without,
    last_lines,
)
from sagebridge_operators.lifecycle.private_folders import make_private

_DEFERRABLE = "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"
# -P keeps the current folder off sys.path, so that a file there cannot shadow a module.
AIRFLOW = (sys.executable, "-P", "-m", "airflow")

# Airflow skips files without the words "airflow" and "dag" (airflow.utils.file).
_LOADER = '''"""An airflow dag of the pipeline in the JSON file next to this one."""

from pathlib import Path

import sagebridge
from sagebridge_operators.airflow import build

path = Path(__file__).with_suffix(".json")
dag = build(sagebridge.read(path).pipeline, dag_id=path.stem)
'''

# Both Airflow 3.1 and 3.3 add the middlewares of plugins to the whole server
# (airflow/api_fastapi/app.py: init_plugins).
_PLUGIN = '''"""Rejects requests of other web pages, and lets one request at a time write."""

import os

from airflow.plugins_manager import AirflowPlugin
from sagebridge_operators.launch.request_guard import RequestGuard, WriteTurns

GUARD = {
    "name": "sagebridge request guard",
    "middleware": RequestGuard,
    "kwargs": {"origin": os.environ["AIRFLOW__API__BASE_URL"]},
}
TURNS = {"name": "sagebridge write turns", "middleware": WriteTurns}


class RequestGuardPlugin(AirflowPlugin):
    name = "sagebridge_request_guard"
    fastapi_root_middlewares = [TURNS, GUARD]  # the last one is called first
'''


def prepare(home: Path, template: Path, pipeline: Pipeline, dag_id: str) -> None:
    """Create an AIRFLOW_HOME with a database and one DAG.

    Migrating a database takes seconds, so it is done once, in ``template``, and copied. The DAG has
    no schedule: this Airflow runs one execution.
    """
    pipeline = replace(pipeline, schedules=(), event_triggers=())
    (home / "dags").mkdir()
    write_settings(home)
    if not template.exists():
        _make_database(template)
    shutil.copyfile(template, home / "airflow.db")
    code = any(isinstance(step, CarriedStep) for step in walk(pipeline))
    if code or any(one.limits or one.nullable for one in pipeline.declared):
        # They do not fit into a definition, so a DAG file is generated.
        own = pipeline if legal_id(pipeline.name or "pipeline") == dag_id else None
        text, _ = sagebridge.write(own or replace(pipeline, name=dag_id), "airflow")
        (home / "dags" / f"{dag_id}.py").write_text(text, encoding="utf-8")
        return
    (home / "dags" / f"{dag_id}.json").write_text(document(pipeline), encoding="utf-8")
    (home / "dags" / f"{dag_id}.py").write_text(_LOADER, encoding="utf-8")


def write_settings(home: Path) -> None:
    """Write the plugins and the configuration file of an AIRFLOW_HOME."""
    (home / "plugins").mkdir()
    (home / "plugins" / "sagebridge_request_guard.py").write_text(_PLUGIN, encoding="utf-8")
    # Without airflow.cfg, Airflow writes one with defaults and new secret keys
    # (airflow.configuration: write_default_airflow_configuration_if_needed).
    (home / "airflow.cfg").write_text("# All settings are in the environment.\n")


def _make_database(template: Path) -> None:
    make_private(template.parent)
    with tempfile.TemporaryDirectory(dir=template.parent, prefix=".template-") as folder:
        home = Path(folder)
        (home / "airflow.cfg").touch()
        migration = subprocess.run(
            [*AIRFLOW, "db", "migrate"],
            env=environment(home, port=0),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if migration.returncode:
            output = last_lines(migration.stdout)
            raise ServiceError(f"Airflow cannot create its database:\n{output}")
        (home / "airflow.db").replace(template)


def defers(more: Mapping[str, str]) -> bool:
    """Whether tasks are deferred by default. A private Airflow keeps no other setting."""
    return (more.get(_DEFERRABLE) or os.environ.get(_DEFERRABLE, "")).lower() in ("true", "t", "1")


def document(pipeline: Pipeline) -> str:
    """A pipeline as a CreatePipeline request, with name, role, tags and limits."""
    body = sagebridge.write(pipeline, "sagemaker").text
    return json.dumps({**write_envelope(pipeline), "PipelineDefinition": body})


def environment(
    home: Path, port: int, *, parallelism: int = 4, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of every process of a private Airflow.

    Your Airflow settings (AIRFLOW__*) are removed, except ``default_deferrable``; connections and
    AWS_* are kept. Secret keys are generated for each run and never stored.
    """
    url = f"http://127.0.0.1:{port}"
    settings = {
        "CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__PARALLELISM": str(parallelism),
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / LOGIN_FILE),
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",  # user:role
        "API__BASE_URL": url,
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__SECRET_KEY": secrets.token_hex(16),
        "API__WORKERS": "1",
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "OPERATORS__DEFAULT_DEFERRABLE": str(defers(more or {})),
        # Seconds until a lost worker is detected; the default is 300 (Airflow's config.yml).
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        # Airflow 3.1 sends usage data unless this is off.
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return {
        **environment_without("AIRFLOW__", "_AIRFLOW", "AIRFLOW_HOME", "AIRFLOW_CONFIG"),
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        "AIRFLOW_HOME": str(home),
        **(more or {}),
    }
