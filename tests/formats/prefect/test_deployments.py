"""Deployments of a flow, in its file and in prefect.yaml: losses at their lines."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sagebridge.formats.prefect.deployments import deployment_losses
from sagebridge.formats.prefect.reader import read_all, read_one
from sagebridge.model.losses import CODES, Loss

FLOW = """\
from prefect import deploy, flow, serve
from sagebridge_operators.prefect import fail, finish

@flow(name="Night run")
def night(day: str = "today") -> object:
    fail("F", error_message="no")
    return finish()

"""
SECOND = FLOW.partition("\n\n")[2].replace("night", "second").replace("Night run", "second")


def losses_of(folder: Path, rest: str) -> list[Loss]:
    file = folder / "night.py"
    file.write_text(FLOW + rest)
    found = read_one(file).losses
    assert all(loss.code in CODES for loss in found)
    return list(found)


def codes(losses: list[Loss]) -> list[str]:
    return [f"{loss.severity} {loss.code}" for loss in losses]


@pytest.mark.parametrize(
    "call",
    [
        'if __name__ == "__main__":\n    night.serve(name="n", cron="5 4 * * *")',
        'night.with_options(retries=1).serve("n", cron="5 4 * * *")',
        'CRON = "5 4 * * *"\ndef main():\n    night.deploy("n", cron=CRON, work_pool_name="p")',
        'serve(night.to_deployment("n", cron="5 4 * * *"))',
        'later = night.to_deployment("n", cron="5 4 * * *")\nserve(later)',
        'flow.from_source(".", entrypoint="x/night.py:night").deploy("n", cron="5 4 * * *")',
        'for one in [night]:\n    one.serve("n", cron="5 4 * * *")',
        'async def main():\n    await night.adeploy("n", cron="5 4 * * *")',
    ],
)
def test_schedule_of_a_deployment_is_reported_at_its_line(tmp_path: Path, call: str) -> None:
    schedule, deployment = losses_of(tmp_path, call)
    assert codes([schedule, deployment]) == ["dropped schedule", "info deployment"]
    assert "the deployment 'n': the schedule cron='5 4 * * *' is not carried" in schedule.what
    text = (FLOW + call).splitlines()[int(schedule.place.rpartition(":")[2]) - 1]
    assert "cron=" in text
    assert schedule.place.startswith(f"{tmp_path / 'night.py'}:")


def test_other_settings_of_a_deployment_are_reported(tmp_path: Path) -> None:
    found = losses_of(
        tmp_path,
        "night.deploy(\n"
        '    "n",\n'
        '    work_pool_name="gpu",\n'
        '    parameters={"day": "monday"},\n'
        '    tags=["a"],\n'
        "    triggers=[x],\n"
        "    concurrency_limit=1,\n"
        "    build=False,\n"
        "    brand_new=3,\n"
        ")",
    )
    assert codes(found) == [
        "changed deployment",
        "dropped deployment",
        "dropped concurrency",
        "changed engine-option",
        "info deployment",
    ]
    assert [int(loss.place.rpartition(":")[2]) - len(FLOW.splitlines()) for loss in found] == [
        4,
        6,
        7,
        9,
        1,
    ]
    assert "{'day': 'monday'}" in found[0].what
    assert "brand_new=3" in found[3].what
    assert "work_pool_name='gpu', tags=['a']" in found[4].what


def test_joint_calls_and_direct_calls_are_reported(tmp_path: Path) -> None:
    found = losses_of(
        tmp_path,
        'serve(night.to_deployment("n"), limit=2)\n'
        'if __name__ == "__main__":\n    night(day="sunday")\n',
    )
    assert sorted(codes(found)) == ["dropped concurrency", "info deployment", "info engine-option"]
    assert any("night(day='sunday')" in loss.what for loss in found)


@pytest.mark.parametrize(
    "call",
    [
        'if __name__ == "__main__":\n    night()',
        'app.serve(port=80)\nuvicorn.deploy("x")',
        'flow.from_source(".", entrypoint="x/other.py:night").deploy("n", cron="5 4 * * *")',
        'def twice():\n    return night(day="a")',
    ],
)
def test_other_calls_are_not_deployments(tmp_path: Path, call: str) -> None:
    assert losses_of(tmp_path, call) == []


def test_deployments_belong_to_their_flow(tmp_path: Path) -> None:
    file = tmp_path / "night.py"
    file.write_text(FLOW + SECOND + 'second.serve("n", interval=60)\n')
    first, second = read_all(file)
    assert first[1] == ()
    assert codes(list(second[1])) == ["dropped schedule", "info deployment"]


YAML = """\
name: project
deployments:
- name: nightly
  entrypoint: {entrypoint}
  description: every night
  tags: [a]
  parameters:
    day: monday
  work_pool:
    name: gpu
    job_variables: {{}}
  schedules:
  - cron: 5 4 * * *
    timezone: Europe/Berlin
  - interval: 600
  concurrency_limit: 2
  surprise: 1
- name: other
  entrypoint: other.py:night
  schedule: {{cron: 0 0 * * *}}
"""


@pytest.mark.parametrize("folder", [".", "flows/deep"])
def test_prefect_yaml_is_read(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    entrypoint = f"{folder}/night.py:night".removeprefix("./")
    (tmp_path / "prefect.yaml").write_text(YAML.format(entrypoint=entrypoint))
    found = losses_of(tmp_path / folder, "")
    assert codes(found) == [
        "changed deployment",
        "dropped schedule",
        "dropped schedule",
        "dropped concurrency",
        "changed engine-option",
        "info deployment",
    ]
    assert {loss.place.rpartition(":")[0] for loss in found} == {str(tmp_path / "prefect.yaml")}
    assert [int(loss.place.rpartition(":")[2]) for loss in found] == [8, 13, 13, 16, 17, 3]
    assert "{cron: '5 4 * * *', timezone: 'Europe/Berlin'}" in found[1].what
    assert "surprise=1" in found[4].what
    assert "work_pool={name: 'gpu'" in found[5].what


def test_unreadable_prefect_yaml_is_reported(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text("deployments:\n- entrypoint: [night.py:night\n")
    (found,) = losses_of(tmp_path, "")
    assert codes([found]) == ["changed deployment"]
    assert "cannot be read" in found.what


def test_prefect_yaml_for_other_files_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text(YAML.format(entrypoint="elsewhere.py:night"))
    assert losses_of(tmp_path, "") == []


def test_traced_flows_have_the_same_losses(tmp_path: Path) -> None:
    """The losses depend on the source alone, so a traced flow has them too."""
    text = "from prefect import flow\n@flow\ndef f(): ...\nf.serve('n', rrule='FREQ=DAILY')\n"
    found = deployment_losses(str(tmp_path / "f.py"), ast.parse(text), ["f"])
    assert codes(found["f"]) == ["dropped schedule", "info deployment"]
