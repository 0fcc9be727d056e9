"""The table of AWS calls against the provider's operators, the APIs of botocore and JMESPath."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jmespath
import pytest
from airflow.sdk import BaseOperator
from botocore import session

from sagebridge.formats.airflow.option_table import TASK_ARGUMENTS
from sagebridge.formats.airflow.provider.aws_operators import KINDS
from sagebridge.formats.airflow.provider.aws_special import CHANGES
from sagebridge.formats.airflow.provider.aws_table import ROWS, Row
from sagebridge.model.aws_calls import PATH
from sagebridge.model.connections import AIRFLOW_DEFAULTS


@cache
def _classes() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for package in ("operators", "sensors"):
        place = importlib.import_module(f"airflow.providers.amazon.aws.{package}")
        for module in pkgutil.iter_modules(place.__path__):
            try:
                loaded = importlib.import_module(f"{place.__name__}.{module.name}")
            except ImportError:  # needs another provider
                continue
            found |= {name: one for name, one in vars(loaded).items() if inspect.isclass(one)}
    return found


def _calls(row: Row) -> Iterator[tuple[str, Mapping[str, Any]]]:
    service, _, operation = row.call.partition(":")
    if operation:
        yield service, {"operation": operation, "request": row.request}
    for one in (*row.before, row.wait, row.stop):
        if one is not None:
            yield one.get("service", service), one


@pytest.mark.parametrize("name", sorted(ROWS))
def test_arguments_are_those_of_the_operator(name: str) -> None:
    row, cls = ROWS[name], _classes()[name]
    places = json.dumps([row.request, row.before, row.wait, row.stop])
    named = set(re.findall(r'":(\w+)', places)) | set(row.more)
    if isinstance(row.waits, str) and row.wait is not None:
        named.add(row.waits)
    known = {"owner"}
    for one in cls.__mro__:
        known |= set(inspect.signature(one.__init__).parameters)
    computed = {"failure_states"} if name == "EcsTaskDefinitionStateSensor" else set()
    assert named - known - computed == set()


_LOST = {
    *("awslogs_fetch_interval", "awslogs_group", "awslogs_region", "awslogs_stream_prefix"),
    *("never_fail", "silent_fail", "skip_on_exit_code", "quota_retry", "tags"),
    "treat_non_existing_as_deleted",
}
"""Arguments that are reported as losses."""
_SESSION = session.get_session()


@pytest.mark.parametrize("name", sorted(ROWS))
def test_calls_are_those_of_the_api(name: str) -> None:
    row = ROWS[name]
    for service, call in _calls(row):
        model = _SESSION.get_service_model(service)
        assert call["operation"] in model.operation_names
        shape = model.operation_model(call["operation"]).input_shape
        members = shape.members if shape is not None else {}
        sent = {one for one, value in call["request"].items() if value is not None} - {"**"}
        assert sent <= set(members)
        tokens = {one for one, of in members.items() if of.metadata.get("idempotencyToken")}
        required = set(shape.required_members if shape is not None else ()) - tokens
        if "**" not in call["request"] and name not in CHANGES:
            assert required <= set(call["request"])


@pytest.mark.parametrize("name", sorted(ROWS))
def test_expressions_are_valid(name: str) -> None:
    row = ROWS[name]
    wait = row.wait or {}
    for text in (row.result, row.fails, *(wait.get(key, "") for key in ("status", "reason"))):
        if text:
            jmespath.compile(text.removeprefix(PATH))


def test_statuses_are_those_of_the_provider_s_waiters() -> None:
    """A waiter for the same end fails on the same statuses."""
    waiters = list(_waiters())
    for name, row in ROWS.items():
        wait = row.wait or {}
        if not isinstance(wait.get("success"), list):
            continue
        service = wait.get("service", row.call.partition(":")[0])
        for place, states in waiters:
            same = place == (service, wait["operation"], wait["status"])
            if same and states["success"] == set(wait["success"]):
                assert states["failure"] <= set(wait.get("failure", [])), name


def _waiters() -> Iterator[tuple[tuple[str, str, str], dict[str, set[Any]]]]:
    place = importlib.import_module("airflow.providers.amazon.aws.waiters")
    for file in Path(place.__path__[0]).glob("*.json"):
        for waiter in json.loads(file.read_text())["waiters"].values():
            states: dict[str, set[Any]] = defaultdict(set)
            acceptors = waiter.get("acceptors", [])
            for one in acceptors:
                if isinstance(one["expected"], str):
                    states[one["state"]].add(one["expected"])
            paths = {one["argument"] for one in acceptors if "argument" in one}
            if len(paths) == 1:
                yield (file.stem, waiter["operation"], paths.pop()), states


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_argument_is_known_or_a_loss(name: str) -> None:
    mro = _classes()[name].__mro__
    given: set[str] = set()
    for cls in mro[: mro.index(BaseOperator)]:
        given.update(inspect.signature(vars(cls).get("__init__", cls)).parameters)
    read = {*KINDS[name].reads, *AIRFLOW_DEFAULTS, "region", "self", "args"}
    assert given - read - TASK_ARGUMENTS.keys() <= _LOST


def test_page_lists_every_operator() -> None:
    page = (Path(__file__).parents[3] / "docs/aws-calls.md").read_text()
    listed = re.findall(r"`(\w+(?:Operator|Sensor))`", page)
    assert sorted(set(listed) - {"AwsCallOperator"}) == sorted(ROWS)


@pytest.mark.parametrize(
    ("config", "before"),
    [
        ({"Name": "c"}, ["UpdateCrawler"]),
        ({"Name": "c", "Role": "r", "Targets": {}}, ["CreateCrawler", "UpdateCrawler"]),
    ],
)
def test_crawler_without_role_or_targets_exists(config: dict[str, Any], before: list[str]) -> None:
    name = "GlueCrawlerOperator"
    operator = SimpleNamespace(config=config, fail_on_already_running=True)
    assert [one["operation"] for one in CHANGES[name](operator, ROWS[name]).before] == before
