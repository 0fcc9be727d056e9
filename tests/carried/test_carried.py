"""Hand-written DAGs and flows do the same after their translation to the other engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.carried.__main__ import HERE
from tests.carried.examples import verdicts
from tests.carried.outcomes import ENVIRONMENTS, Desk, Outcome, engine_of, open_desk
from tests.carried.scenarios import OWN, Scenario
from tests.carried.services import Aws

FILES = sorted([*HERE.glob("dags/*.py"), *HERE.glob("flows/*.py")])
DAG = """\
from airflow.sdk import dag, task


@dag(schedule=None)
def plain():
    @task
    def numbers(count: int) -> dict:
        import boto3

        s3 = boto3.client("s3")
        s3.put_object(Bucket="plain", Key="count", Body=str(count).encode())
        return {"list": list(range(count)), "count": count}

    @task
    def total(found: dict) -> int:
        return sum(found["list"])

    total(numbers(4))


plain()
"""


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    if not ENVIRONMENTS["prefect"].exists():
        pytest.skip("there is no environment of Prefect: python3 tools/bootstrap.py prefect")
    with open_desk() as desk:
        yield desk


def test_each_file_has_a_scenario() -> None:
    assert sorted(file.stem for file in FILES) == sorted(OWN)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dags/weather_alerts.py", "flows/ticket_router.py"])
def test_translations_do_the_same(name: str, desk: Desk) -> None:
    file = HERE / name
    assert desk.differences(engine_of(file), file, OWN[file.stem][0]) == []


@pytest.mark.slow
def test_compares_what_both_engines_do(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "plain.py"
    file.write_text(DAG)
    scenario = Scenario(setup=lambda aws: aws.put_objects("plain", {}))
    assert desk.differences("airflow", file, scenario) == []
    written = tmp_path / "other.py"
    text, parts = desk.translate("airflow", file, None)
    written.write_text(text.read_text().replace("sum(found", "max(found"))
    original = desk.run("airflow", file, scenario, name=None)
    changed = desk.run("prefect", written, scenario, name=None)
    assert [*changed.differences(original, parts)] == [
        "total: ['succeeded 3'], not ['succeeded 6']"
    ]


class _Runs(Desk):
    """A desk whose runs are given: the DAG twice, and the flow."""

    def run(self, engine: str, file: Path, *_: Any, **__: Any) -> Outcome:
        del file
        now = {"state": "succeeded", "result": str(next(self.numbers))}
        kept = {"state": "succeeded", "result": engine}
        return Outcome("succeeded", {"now": [now], "kept": [kept]}, {}, [], {})

    def translate(self, engine: str, file: Path, name: str | None) -> tuple[Path, Any]:
        del engine, name
        steps = {"now": ["now"], "kept": ["kept"]}
        losses = [f"{file}:3: dropped: task kept: it is lost"]
        return file, {
            "names": ["plain"],
            "steps": steps,
            "in_place": [],
            "without_result": [],
            "losses": losses,
        }


def test_examples_count_equal_tasks(tmp_path: Path) -> None:
    file = tmp_path / "plain.py"
    file.write_text("import airflow\n")
    (found,) = verdicts(_Runs(tmp_path, Aws("")), file)
    assert (found.word, found.equal, found.reported, found.tasks) == ("differs", 1, 1, 2)
