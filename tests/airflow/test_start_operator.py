"""Small DAGs: one per schedule or event trigger, which start runs of the pipeline's DAG."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import sagebridge
from sagebridge import EventTrigger, Schedule
from sagebridge.errors import ModelTypeError
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.airflow import (
    EventBridgeTimetable,
    StartPipelineOperator,
    build,
    dag_builder,
    load_folder,
)
from sagebridge_operators.airflow._compat import IS_AIRFLOW_2, AirflowFailException
from sagebridge_operators.airflow.dag_builder import Definition
from sagebridge_operators.airflow.start_operator import run_id
from tests.dagtest import FinishedRun, dagbags, migrated, new_id, play, store
from tests.fakes import FakeBackend
from tests.shapes import fail

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]
SLOT = datetime(2026, 12, 1, 3, tzinfo=UTC)
PARAMETERS = (
    Parameter("Count", "Integer", 1),
    Parameter("Day", "String", "today", enum_values=("today", "2026-12-01T03:00:00Z")),
    Parameter("Share", "Float", 0.5),
)
NIGHTLY = Schedule("nightly", "cron(0 4 * * ? *)", timezone="Europe/Berlin")
OFTEN = Schedule("every minute", "rate(1 minute)", parameters={"Count": "3", "Share": 1})
BUILDS = """from sagebridge_operators.airflow import build
from sagebridge_test_given import pipeline

