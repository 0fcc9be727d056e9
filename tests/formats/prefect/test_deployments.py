"""Deployments of a flow, in its file and in prefect.yaml: schedules, and losses at their lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import sagebridge
from sagebridge.errors import SourceError
from sagebridge.formats.prefect.reader import read_all, read_one
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.losses import CODES, Loss, for_target
from sagebridge.model.schedules import Schedule
from sagebridge_operators.launch.flow_deployment import flow_files

FLOW = """\
from prefect import deploy, flow, serve
from sagebridge_operators.prefect import fail, finish

@flow(name="Night run")
def night(day: str = "today", count: int = 1) -> object:
    fail("F", error_message="no")
    return finish()

"""
SECOND = FLOW.partition("\n\n")[2].replace("night", "second").replace("Night run", "second")


def reading_of(folder: Path, rest: str, flow: str = FLOW) -> FileReading:
    file = folder / "night.py"
    file.write_text(flow + rest)
    found = read_one(file)
    assert all(loss.code in CODES for loss in found.losses)
    return found


def losses_of(folder: Path, rest: str) -> list[Loss]:
    return list(reading_of(folder, rest).losses)


def codes(losses: list[Loss]) -> list[str]:
    return [f"{loss.severity} {loss.code}" for loss in losses]


AT_FOUR = "cron(5 4 * * ? *)"


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
        'night.serve("n", schedule=Cron("5 4 * * *"))',
        'night.serve("n", schedules=[CronSchedule(cron="5 4 * * *")])',
        'night.serve("n", schedules=[{"schedule": CronSchedule(cron="5 4 * * *")}])',
        'ALL = [Schedule(cron="5 4 * * *")]\nnight.serve("n", schedules=ALL)',
        'night.serve("n", schedules=[RRule("FREQ=DAILY;BYHOUR=4;BYMINUTE=5")])',
    ],
)
def test_schedule_of_a_call_is_carried(tmp_path: Path, call: str) -> None:
    found = reading_of(tmp_path, call)
    assert found.pipeline.schedules == (Schedule("n", AT_FOUR),)
    (deployment,) = found.losses
    assert codes([deployment]) == ["info deployment"]
    assert "'n': only its schedules are carried over" in deployment.what
    assert deployment.place.startswith(f"{tmp_path / 'night.py'}:")


@pytest.mark.parametrize(
    ("arguments", "schedules"),
    [
        ("interval=90", [("rate(90 seconds)", "UTC")]),
        ("interval=timedelta(hours=6)", [("rate(6 hours)", "UTC")]),
        ("interval=24 * 60 * 60", [("rate(1 day)", "UTC")]),
        ("interval=[60, timedelta(days=2)]", [("rate(1 minute)", "UTC"), ("rate(2 days)", "UTC")]),
        (
            "cron=['0 0 * * 1', '@hourly']",
            [("cron(0 0 ? * MON *)", "UTC"), ("cron(0 * * * ? *)", "UTC")],
        ),
        ("cron='0 0 1 * MON'", [("unix(0 0 1 * MON)", "UTC")]),
        (
            "schedule=Cron('0 9 L * *', timezone='Asia/Tokyo')",
            [("cron(0 9 L * ? *)", "Asia/Tokyo")],
        ),
        (
            "schedules=[RRule('FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=10;BYMINUTE=15')]",
            [("cron(15 10 ? * 6L *)", "UTC")],
        ),
        (
            "schedules=[RRuleSchedule(rrule='FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1')]",
            [("cron(0 0 LW * ? *)", "UTC")],
        ),
        (
            "schedules=[Interval(86400, datetime(2026, 1, 1, 3, 30), 'Europe/Berlin')]",
            [("cron(30 4 * * ? *)", "Europe/Berlin")],
        ),
        ("cron='not a cron'", [("unix(not a cron)", "UTC")]),
    ],
)
def test_kinds_of_schedules(
    tmp_path: Path, arguments: str, schedules: list[tuple[str, str]]
) -> None:
    found = reading_of(tmp_path, f'night.deploy("n", {arguments})').pipeline.schedules
    assert [(one.expression, one.timezone) for one in found] == schedules
    assert [one.name for one in found] == ["n", "n-2"][: len(found)]


def test_schedules_have_the_parameters_of_their_deployment(tmp_path: Path) -> None:
    found = reading_of(
        tmp_path,
        "night.deploy(\n"
        '    "n",\n'
        '    parameters={"day": "monday", "count": 2},\n'
        "    schedules=[\n"
        '        Cron("0 1 * * *", slug="early", parameters={"count": 3}),\n'
        '        Cron("0 2 * * *", slug="late", active=False),\n'
        '        Cron("0 3 * * *", parameters={"other": 1, "day": ["a"]}),\n'
        "    ],\n"
        ")",
    )
    early, late, third = found.pipeline.schedules
    assert early == Schedule("early", "cron(0 1 * * ? *)", parameters={"day": "monday", "count": 3})
    assert late == Schedule(
        "late", "cron(0 2 * * ? *)", parameters={"day": "monday", "count": 2}, enabled=False
    )
    assert third == Schedule("n", "cron(0 3 * * ? *)", parameters={"count": 2})
    assert codes(list(found.losses)) == ["changed schedule", "changed schedule", "info deployment"]
    assert "day=['a'] is not a value of String" in found.losses[0].what
    assert "other=1: the pipeline has no such parameter" in found.losses[1].what
    assert {one.place.rpartition(":")[2] for one in found.losses[:2]} == {
        str(len(FLOW.splitlines()) + 7)
    }


def test_schedules_have_lists_and_dates(tmp_path: Path) -> None:
    given = '{"day": date(2025, 3, 10), "stores": ["a"], "count": None}'
    flow = f"from datetime import date\n{FLOW}".replace(
        "count: int", "stores: list[str] | None = None, count: int"
    )
    found = reading_of(
        tmp_path, f'night.serve("n", cron="5 4 * * *", parameters={given})', flow=flow
    )
    (schedule,) = found.pipeline.schedules
    assert schedule.parameters == {"day": "2025-03-10", "stores": ("a",)}
    assert "count=None is not a value of Integer" in found.losses[0].what


def test_paused_deployment_has_disabled_schedules(tmp_path: Path) -> None:
    found = reading_of(tmp_path, 'night.deploy("n", cron="5 4 * * *", paused=True)')
    assert found.pipeline.schedules == (Schedule("n", AT_FOUR, enabled=False),)


@pytest.mark.parametrize(
    ("schedule", "lost"),
    [
        ("cron=CRON", "cron=CRON is not known before"),
        ("cron=f'0 {hour} * * *'", "is not known before the flow is deployed"),
        ("schedules=make()", "make() is not known before"),
        ("interval=0.5", "0.5 is not a number of whole seconds"),
        ("schedule=Cron('0 0 * * * 30 2030')", "unix(0 0 * * * 30 2030)"),
        ("schedule=Cron('0 0 1W * 1', day_or=False)", "has no equivalent"),
        ("schedule=RRuleSchedule.from_rrule(rrule(DAILY))", "is not known before"),
    ],
)
def test_schedule_that_cannot_be_read_is_a_loss(tmp_path: Path, schedule: str, lost: str) -> None:
    rest = f'CRON = a()\nCRON = b()\nnight.deploy("n", {schedule})'
    found = reading_of(tmp_path, rest)
    if "2030" in lost:
        assert [one.expression for one in found.pipeline.schedules] == [lost]
        return
    dropped, deployment = found.losses
    assert codes([dropped, deployment]) == ["dropped schedule", "info deployment"]
    assert lost in dropped.what
    assert dropped.place.endswith(f":{len(FLOW.splitlines()) + 3}")
    assert not found.pipeline.schedules


@pytest.mark.parametrize(
    ("schedule", "lost"),
    [
        ("Cron('30 2 * * *', timezone='Europe/Berlin')", "skips is skipped; Prefect moves it"),
        (
            "Interval(timedelta(days=2), timezone='Europe/Berlin')",
            "an interval of 2 days is exact; in Prefect it follows the clock of Europe/Berlin",
        ),
    ],
)
def test_other_times_at_a_change_of_clocks_are_reported(
    tmp_path: Path, schedule: str, lost: str
) -> None:
    changed, _ = losses_of(tmp_path, f'night.deploy("n", schedule={schedule})')
    assert codes([changed]) == ["changed schedule"]
    assert lost in changed.what


def test_times_between_changes_of_clocks_are_exact(tmp_path: Path) -> None:
    rest = 'night.deploy("n", schedule=Cron("*/30 * * * *", timezone="Europe/Berlin"))'
    assert codes(losses_of(tmp_path, rest)) == ["info deployment"]


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
        "dropped event-trigger",
        "changed deployment",
        "changed engine-option",
        "info deployment",
    ]
    lines = [int(loss.place.rpartition(":")[2]) - len(FLOW.splitlines()) for loss in found]
    assert lines == [6, 4, 9, 1]
    assert "{'day': 'monday'}" in found[1].what
    assert "brand_new=3" in found[2].what
    assert "work_pool_name='gpu', tags=['a']" in found[3].what


@pytest.mark.parametrize(
    ("limits", "carried"),
    [
        (["1"], 1),
        (["1", "1"], 1),
        (["1", "2"], None),
        (["{'limit': 2, 'collision_strategy': 'ENQUEUE'}"], 2),
        (["{'limit': 2, 'collision_strategy': 'CANCEL_NEW'}"], None),
    ],
)
def test_limit_of_a_deployment_limits_the_runs(
    tmp_path: Path, limits: list[str], carried: int | None
) -> None:
    calls = (f'night.deploy("d{at}", concurrency_limit={one})' for at, one in enumerate(limits))
    found = reading_of(tmp_path, "\n".join(calls))
    lost = "dropped concurrency" in codes(list(found.losses))
    assert lost == (carried is None)
    if carried is not None:
        text = sagebridge.write(found.pipeline, "airflow").text
        assert f"max_active_runs={carried}," in text
        text = sagebridge.write(found.pipeline, "prefect", document="prefect.yaml").text
        assert f"concurrency_limit: {carried}\n" in text


@pytest.mark.parametrize(
    ("trigger", "what"),
    [
        (
            "DeploymentEventTrigger(expect={'prefect.flow-run.Completed'}, name='after')",
            "the trigger 'after' waits for prefect.flow-run.Completed",
        ),
        (
            "{'type': 'event', 'posture': 'Proactive', 'expect': ['x'], 'within': 60}",
            "the trigger fires if x does not happen in time",
        ),
        ("DeploymentCompoundTrigger(triggers=[])", "is of the type 'compound'"),
        ("made()", "the trigger made() is not known before"),
    ],
)
def test_triggers_on_events_of_prefect_are_reported(
    tmp_path: Path, trigger: str, what: str
) -> None:
    found = reading_of(tmp_path, f'night.serve("n", triggers=[{trigger}])')
    dropped, _ = found.losses
    assert codes([dropped]) == ["dropped event-trigger"]
    assert what in dropped.what
    assert "pipeline_ended()" in for_target([dropped], "sagemaker")[0].advice
    assert "EventBridge" not in f"{for_target([dropped], 'airflow')[0]}"
    assert not found.pipeline.event_triggers


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
    found = reading_of(tmp_path, call)
    assert not found.losses
    assert not found.pipeline.schedules


def test_deployments_belong_to_their_flow(tmp_path: Path) -> None:
    file = tmp_path / "night.py"
    file.write_text(FLOW + SECOND + 'second.serve("n", interval=60)\n')
    first, second = read_all(file)
    assert not first[0].schedules
    assert not first[1]
    assert second[0].schedules == (Schedule("n", "rate(1 minute)"),)


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
    slug: often
    active: false
    parameters: {{count: 3}}
  - cron: "{{{{ prefect.variables.cron }}}}"
  concurrency_limit: 2
  surprise: 1
- name: other
  entrypoint: other.py:night
  schedule: {{cron: 0 0 * * *}}
"""
NIGHTLY = Schedule("nightly", AT_FOUR, timezone="Europe/Berlin", parameters={"day": "monday"})
OFTEN = Schedule(
    "often", "rate(10 minutes)", enabled=False, parameters={"day": "monday", "count": 3}
)


