"""The folder and environment of a private Airflow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sagebridge
from sagebridge import Parameter, Schedule
from sagebridge.model.code_steps import SHELL, ShellStep
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.launch import airflow_home
from sagebridge_operators.launch.private_engine import LOGIN_FILE

DOCUMENT = {
    "PipelineName": "rings",
    "PipelineDisplayName": "Rings of shells",
    "PipelineDescription": "counts them",
    "RoleArn": "arn:aws:iam::111122223333:role/r",
    "ParallelismConfiguration": {"MaxParallelExecutionSteps": 2},
    "PipelineDefinition": json.dumps({"Version": "2020-12-01", "Steps": []}),
}


def test_document_has_all_request_fields() -> None:
    assert json.loads(airflow_home.document(sagebridge.read(DOCUMENT).pipeline)) == {
        **DOCUMENT,
        "PipelineDefinition": json.dumps({"Version": "2020-12-01", "Steps": []}, indent=2) + "\n",
    }


def test_definition_strings_do_not_become_python(tmp_path: Path) -> None:
    name = 'x"""\nimport os; os._exit(7)\n"""'
    pipeline = sagebridge.read({"Version": "2020-12-01", "Steps": []}, name=name).pipeline
    template = tmp_path / "template.db"
    template.touch()

    (tmp_path / "home").mkdir()
    airflow_home.prepare(tmp_path / "home", template, pipeline, "dag")

    loader = (tmp_path / "home" / "dags" / "dag.py").read_text()
    assert "_exit" not in loader
    # Airflow skips files without the words "airflow" and "dag" (dag_discovery_safe_mode).
    assert "airflow" in loader
    assert "dag" in loader
    assert sagebridge.read(tmp_path / "home" / "dags" / "dag.json").pipeline.name == name


def test_form_of_a_private_airflow_checks_limits(tmp_path: Path) -> None:
    pipeline = Pipeline("p", [], [Parameter("Rows", "Integer", 2, limits={"minimum": 1})])
    (tmp_path / "template.db").touch()
    (tmp_path / "home").mkdir()

    airflow_home.prepare(tmp_path / "home", tmp_path / "template.db", pipeline, "p")

    text = (tmp_path / "home" / "dags" / "p.py").read_text()
    assert 'Param(2, type="integer", minimum=1)' in text


def test_private_dag_has_no_schedules(tmp_path: Path) -> None:
    schedules = [Schedule(name, "rate(1 minute)") for name in ("one", "two")]
    say = ShellStep.of(Step("Say", SHELL, {"command": "true"}))
    pipeline = Pipeline("p", [say], schedules=schedules)
    (tmp_path / "template.db").touch()
    (tmp_path / "home").mkdir()

    airflow_home.prepare(tmp_path / "home", tmp_path / "template.db", pipeline, "p")

    text = (tmp_path / "home" / "dags" / "p.py").read_text()
    assert "ShellStepOperator" in text
    assert "Schedule" not in text
    assert "EventBridge" not in text


def test_environment_excludes_own_airflow_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", "/users/airflow")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__CORE__SQL_ALCHEMY_CONN_CMD", "cat /etc/secret")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPATH", "src")
    monkeypatch.setenv("NO_PROXY", "intra.example")
    monkeypatch.chdir(tmp_path)

    made = airflow_home.environment(tmp_path, 8089, more={"SAGEBRIDGE_HOME": "/there"})

    assert made["AIRFLOW_HOME"] == str(tmp_path)
    assert made["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert "AIRFLOW__CORE__SQL_ALCHEMY_CONN_CMD" not in made
    assert "PYTHONDONTWRITEBYTECODE" not in made
    assert made["AIRFLOW_CONN_AWS_DEFAULT"] == "aws://"
    assert made["AWS_PROFILE"] == "mine"
    assert made["SAGEBRIDGE_HOME"] == "/there"
    assert made["PYTHONPATH"] == str(tmp_path / "src")
    assert made["NO_PROXY"] == "intra.example,127.0.0.1,localhost"


def test_only_the_login_file_lets_users_in(tmp_path: Path) -> None:
    made = airflow_home.environment(tmp_path, 8089)

    assert made["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"
    assert made["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] == "admin:admin"
    file = made["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
    assert file == str(tmp_path / LOGIN_FILE)


def test_guard_is_a_plugin_of_the_private_home_only(tmp_path: Path) -> None:
    pipeline = sagebridge.read({"Version": "2020-12-01", "Steps": []}, name="p").pipeline
    (tmp_path / "template.db").touch()
    (tmp_path / "home").mkdir()
    airflow_home.prepare(tmp_path / "home", tmp_path / "template.db", pipeline, "dag")

    (plugin,) = (tmp_path / "home" / "plugins").iterdir()
    assert "RequestGuard" in plugin.read_text()
    assert "WriteTurns" in plugin.read_text()
    # The plugin in an entry point is also active in your own Airflow.
    public = Path(airflow_home.__file__).parents[1] / "airflow" / "plugin.py"
    assert "middleware" not in public.read_text()


def test_loopback_only_and_new_keys(tmp_path: Path) -> None:
    first, second = (airflow_home.environment(tmp_path, 8089) for _ in range(2))

    assert first["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert first["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8089/execution/"
    for name in ("API_AUTH__JWT_SECRET", "API__SECRET_KEY", "CORE__FERNET_KEY"):
        assert first[f"AIRFLOW__{name}"] != second[f"AIRFLOW__{name}"]