dag = build(pipeline)
"""
EVENT = EventTrigger("new.data", {"source": ["aws.s3"]}, {"Day": "$.detail.day"})


def pipeline(**more: Any) -> Pipeline:
    return Pipeline("Abalone", [fail("Stop")], PARAMETERS, **more)


def written(tmp_path: Path, given: Pipeline) -> dict[str, Any]:
    """The DAGs of the file that is written for a pipeline, as Airflow imports them."""
    (tmp_path / "dags.py").write_text(sagebridge.write(given, "airflow").text)
    return imported(tmp_path)


def built(tmp_path: Path, given: Pipeline) -> dict[str, Any]:
    """The DAGs of a file that calls ``build``."""
    module: Any = ModuleType("sagebridge_test_given")
    module.pipeline = given
    sys.modules[module.__name__] = module
    (tmp_path / "dags.py").write_text(BUILDS)
    return imported(tmp_path)


def imported(folder: Path) -> dict[str, Any]:
    migrated()
    bag = dagbags().DagBag(dag_folder=str(folder))
    assert bag.import_errors == {}
    return dict(sorted(bag.dags.items()))


def context(run: str = "scheduled__2026-12-01T03:00:00+00:00", *, paused: bool = False) -> Any:
    ti = SimpleNamespace(
        dag_id="Abalone.nightly", run_id=run, get_dag=lambda _: SimpleNamespace(is_paused=paused)
    )
    return {"ti": ti, "dag_run": SimpleNamespace(logical_date=SLOT, run_after=SLOT)}


def started(operator: Any, given: Any) -> Any:
    from sagebridge_operators.airflow._compat import DagRunTriggerException

    with pytest.raises(DagRunTriggerException) as raised:
        operator.execute(given)
    return raised.value


def operator(parameters: Any, *, declared: bool = True) -> StartPipelineOperator:
    main = build(pipeline())
    return StartPipelineOperator(
        task_id="start", pipeline=main if declared else "Abalone", parameters=parameters
    )


@pytest.mark.parametrize("made", [written, built])
def test_single_schedule_is_that_of_the_dag(tmp_path: Path, made: Any) -> None:
    (dag,) = made(tmp_path, pipeline(schedules=[NIGHTLY])).values()

    assert dag.timetable.schedule == NIGHTLY
    assert dag.catchup is False


@pytest.mark.parametrize("made", [written, built])
def test_other_schedules_and_triggers_have_small_dags(tmp_path: Path, made: Any) -> None:
    dags = made(tmp_path, pipeline(schedules=[NIGHTLY, OFTEN], event_triggers=[EVENT]))

    assert list(dags) == ["Abalone", "Abalone.every_minute", "Abalone.new.data", "Abalone.nightly"]
    assert not dags["Abalone"].timetable.can_be_scheduled
    # Runs of a paused DAG would wait.
    assert dags["Abalone"].is_paused_upon_creation is False
    for schedule, small in ((NIGHTLY, "nightly"), (OFTEN, "every_minute")):
        dag = dags[f"Abalone.{small}"]
        (task,) = dag.tasks
        assert dag.timetable == EventBridgeTimetable.of(schedule)
        assert task.trigger_dag_id == "Abalone"
        assert task.parameters == schedule.parameters
    (task,) = dags["Abalone.new.data"].tasks
    assert task.event_trigger == EVENT


def test_schedule_of_a_pipeline_that_needs_values_leaves_the_dag_usable(tmp_path: Path) -> None:
    needs = Pipeline("Abalone", [fail("Stop")], [Parameter("Count", "Integer")])

    # `translate` rejects it; Airflow would reject the scheduled DAG as a whole.
    dags = built(tmp_path, replace(needs, schedules=(NIGHTLY,)))

    assert list(dags) == ["Abalone", "Abalone.nightly"]


def test_ids_of_small_dags_are_legal_and_differ(tmp_path: Path) -> None:
    names = ("a b", "a_b", "..", "x" * 300, "x" * 301)
    schedules = [Schedule(name, "rate(1 day)") for name in names]

    dags = written(tmp_path, pipeline(schedules=schedules))

    assert [re.sub(r"-[0-9a-f]{8}$", "-sum", one) for one in dags] == [
        "Abalone",
        "Abalone.",
        "Abalone.a_b",
        "Abalone.a_b_2",
        f"Abalone.{'x' * 173}-sum",
        f"Abalone.{'x' * 173}-sum",
    ]
    # Without the other, a long name has the same id: it must not get the runs of another schedule.
    alone = written(tmp_path, pipeline(schedules=[schedules[4], OFTEN]))
    assert max(alone, key=len) in dags


def test_steps_may_have_the_name_of_the_dag_variable(tmp_path: Path) -> None:
    given = Pipeline("Abalone", [fail("Dag")], PARAMETERS, schedules=[NIGHTLY, OFTEN])

    assert list(written(tmp_path, given)) == ["Abalone", "Abalone.every_minute", "Abalone.nightly"]


def test_disabled_schedule_is_written(tmp_path: Path) -> None:
    (dag,) = written(
        tmp_path, pipeline(schedules=[Schedule("off", "rate(1 day)", enabled=False)])
    ).values()

    assert not dag.timetable.can_be_scheduled


def test_values_are_neither_templates_nor_source(tmp_path: Path) -> None:
    text = '{{ 1 }}"""\n{"Get": "Parameters.Day"}'
    given = Pipeline(
        "Abalone",
        [fail("Stop")],
        [Parameter("Day")],
        schedules=[Schedule(text, "rate(1 day)", parameters={"Day": text}, description=text)],
    )
    dags = written(tmp_path, given)
    (small,) = (dag for dag in dags.values() if dag.dag_id != "Abalone")
    (task,) = small.tasks

    assert task.template_fields == ()
    assert started(task, context()).conf == {"Day": text}
    assert small.timetable.schedule.description == text


def test_folder_has_the_small_dags_and_tasks_find_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Abalone.json").write_text(json.dumps({"Version": "2020-12-01", "Steps": []}))
    (tmp_path / "Other.json").write_text(json.dumps({"Version": "2020-12-01", "Steps": []}))
    read: list[str] = []

    def scheduled(self: Definition) -> Pipeline:
        read.append(self.name)
        return Pipeline(self.name, schedules=[NIGHTLY, OFTEN])

    monkeypatch.setattr(Definition, "read", scheduled)
    expected = ["", ".nightly", ".every_minute"]
    dags = load_folder(tmp_path, {})
    assert [dag.dag_id for dag in dags] == [
        f"{name}{end}" for name in ("Abalone", "Other") for end in expected
    ]
    read.clear()
    wanted = SimpleNamespace(dag_id="Other.every_minute")
    monkeypatch.setattr(dag_builder, "get_parsing_context", lambda: wanted)
    assert "Other.every_minute" in [dag.dag_id for dag in load_folder(tmp_path, {})]
    assert read == ["Other"]