@pytest.mark.parametrize("folder", [".", "flows/deep"])
def test_nearest_prefect_yaml_is_read(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    entrypoint = f"{folder}/night.py:night".removeprefix("./")
    (tmp_path / "prefect.yaml").write_text(YAML.format(entrypoint=entrypoint))
    reading = reading_of(tmp_path / folder, "")
    assert reading.pipeline.schedules == (NIGHTLY, OFTEN)
    found = list(reading.losses)
    assert codes(found) == [
        "dropped schedule",
        "changed engine-option",
        "info deployment",
    ]
    assert {loss.place.rpartition(":")[0] for loss in found} == {str(tmp_path / "prefect.yaml")}
    assert [int(loss.place.rpartition(":")[2]) for loss in found] == [19, 21, 3]
    assert "{cron: '{{ prefect.variables.cron }}'}" in found[0].what
    assert reading.pipeline.engine.concurrency == 2
    assert "surprise=1" in found[1].what
    assert "work_pool={name: 'gpu'" in found[2].what


@pytest.mark.parametrize("named", ["prefect.yaml#nightly", "deployments.yml#nightly"])
def test_deployment_of_a_prefect_yaml_is_a_pipeline(tmp_path: Path, named: str) -> None:
    """Its parameters are the defaults of the pipeline, so its schedules do not repeat them."""
    (tmp_path / "night.py").write_text(FLOW + 'night.serve("served", cron="0 0 * * *")')
    name = named.partition("#")[0]
    (tmp_path / name).write_text(YAML.format(entrypoint="night.py:night"))
    pipeline, losses = sagebridge.read(str(tmp_path / named))
    assert pipeline.name == "Night run"
    assert [(one.name, one.default) for one in pipeline.declared] == [
        ("day", "monday"),
        ("count", 1),
    ]
    assert [(one.name, dict(one.parameters)) for one in pipeline.schedules] == [
        ("nightly", {}),
        ("often", {"count": 3}),
    ]
    assert "dropped schedule" in codes(list(losses))


def test_several_deployments_of_a_flow_are_several_pipelines(tmp_path: Path) -> None:
    (tmp_path / "night.py").write_text(FLOW)
    entry = "- {name: NAME, entrypoint: night.py:night, parameters: {day: NAME}}\n"
    text = "deployments:\n" + entry.replace("NAME", "early") + entry.replace("NAME", "late")
    file = tmp_path / "prefect.yaml"
    file.write_text(text)
    found = sagebridge.read_checked(str(file), every=True)
    assert [one.pipeline.name for one in found] == ["Night run-early", "Night run-late"]
    assert [one.pipeline.declared[0].default for one in found] == ["early", "late"]
    with pytest.raises(SourceError, match=r"has 2 deployments; choose one: .*#early, .*#late"):
        sagebridge.read(file)
    with pytest.raises(SourceError, match=r"has no deployment 'none'; it has early, late"):
        sagebridge.read(f"{file}#none")


def test_templates_and_merged_keys_of_a_prefect_yaml(tmp_path: Path) -> None:
    """A template is not a value, and the other parameters are kept."""
    (tmp_path / "night.py").write_text(FLOW)
    (tmp_path / "prefect.yaml").write_text(
        "definitions:\n"
        "  common: &common\n"
        "    schedules:\n"
        "    - {cron: 0 1 * * *, parameters: '{{ x }}'}\n"
        "    - {interval: 60, timezone: '{{ zone }}'}\n"
        "deployments:\n"
        "- <<: *common\n"
        "  name: n\n"
        "  entrypoint: night.py:night\n"
        "  parameters: {day: '{{ today }}', count: 2}\n"
    )
    reading = read_one(tmp_path / "night.py")
    one = "cron(0 1 * * ? *)"
    assert reading.pipeline.schedules == (Schedule("n", one, parameters={"count": 2}),)
    found = [loss.what for loss in reading.losses]
    assert "parameters '{{ x }}' of a schedule" in found[0]
    assert "day='{{ today }}' is a template" in found[1]
    assert "{interval: 60, timezone: '{{ zone }}'} is not known" in found[2]
    lines = [loss.place.rpartition(":")[2] for loss in reading.losses]
    assert lines == ["4", "4", "5", "7"]
    pipeline, _ = sagebridge.read(tmp_path / "prefect.yaml")
    assert [one.default for one in pipeline.declared] == ["today", 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deployments: []", "has no deployments"),
        (
            "deployments:\n- {entrypoint: gone.py:f, name: x}",
            r"yaml:2: the flow of the deployment 'x'",
        ),
        ("deployments:\n- {entrypoint: night.py:f}", r"night.py has no flow function 'f'"),
        ("deployments:\n- [", r"yaml:2: not YAML"),
        ("deployments:\n- {a: &a [1, *a]}", "stand for too many values"),
    ],
)
def test_unreadable_deployment_file_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "night.py").write_text(FLOW)
    (tmp_path / "prefect.yaml").write_text(text)
    with pytest.raises(SourceError, match=message):
        sagebridge.read(tmp_path / "prefect.yaml")


