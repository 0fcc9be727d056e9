"""Deployments made by `sagebridge deploy`, on the server and in prefect.yaml."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.conftest import Project

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
FAIL = {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}
PARAMETERS = [
    {
        "Name": "Stage",
        "Type": "String",
        "DefaultValue": "dev",
        "EnumValues": ["dev", "prod"],
        "Description": "Where it runs",
    },
    {"Name": "Count", "Type": "Integer", "DefaultValue": 3, "EnumValues": [1, 3]},
    {"Name": "Rate", "Type": "Float", "DefaultValue": 0.5, "EnumValues": [0.5, 1.0]},
    {"Name": "in-put", "Type": "String", "Description": 'A "quoted" \\ text'},
    {"Name": "Sure", "Type": "Boolean", "DefaultValue": True},
]


def definition(**more: Any) -> dict[str, Any]:
    return {"Version": "2020-12-01", "Steps": [FAIL], **more}


def request(name: str, **more: Any) -> str:
    """A CreatePipeline request."""
    text = json.dumps(definition(Parameters=more.pop("parameters", [])))
    return json.dumps({"PipelineName": name, "PipelineDefinition": text, **more})


def untimed(deployment: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in deployment.items() if key not in ("id", "created", "updated")
    }


def test_deployment_has_all_pipeline_fields(project: Project) -> None:
    tags = [{"Key": "team", "Value": "ml"}, {"Key": "nightly", "Value": ""}]
    text = request("Full", parameters=PARAMETERS, Tags=tags, PipelineDescription="Has all fields.")
    (project.folder / "full.json").write_text(text)
    project.deploy(
        "full.json", "--work-pool", "of-its-own", "--backend", "local", "--workdir", "work"
    )
    made = project.deployment("Full")
    properties = made["parameter_openapi_schema"]["properties"]
    for schema in properties.values():
        del schema["position"]
    assert properties == {
        "Stage": {
            "title": "Stage",
            "type": "string",
            "default": "dev",
            "enum": ["dev", "prod"],
            "description": "Where it runs",
        },
        "Count": {"title": "Count", "type": "integer", "default": 3, "enum": [1, 3]},
        "Rate": {"title": "Rate", "type": "number", "default": 0.5, "enum": [0.5, 1.0]},
        "in_put": {"title": "in-put", "type": "string", "description": 'A "quoted" \\ text'},
        "Sure": {"title": "Sure", "type": "boolean", "default": True},
    }
    assert made["parameter_openapi_schema"]["required"] == ["in_put"]
    assert made["enforce_parameter_schema"] is True
    assert sorted(made["tags"]) == ["nightly", "team:ml"]
    assert made["description"] == "Has all fields."
    assert made["entrypoint"] == "flows/Full.py:full"
    assert made["concurrency_limit"] is None
    assert made["schedules"] == []
    assert made["job_variables"]["env"] == {
        "SAGEBRIDGE_BACKEND": "local",
        "SAGEBRIDGE_HOME": str(project.folder / "work"),
        "SAGEBRIDGE_BASE": str(project.folder),
        "SAGEBRIDGE_RECORDS": str(project.folder / "work" / "executions"),
    }
    assert made["work_pool_name"] == "of-its-own"
    assert project.api.get("work_pools/of-its-own").json()["type"] == "process"
    assert "def full(" in (project.folder / "flows" / "Full.py").read_text()


def test_deploying_twice_changes_nothing(project: Project) -> None:
    shutil.copy(ROOT / "flows" / "abalone.py", project.folder)
    first = project.deployed("abalone.py")
    assert first[-2]["deployment"] == "AbalonePipeline/AbalonePipeline"
    before = project.deployment("AbalonePipeline")
    yaml = project.folder / "prefect.yaml"
    text, written = yaml.read_text(), yaml.stat().st_mtime_ns
    assert project.deployed("abalone.py") == [
        {
            "deployment": "AbalonePipeline/AbalonePipeline",
            "entrypoint": "abalone.py:abalone_pipeline",
            "changed": [],
            "url": f"{project.server.url}/deployments/deployment/{before['id']}",
            "outcome": "unchanged",
        }
    ]
    assert project.deployment("AbalonePipeline") == before
    assert (yaml.read_text(), yaml.stat().st_mtime_ns) == (text, written)
    assert project.deploy("abalone.py", "--check").stdout.endswith(
        f"unchanged  {project.server.url}/deployments/deployment/{before['id']}\n"
    )


def test_update_lists_changed_parts(project: Project) -> None:
    source = project.folder / "grows.json"
    source.write_text(request("Grows"))
    project.deploy("grows.json")
    made = project.deployment("Grows")
    schedule = {"schedule": {"cron": "0 6 * * *"}, "active": True}
    project.api.post(f"deployments/{made['id']}/schedules", json=[schedule]).raise_for_status()
    source.write_text(request("Grows", parameters=PARAMETERS[:1], PipelineDescription="New."))
    project.deploy("grows.json", "--check", "--overwrite", code=1)
    assert project.deployment("Grows")["description"] == "Grows."
    *_, outcome, yaml = project.deployed("grows.json", "--overwrite")
    assert outcome["outcome"] == "updated"
    assert set(outcome["changed"]) == {"version", "description", "parameters"}
    assert yaml == {"file": "prefect.yaml", "outcome": "updated"}
    now = project.deployment("Grows")
    assert now["id"] == made["id"]
    assert list(now["parameter_openapi_schema"]["properties"]) == ["Stage"]
    assert [one["schedule"]["cron"] for one in now["schedules"]] == ["0 6 * * *"]


def test_step_that_cannot_run_is_warned_about(project: Project) -> None:
    text = json.dumps(definition(Steps=[{"Name": "Call", "Type": "Athena"}]))
    (project.folder / "calls.json").write_text(text)

    stderr = project.deploy("calls.json").stderr

    assert stderr.endswith(
        "warning: sagebridge cannot run steps of type Athena (step 'Call': no definition of such a "
        "step is published, by AWS or in its SDK); executions are "
        "rejected before the first job\n"
    )
    made = project.deployment("calls")
    assert made["tags"] == ["cannot-run"]
    assert "cannot run steps of type Athena (step 'Call'" in made["description"]


def test_empty_work_pool_name(project: Project) -> None:
    (project.folder / "one.json").write_text(request("One"))

    assert "--work-pool is empty" in project.deploy("one.json", "--work-pool", "", code=2).stderr
    assert not (project.folder / "flows").exists()


def test_rejected_deployment_does_not_stop_others(project: Project) -> None:
    source = project.folder / "rejected.json"
    source.write_text(request("Rejected", parameters=PARAMETERS[1:2]))
    project.deploy("rejected.json")
    made = project.deployment("Rejected")
    defaults = {"parameters": {"Count": 1}}
    project.api.patch(f"deployments/{made['id']}", json=defaults).raise_for_status()
    source.write_text(request("Rejected"))
    (project.folder / "taken.json").write_text(request("Taken"))
    done = project.deploy("rejected.json", "taken.json", "--overwrite", code=6)
    assert "rejected Rejected/Rejected: 409" in done.stderr
    assert "'Count'" in done.stderr
    assert "Taken" in project.names()


def test_edited_flow_file_is_kept(project: Project) -> None:
    (project.folder / "kept.json").write_text(request("Kept"))
    project.deploy("kept.json", "-o", "mine")
    file = project.folder / "mine" / "Kept.py"
    edited = file.read_text().replace('"no"', '"never"')
    file.write_text(edited)
    failed = project.deploy("kept.json", "-o", "mine", code=1)
    assert "mine/Kept.py has local edits and was not overwritten" in failed.stderr
    assert file.read_text() == edited
    assert project.deployed("mine/Kept.py")[0]["changed"] == ["version"]
    project.deploy("kept.json", "-o", "mine", "--overwrite")
    assert '"never"' not in file.read_text()


def test_stage_file(project: Project) -> None:
    stage = {"parameters": {"in-put": "s3://prod/x", "Count": 1}}
    (project.folder / "prod.json").write_text(json.dumps(stage))
    (project.folder / "staged.json").write_text(request("Staged", parameters=PARAMETERS))
    project.deploy("staged.json", "--map", "prod.json", "-o", "flows/prod")
    made = project.deployment("Staged")
    assert made["entrypoint"] == "flows/prod/Staged.py:staged"
    properties = made["parameter_openapi_schema"]["properties"]
    assert (properties["in_put"]["default"], properties["Count"]["default"]) == ("s3://prod/x", 1)


def test_folder_with_unreadable_file(project: Project) -> None:
    folder = project.folder / "in"
    folder.mkdir()
    (folder / "one.json").write_text(request("FirstOfTwo"))
    (folder / "two.json").write_text("{")
    (folder / "three.json").write_text(request("SecondOfTwo"))
    done = project.deploy("in", code=5)
    assert "two.json" in done.stderr
    assert {"FirstOfTwo", "SecondOfTwo"} <= set(project.names())
    assert {one.name for one in (project.folder / "flows").glob("*.py")} == {
        "FirstOfTwo.py",
        "SecondOfTwo.py",
    }


def test_name_with_characters_prefect_rejects(project: Project) -> None:
    (project.folder / "odd.json").write_text(request("a/b {{ $HOME }} & <c> 100% ü?#"))
    project.deploy("odd.json")
    name = "a_b {{ $HOME }} _ _c_ 100_ ü?#"
    made = project.deployment(name, name.replace("{", "_").replace("}", "_"))
    assert made["entrypoint"].startswith("flows/a_b_HOME_c_100_")
    again = project.deployed("odd.json")
    assert [one["outcome"] for one in again] == ["unchanged"]


def test_two_pipelines_with_same_deployment(project: Project) -> None:
    (project.folder / "a.json").write_text(request("same/name"))
    (project.folder / "b.json").write_text(request("same_name"))
    done = project.deploy("a.json", "b.json", code=2)
    assert "b.json: a.json also makes flows/same_name.py" in done.stderr


def test_one_or_all_flows_of_file(project: Project) -> None:
    (project.folder / "both.py").write_text(
        "from prefect import flow\n"
        "from sagebridge_operators.prefect import fail, finish\n\n"
        + "\n\n".join(
            f"@flow(name='{name}')\ndef {name.lower()}() -> object:\n"
            f"    fail('Stop', error_message='no')\n    return finish()\n"
            for name in ("Left", "Right")
        )
    )
    project.deploy("both.py#Right")
    assert "Right" in project.names()
    assert "Left" not in project.names()
    project.deploy("both.py")
    assert project.deployment("Left")["entrypoint"] == "both.py:left"


def test_settings_of_a_flow_are_those_of_its_deployment(project: Project) -> None:
    (project.folder / "limited.py").write_text(
        "from prefect import flow\n"
        "from sagebridge_operators.prefect import begin, fail, finish\n\n"
        "@flow(name='Limited')\ndef limited() -> object:\n"
        "    begin(tags=['finance'], concurrency=2)\n"
        "    fail('Stop', error_message='no')\n    return finish()\n"
    )
    project.deploy("limited.py")
    made = project.deployment("Limited")
    assert made["tags"] == ["finance"]
    assert made["global_concurrency_limit"]["limit"] == 2
    assert "concurrency_limit: 2" in (project.folder / "prefect.yaml").read_text()
    assert project.deployed("limited.py")[-1]["outcome"] == "unchanged"


def test_flow_file_import_error(project: Project) -> None:
    file = project.folder / "broken.py"
    file.write_text(
        "from prefect import flow\n"
        "from sagebridge_operators.prefect import fail, finish\n\n"
        "@flow\ndef broken() -> object:\n"
        "    fail('Stop', error_message='no')\n    return finish()\n\n"
        "raise RuntimeError('at the end')\n"
    )
    done = project.deploy("broken.py", code=5)
    assert "broken.py:9" in done.stderr
    assert "at the end" in done.stderr
    file.write_text(
        file.read_text().replace("raise RuntimeError('at the end')", "raise SystemExit")
    )
    assert "calls sys.exit()" in project.deploy("broken.py", code=5).stderr


def test_prefect_yaml_edits_are_kept(project: Project) -> None:
    yaml = project.folder / "prefect.yaml"
    yaml.write_text(
        "# deployed\nname: shop\npull: null\ndeployments:\n"
        "  - name: Yaml # the one\n    schedules:\n      - cron: 0 6 * * *\n"
        "  - name: other\n    entrypoint: x.py:x\n"
    )
    (project.folder / "yaml.json").write_text(request("Yaml"))
    project.deploy("yaml.json")
    text = yaml.read_text()
    for kept in ("# deployed", "name: shop", "- name: Yaml # the one", "cron: 0 6 * * *", "x.py:x"):
        assert kept in text
    assert "entrypoint: flows/Yaml.py:yaml" in text
    yaml.write_text("deployments: {a: b}\n")
    assert "not a prefect.yaml" in project.deploy("yaml.json", code=5).stderr
    yaml.write_bytes(b"# caf\xe9\ndeployments:\n  - name: own\n")
    assert "not a readable UTF-8 file" in project.deploy("yaml.json", code=5).stderr
    assert b"name: own" in yaml.read_bytes()
    another = "deployments:\n  - name: Yaml\n    entrypoint: nightly.py:report\n"
    yaml.write_text(another)
    stderr = project.deploy("yaml.json", code=5).stderr
    assert "deployment 'Yaml' has the entrypoint nightly.py:report" in stderr
    assert yaml.read_text() == another


def test_example_prefect_yaml_deploys_the_same(project: Project) -> None:
    (project.folder / "flows").mkdir()
    shutil.copy(ROOT / "flows" / "abalone.py", project.folder / "flows")
    project.deploy("flows/abalone.py", "--backend", "local")
    yaml = project.folder / "prefect.yaml"
    assert yaml.read_text() == (ROOT / "prefect.yaml").read_text()
    deployed = project.deployment("AbalonePipeline")
    project.api.delete(f"deployments/{deployed['id']}").raise_for_status()
    project.run("-m", "prefect", "--no-prompt", "deploy", "--all")
    by_prefect = project.deployment("AbalonePipeline")
    # `prefect deploy` cannot set this: unknown parameters fail the run instead of being rejected.
    assert deployed["parameter_openapi_schema"].pop("additionalProperties") is False
    assert untimed(by_prefect) == untimed(deployed)


def test_no_server(project: Project) -> None:
    (project.folder / "any.json").write_text(request("Any"))
    gone = project.deploy("any.json", code=6, env={"PREFECT_API_URL": "http://127.0.0.1:1/api"})
    assert "no Prefect server answers at http://127.0.0.1:1/api" in gone.stderr
    secret = "http://user:a-password@127.0.0.1:1/api"
    stderr = project.deploy("any.json", code=6, env={"PREFECT_API_URL": secret}).stderr
    assert "no Prefect server answers at http://127.0.0.1:1/api" in stderr
    assert "a-password" not in stderr
    none = project.deploy("any.json", code=6, env={"PREFECT_API_URL": ""})
    assert "set PREFECT_API_URL" in none.stderr
    assert not (project.folder / "flows").exists()