def test_schedule_of_dag_args_replaces_those_of_the_pipeline(tmp_path: Path) -> None:
    dag = build(pipeline(schedules=[NIGHTLY, OFTEN]), dag_args={"schedule": "@daily"})

    assert dag.schedule == "@daily"


def test_slot_starts_one_run_with_converted_values() -> None:
    values = {"Count": "2", "Share": "1", "Day": "<aws.scheduler.scheduled-time>"}
    run = started(operator(values), context())

    assert run.trigger_dag_id == "Abalone"
    assert run.dag_run_id == "Abalone.nightly__2026-12-01T03:00:00+00:00"
    assert run.conf == {"Count": 2, "Share": 1.0, "Day": "2026-12-01T03:00:00Z"}
    assert [type(value) for value in (run.conf or {}).values()] == [int, float, str]
    # A task that runs again starts nothing; two schedules may have the same slot.
    assert run.skip_when_already_exists
    assert run.logical_date is None


@pytest.mark.managed
def test_run_is_started_once(backend: FakeBackend) -> None:
    given = pipeline(schedules=[Schedule("a", "rate(1 day)", parameters={"Count": "4"})])
    main, small = dag_builder.all_dags(given, new_id(), {}, {})
    store(main)

    states = [play(small, at=SLOT).states for _ in range(2)]

    assert states == [{"start": "success"}, {"start": "skipped"}]
    (found,) = FinishedRun.select("select run_id from dag_run where dag_id = ?", main.dag_id)
    assert found == (f"{small.dag_id}__manual__2026-12-01T03:00:00+00:00",)
    if not IS_AIRFLOW_2:  # which pickles conf, and needs a date
        query = "select conf, logical_date from dag_run where dag_id = ?"
        assert FinishedRun.select(query, main.dag_id) == [('{"Count": 4}', None)]


def test_manual_run_of_a_small_dag_starts_a_run() -> None:
    run = started(operator({}), context("manual__2026-12-01T03:00:00+00:00"))

    assert run.dag_run_id == "Abalone.nightly__manual__2026-12-01T03:00:00+00:00"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"Count": "two"}, "parameter 'Count' is 'two', expected an Integer"),
        ({"Cout": 2}, "unknown parameter 'Cout'"),
        ({"Day": "tomorrow"}, "parameter 'Day' is 'tomorrow', expected one of"),
    ],
)
def test_wrong_value_starts_nothing(values: Any, problem: str) -> None:
    with pytest.raises(AirflowFailException, match=problem):
        operator(values).execute(context())


def test_missing_value_starts_nothing() -> None:
    main = build(Pipeline("Abalone", [fail("Stop")], [Parameter("Count", "Integer")]))
    start = StartPipelineOperator(task_id="start", pipeline=main)

    with pytest.raises(AirflowFailException, match="'Count' has no default and was not given"):
        start.execute(context())


def test_dag_of_another_file_gets_the_values_as_they_are() -> None:
    assert started(operator({"Count": 2}, declared=False), context()).conf == {"Count": 2}


def test_paused_dag_is_an_error() -> None:
    with pytest.raises(AirflowFailException, match="the DAG 'Abalone' is paused; unpause it"):
        operator({}).execute(context(paused=True))


def test_wrong_type_of_parameters() -> None:
    with pytest.raises(ModelTypeError, match="StartPipelineOperator: parameters"):
        operator([1])


def test_long_run_ids_differ() -> None:
    one, two = (run_id("x" * 250, f"2026-12-0{day}T04:00:00+00:00") for day in (1, 2))
    assert len(one) == len(two) == 250
    assert one != two
