"""Triggers of the SDK (PipelineSchedule) as schedules, on both versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sagebridge
from sagebridge import ABSENT, Schedule
from tests.sagemaker.conftest import installed

ROLE = "arn:aws:iam::111122223333:role/Start"
MODULE = {"2": "sagemaker.workflow", "3": "sagemaker.mlops.workflow"}
FILE = """\
from datetime import datetime, timedelta, timezone

from {module}.fail_step import FailStep
from {module}.pipeline import Pipeline
from {module}.triggers import PipelineSchedule

ROLE = "{role}"
pipeline = Pipeline(name="nightly", steps=[FailStep(name="Stop", error_message="x")])
berlin = timezone(timedelta(hours=1))
nightly = PipelineSchedule(name="night", cron="0 4 ? * 6L *", enabled=False,
                           start_date=datetime(2026, 12, 1, tzinfo=timezone.utc))
once = PipelineSchedule(at=datetime(2026, 12, 1, 10, tzinfo=berlin))
naive = PipelineSchedule(name="naive", rate=(1, "day"), start_date=datetime(2026, 12, 1))
both = [nightly, once]
wrong = PipelineSchedule(name="wrong")
"""
NIGHT = Schedule("night", "cron(0 4 ? * 6L *)", start="2026-12-01T00:00:00+00:00", enabled=False)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    path = tmp_path / "build.py"
    path.write_text(FILE.format(module=MODULE[installed()], role=ROLE))
    return path


def add(file: Path, text: str) -> None:
    file.write_text(f"{file.read_text()}\n{text}\n")


def test_triggers_are_sources(file: Path) -> None:
    found, losses = sagebridge.read(f"{file}:both")
    assert found.schedules == (NIGHT, Schedule("both", "at(2026-12-01T09:00:00)"))
    assert losses == ()
    assert sagebridge.read(f"{file}:nightly").pipeline.schedules == (NIGHT,)
    pipeline = sagebridge.with_schedules(sagebridge.read(f"{file}:pipeline").pipeline, found)
    text = sagebridge.write(pipeline, "sagemaker", document="eventbridge").text
    assert len(json.loads(text)["CreateSchedule"]) == 2


def test_start_without_a_zone_is_a_loss(file: Path) -> None:
    found, (loss,) = sagebridge.read(f"{file}:naive")
    assert (found.schedules[0].expression, found.schedules[0].start) == (
        "rate(1 day)",
        "2026-12-01T00:00:00Z",
    )
    assert (loss.code, loss.severity, "start_date" in loss.what) == ("schedule", "changed", True)


def test_trigger_without_a_time_is_an_error(file: Path) -> None:
    with pytest.raises(sagebridge.SourceError, match="No schedule type specified"):
        sagebridge.read(f"{file}:wrong")


def test_unattached_triggers_are_not_schedules(file: Path) -> None:
    assert sagebridge.read(f"{file}:pipeline").pipeline.schedules == ()


@pytest.mark.parametrize(
    "call",
    [
        "pipeline.put_triggers([nightly], role_arn=ROLE)",
        "pipeline.put_triggers(triggers=[nightly], role_arn=ROLE)",
        "if __name__ == '__main__':\n    pipeline.put_triggers([nightly], ROLE)",
        "some = [nightly]\ndef main():\n    pipeline.put_triggers(some, role_arn=ROLE)",
    ],
)
def test_triggers_of_a_pipeline_are_its_schedules(file: Path, call: str) -> None:
    add(file, call)
    found, losses = sagebridge.read(f"{file}:pipeline")
    assert found.schedules == (
        Schedule(
            NIGHT.name,
            NIGHT.expression,
            start=NIGHT.start,
            enabled=False,
            extra={"Target": {"RoleArn": ROLE}},
        ),
    )
    assert losses == ()


def test_triggers_with_literal_arguments(file: Path) -> None:
    add(
        file,
        "def main():\n    pipeline.put_triggers([PipelineSchedule(rate=(2, 'hours'), name='two'),"
        " PipelineSchedule(cron='0 1 * * ? *')])",
    )
    found, losses = sagebridge.read(f"{file}:pipeline")
    assert [(one.name, one.expression, one.start) for one in found.schedules] == [
        ("two", "rate(2 hours)", ABSENT),
        ("nightly", "cron(0 1 * * ? *)", ABSENT),
    ]
    assert losses == ()


def test_computed_triggers_are_a_loss(file: Path) -> None:
    add(file, "def main(one):\n    pipeline.put_triggers(one.triggers)")
    found, (loss,) = sagebridge.read(f"{file}:pipeline")
    assert found.schedules == ()
    assert (loss.code, loss.severity) == ("schedule", "dropped")
    assert loss.place == f"{file}:{len(file.read_text().splitlines())}"
    assert "--schedules" in loss.advice


def test_triggers_of_another_pipeline(file: Path) -> None:
    other = "other = Pipeline(name='other', steps=pipeline.steps)"
    add(file, f"{other}\ndef main():\n    other.put_triggers([nightly])")
    assert sagebridge.read(f"{file}:pipeline").pipeline.schedules == ()
    assert sagebridge.read(f"{file}:other").pipeline.schedules == (NIGHT,)