def test_aliases_are_not_multiplied(tmp_path: Path) -> None:
    """A few lines of aliases would otherwise be a text of gigabytes."""
    levels = [f"  l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12)]
    lines = ["definitions:", "  l0: &l0 [x]", *levels, "deployments:"]
    entry = "- {name: n, entrypoint: night.py:night, parameters: {day: *l11}}"
    (tmp_path / "prefect.yaml").write_text("\n".join((*lines, entry)))
    (found,) = losses_of(tmp_path, "")
    assert "cannot be read" in found.what


def test_deploy_leaves_out_schedules_of_other_deployments(tmp_path: Path) -> None:
    """Otherwise both deployments would fire."""
    file = tmp_path / "night.py"
    file.write_text(FLOW + 'night.serve("n", interval=60)\n')
    (found,) = flow_files(str(file), None, None, tmp_path)
    assert not found.pipelines[0].schedules
    ((pipeline, _),) = read_all(file)
    assert [one.name for one in pipeline.schedules] == ["n"]


DEPLOYED = """\
deployments:
- name: night
  entrypoint: night.py:night
  schedules:
  - {cron: 0 4 * * *, slug: sagebridge.nightly, active: false}
  - {cron: 0 5 * * *, slug: sagebridge.gone}
  triggers:
  - {name: "sagebridge.Night run/night/new", expect: [sagebridge.event-trigger], enabled: false}
"""


def test_schedules_made_by_deploy_are_those_of_the_flow(tmp_path: Path) -> None:
    """Otherwise a removed schedule would come back from ``prefect.yaml``."""
    begin = (
        "    begin(\n"
        '        schedules=[Schedule("nightly", "cron(0 4 * * ? 2030)")],\n'
        '        event_triggers=[EventTrigger("new", {"source": ["aws.s3"]})],\n'
        "    )\n    fail("
    )
    text = FLOW.replace("    fail(", begin).replace("import fail", "import begin, fail")
    text = text.replace("begin, fail", "EventTrigger, Schedule, begin, fail")
    (tmp_path / "night.py").write_text(text)
    (tmp_path / "prefect.yaml").write_text(DEPLOYED)
    nightly, new = (
        Schedule("nightly", "cron(0 4 * * ? 2030)"),
        EventTrigger("new", {"source": ["aws.s3"]}),
    )
    flow, losses = sagebridge.read(tmp_path / "night.py")
    assert (flow.schedules, flow.event_triggers) == ((nightly,), (new,))
    assert codes(list(losses)) == ["info deployment"]
    deployed, _ = sagebridge.read(tmp_path / "prefect.yaml")
    assert deployed.schedules == (
        replace(nightly, enabled=False),
        Schedule("gone", "cron(0 5 * * ? *)"),
    )
    assert deployed.event_triggers == (replace(new, enabled=False),)


def test_unreadable_prefect_yaml_is_reported(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text("deployments:\n- entrypoint: [night.py:night\n")
    (found,) = losses_of(tmp_path, "")
    assert codes([found]) == ["changed deployment"]
    assert "cannot be read" in found.what


def test_prefect_yaml_for_other_files_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text(YAML.format(entrypoint="elsewhere.py:night"))
    assert losses_of(tmp_path, "") == []
