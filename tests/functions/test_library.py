"""The functions of the library, with a context and without an engine."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sagebridge.model.code_steps import PYTHON, PythonStep, call_arguments
from sagebridge.model.engine_settings import EngineSettings
from sagebridge.model.expressions import plain
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.functions import (
    aws_waits,
    dates,
    environments,
    items,
    pipelines,
    shell,
    tasks,
    waits,
)
from sagebridge_operators.lifecycle.user_code.run_context import CURRENT, RunContext
from sagebridge_operators.run_errors import StepFailed, StepSkipped

DAY = datetime(2026, 1, 31, 6, tzinfo=UTC)  # a Saturday
Set = Callable[..., RunContext]


@dataclass
class Runs:
    """Runs of other pipelines; each look at a run takes the next of its states."""

    states: list[str] = field(default_factory=list)
    started: list[tuple[Any, ...]] = field(default_factory=list)
    due: Mapping[datetime, str] = field(default_factory=dict)
    steps: Mapping[datetime, Mapping[str, str]] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)

    def start(
        self,
        pipeline: str,
        parameters: Mapping[str, Any],
        *,
        run_id: str = "",
        logical_date: datetime | None = None,
    ) -> str:
        self.started.append((pipeline, dict(parameters), run_id, logical_date))
        return f"id of {run_id}"

    def state(self, pipeline: str, run_id: str) -> str:
        return self.known.get(run_id) or (self.states.pop(0) if self.states else "")

    def at(self, pipeline: str, dates: Sequence[datetime]) -> Mapping[datetime, str]:
        return {one: self.due[one] for one in dates if one in self.due}

    def step_states(
        self, pipeline: str, dates: Sequence[datetime], steps: Sequence[str]
    ) -> Mapping[datetime, Mapping[str, str]]:
        return {one: self.steps[one] for one in dates if one in self.steps}


@pytest.fixture
def context() -> Iterator[Set]:
    step = Step("Wait", PYTHON, plain(call_arguments((), {})))
    pushed: dict[str, Any] = {}
    made = RunContext(
        engine="prefect",
        pipeline=Pipeline(name="close", steps=(PythonStep.of(step, Function("f", "")),)),
        execution="0123456789ab",
        run_id="run",
        started=DAY,
        began=DAY,
        scheduled=DAY,
        parameters={},
        step="Wait",
        index=None,
        try_number=1,
        retries=0,
        pull=lambda step, key, index: pushed.get(key),
        push=pushed.__setitem__,
    )
    token = CURRENT.set(made)

    def change(**fields: Any) -> RunContext:
        changed = replace(made, **fields)
        CURRENT.set(changed)
        return changed

    yield change
    CURRENT.reset(token)


def at(monkeypatch: pytest.MonkeyPatch, module: Any, moment: datetime) -> None:
    """Sets the clock of a module of the library."""

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return moment.astimezone(tz)

    monkeypatch.setattr(module, "datetime", Frozen)


def test_product_is_that_of_expand() -> None:
    found = items.product(x=[1, 2], y={"a": 3})
    assert found == [{"x": 1, "y": ("a", 3)}, {"x": 2, "y": ("a", 3)}]
    assert [one["y"] for one in items.product(x=[1, 2], y="ab")] == ["a", "b", "a", "b"]


def test_call_arguments_are_those_of_an_operator() -> None:
    assert items.call_arguments([{"op_kwargs": {"a": 1}}, {}]) == [{"a": 1}, {}]
    with pytest.raises(ValueError, match=r"only op_kwargs, got \['env'\]"):
        items.call_arguments([{"env": {}}])


@pytest.mark.parametrize(
    ("keys", "options", "found"),
    [
        (["s3://data/in/a-1.csv", "s3://data/in/b.csv"], {}, True),
        (["in/b.csv", "in/c.csv"], {"bucket": "data"}, False),
        (["s3://data/in/a-*.csv"], {"wildcards": True}, True),
        (["in/?.txt"], {"bucket": "data", "wildcards": True}, False),
        ([r"in/[ab]-\d+"], {"bucket": "data", "regex": True}, True),
    ],
)
def test_objects(
    keys: list[str], options: dict[str, Any], found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="data")
        for key in ("in/a-1.csv", "in/b.csv"):
            s3.put_object(Bucket="data", Key=key, Body=b"")
        assert aws_waits.objects_exist(keys, **options) is found


def test_messages_are_pushed_and_deleted(context: Set) -> None:
    pull = context().pull
    with mock_aws():
        sqs = boto3.client("sqs", region_name="eu-west-1")
        url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
        assert not aws_waits.messages_received(url, wait=0, region="eu-west-1")
        sqs.send_message(QueueUrl=url, MessageBody="one")
        kept = aws_waits.messages_received(url, wait=0, visibility=0, keep=True, region="eu-west-1")
        assert kept
        assert aws_waits.messages_received(url, wait=0, region="eu-west-1")
        assert [one["Body"] for one in pull("Wait", "messages", None)] == ["one"]
        assert not aws_waits.messages_received(url, wait=0, region="eu-west-1")


def test_lists_are_zipped_and_joined() -> None:
    assert items.zipped([1, 2], "abc") == [(1, "a"), (2, "b")]
    assert items.zipped([1, 2], "abc", fill=None)[2] == (None, "c")
    assert items.joined([1], (2, 3)) == [1, 2, 3]
    assert items.rows(a=[1, 2], b=[3, 4]) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    with pytest.raises(ValueError, match="same length"):
        items.rows(a=[1], b=[])


@pytest.mark.parametrize(
    ("now", "passed"),
    [(DAY, False), (DAY + timedelta(minutes=31), True), (DAY + timedelta(days=1), True)],
)
def test_time_of_day_is_that_of_the_first_day(
    now: datetime, passed: bool, context: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, waits, now)
    assert waits.time_passed("07:30", "Europe/Amsterdam") is passed


def test_moments(context: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, waits, DAY)
    assert waits.moment_passed("2026-01-31T05:59:59")
    assert not waits.moment_passed("2026-01-31T07:30:00+01:00")
    assert waits.moment_passed(DAY - timedelta(seconds=1))
    assert waits.is_weekday([6]) is True
    at(monkeypatch, waits, DAY + timedelta(days=1))
    assert (waits.is_weekday([6]), waits.is_weekday([6], of_run=True)) == (False, True)
    assert waits.run_time_passed(23 * 3600)
    context(facts={"data_interval_end": DAY + timedelta(days=1)})
    assert not waits.run_time_passed(1)


def test_latest_run(context: Set) -> None:
    assert tasks.is_latest_run()
    context(facts={"next_run": DAY})
    assert not tasks.is_latest_run()
    context(facts={"next_run": datetime.now(UTC) + timedelta(hours=1)})
    assert tasks.is_latest_run()


def test_branch_by_weekday(context: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, dates, DAY + timedelta(days=1, hours=16))  # a Sunday; Monday in Auckland
    assert dates.branch_by_weekday([7], ["a"], ["b"]) == ["a"]
    assert dates.branch_by_weekday([7], ["a"], ["b"], of_run=True) == ["b"]
    assert dates.branch_by_weekday([1], ["a"], ["b"], timezone="Pacific/Auckland") == ["a"]


@pytest.mark.parametrize(
    ("limits", "chosen"),
    [
        ({"lower": "05:00:00", "upper": "07:00:00"}, "in"),
        ({"lower": "06:30:00"}, "out"),
        ({"upper": "05:59:00"}, "out"),
        ({"lower": "05:00:00", "upper": "02:00:00"}, "in"),
        ({"lower": "2026-02-01T00:00:00"}, "out"),
        ({"upper": "2026-01-31T07:00:00+02:00"}, "out"),
        ({"lower": "06:59:00", "timezone": "Europe/Amsterdam"}, "in"),
    ],
)
def test_branch_by_time(limits: dict[str, str], chosen: str, context: Set) -> None:
    assert dates.branch_by_time(["in"], ["out"], of_run=True, **limits) == [chosen]


def test_file_sensor(context: Set, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert not waits.file_exists(str(tmp_path / "*"))
    (tmp_path / "full" / "deep").mkdir(parents=True)
    (tmp_path / "full" / "deep" / "x.csv").touch()
    assert waits.file_exists(str(tmp_path / "full"))
    assert waits.file_exists(f"{tmp_path}/**/*.csv", recursive=True)
    context(facts={"folder_of_connection": lambda name: str(tmp_path / name)})
    assert waits.file_exists("deep/x.csv", connection="full")


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.run_command("echo $A; echo '{\"n\": 1}'", {"A": 5}, as_json=True) == {"n": 1}
    assert capsys.readouterr().out.startswith("5\n")
    assert shell.run_command("pwd", cwd="/") == "/"
    with pytest.raises(StepSkipped, match="exit code 99"):
        shell.run_command("exit 99", skip_on_exit_code=[99])
    with pytest.raises(StepFailed, match="exit code 3") as caught:
        shell.run_command("exit 3", skip_on_exit_code=[99])
    assert not isinstance(caught.value, StepSkipped)
    assert waits.command_succeeds("true")
    assert not waits.command_succeeds("exit 2")
    assert not waits.command_succeeds("exit 2", retry_exit_code=2)
    with pytest.raises(StepFailed, match="exit code 3"):
        waits.command_succeeds("exit 3", retry_exit_code=2)


def test_started_run_is_found_again(context: Set) -> None:
    runs = Runs()
    made = context(runs=runs)
    found = [pipelines.run_pipeline("smoke", {"a": 1}) for _ in range(2)]
    assert found == ["id of close-0123456789ab-Wait-1"] * 2
    assert runs.started[0] == runs.started[1]
    assert made.pull("Wait", "trigger_run_id", None) == found[0]


def test_run_is_waited_for(context: Set) -> None:
    runs = Runs(states=["Pending", "Executing", "Succeeded"])
    context(runs=runs)
    given = '{"month": "{{ ds }}"}'
    pipelines.run_pipeline(
        "smoke", given, "r1", wait=True, interval=0, logical_date="2026-01-01T00:00:00"
    )
    assert runs.states == []
    january = datetime(2026, 1, 1, tzinfo=UTC)
    assert runs.started == [("smoke", {"month": "{{ ds }}"}, "r1", january)]


def test_failed_run_fails_the_step(context: Set) -> None:
    context(runs=Runs(states=["Executing", "Stopped"]))
    with pytest.raises(StepFailed, match="the run 'id of r1' of smoke has failed"):
        pipelines.run_pipeline("smoke", run_id="r1", wait=True, interval=0)
    context(runs=Runs(states=["Failed"]))
    states = {"success": ["success", "failed"], "failure": []}
    pipelines.run_pipeline("smoke", wait=True, interval=0, **states)  # type: ignore[arg-type]


def test_existing_run_skips_the_step(context: Set) -> None:
    context(runs=Runs(known={"r1": "Succeeded"}))
    with pytest.raises(StepSkipped, match="smoke has a run 'r1' already"):
        pipelines.run_pipeline("smoke", run_id="r1", skip_existing=True)


HOUR = DAY - timedelta(hours=1)


@pytest.mark.parametrize(
    ("state", "ended"),
    [("Succeeded", True), ("Executing", False), ("Failed", False), (None, False)],
)
def test_other_pipeline_has_ended(state: str | None, ended: bool, context: Set) -> None:
    context(runs=Runs(due={HOUR: state} if state else {}))
    assert pipelines.pipeline_ended("sales", seconds_before=3600) is ended


def test_all_steps_of_the_other_pipeline_must_have_ended(context: Set) -> None:
    context(runs=Runs(steps={DAY: {"a": "Succeeded"}}))
    assert not pipelines.pipeline_ended("sales", ["a", "b"])
    context(runs=Runs(steps={DAY: {"a": "Succeeded", "b": "Skipped"}}))
    assert not pipelines.pipeline_ended("sales", ["a", "b"])
    assert pipelines.pipeline_ended("sales", ["a", "b"], success=["success", "skipped"])
    with pytest.raises(StepSkipped, match=r"a, b of sales of 2026-01-31 06:00:00 has skipped"):
        pipelines.pipeline_ended("sales", ["a", "b"], skipped=["skipped"])


@pytest.mark.parametrize(("soft", "error"), [(False, StepFailed), (True, StepSkipped)])
def test_failure_of_the_other_pipeline(soft: bool, error: type[StepFailed], context: Set) -> None:
    made = context()
    step = replace(made.pipeline.steps[0], engine=EngineSettings(soft_fail=soft))
    runs = Runs(due={DAY: "Failed"})
    context(runs=runs, pipeline=replace(made.pipeline, steps=(step,)))
    with pytest.raises(StepFailed, match="sales of 2026-01-31 06:00:00 has failed") as caught:
        pipelines.pipeline_ended("sales", failure=["failed"])
    assert type(caught.value) is error


def test_library_imports_no_engine() -> None:
    import subprocess

    modules = "dates, environments, items, pipelines, shell, tasks, waits"
    code = f"from sagebridge_operators.functions import {modules}; import sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"airflow", "prefect", "boto3", "networkx"}.isdisjoint(run.stdout.split())


def _rows(path: str, *, day: Any = None, ti: Any = None) -> dict[str, Any]:
    import sys

    return {"path": path, "day": day, "python": sys.prefix}


def test_function_runs_in_another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    called = environments.in_python(sys.executable)(_rows)
    assert called("a", day=DAY, ti=print) == {"path": "a", "day": DAY, "python": sys.prefix}
    assert str(inspect.signature(called)) == str(inspect.signature(_rows))
    monkeypatch.setattr(environments, "_source", lambda function: "raise SystemExit(99)\n")
    with pytest.raises(StepSkipped):
        environments.in_python(skip_on_exit_code=[99])(_rows)("a")
    monkeypatch.setattr(environments, "_source", lambda function: "import nothing_here\n")
    with pytest.raises(StepFailed, match="No module named 'nothing_here'"):
        called("a")


def test_function_runs_in_a_new_environment() -> None:
    called = environments.in_virtualenv(system_site_packages=False)(_rows)
    assert "sagebridge-python-" in called("a")["python"]
    with pytest.raises(StepFailed, match=r"python9\.9 is not installed"):
        environments.in_virtualenv(python_version="9.9")(_rows)("a")
