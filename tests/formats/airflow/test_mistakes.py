"""Edits of the abalone DAG that no pipeline can express: rejected with line and reason."""

from __future__ import annotations

import re

import pytest

from sagebridge.errors import SourceError
from sagebridge.formats.airflow.reader import read_files
from tests.formats.airflow.test_edits import TAIL, WRITTEN

pytestmark = pytest.mark.airflow

VALUE = '"num_round": "50"'
RUN_TIME = "are only known at run time"
NO_VALUE = "is not a pipeline value"
CONDITION = WRITTEN[
    WRITTEN.index("less_than_or_equal_to(\n") : WRITTEN.index("        ],\n    )\n    with ")
]

MISTAKES = {
    "an f-string of a parameter": (VALUE, '"num_round": f"{parameter(\'InputData\')}/x"', RUN_TIME),
    "an f-string of a property": (
        VALUE,
        '"num_round": f"{abalone_process.properties.A}"',
        RUN_TIME,
    ),
    "a formatted parameter": (VALUE, '"num_round": "%s/x" % parameter("InputData")', RUN_TIME),
    "str of a join": (VALUE, '"num_round": str(join("", "x"))', RUN_TIME),
    "a sum": (VALUE, '"num_round": parameter("InputData") + "x"', "unsupported operand"),
    "a comparison": (VALUE, '"num_round": 1 if parameter("InputData") == "x" else 2', RUN_TIME),
    "a reversed comparison": (VALUE, '"num_round": 1 if 5 != parameter("x") else 2', RUN_TIME),
    "a test": (VALUE, '"num_round": 1 if abalone_process.properties.A else 2', RUN_TIME),
    "an or default": (VALUE, '"num_round": parameter("InputData") or "x"', RUN_TIME),
    "an operator": (VALUE, '"num_round": abalone_process', f"ProcessingOperator {NO_VALUE}"),
    "a set": (VALUE, '"num_round": {"50"}', f"set {NO_VALUE}"),
    "a NaN": (VALUE, '"num_round": float("nan")', "nan is not a JSON number"),
    "a key that is not a string": (VALUE, "1: 2", "the keys of a JSON object are strings, got 1"),
    "a negative index": (
        '.Outputs[\n                                "train"\n                            ]',
        ".Outputs[-1]",
        "expected a key or a position of at least 0, got -1",
    ),
    "a condition evaluated by Python": (CONDITION, "1 == 1", "got True"),
    "a retry policy as a dict": (
        'task_id="AbaloneTrain",',
        'task_id="AbaloneTrain", retry_policies=[{"MaxAttempts": 2}],',
        "retry_policies: expected a RetryPolicy, got {'MaxAttempts': 2}",
    ),
    "a cache config as a dict": (
        'task_id="AbaloneTrain",',
        'task_id="AbaloneTrain", cache_config={"Enabled": True},',
        "cache_config: expected a CacheConfig",
    ),
    "a string instead of a list": (
        'task_id="AbaloneTrain",',
        'task_id="AbaloneTrain", depends_on="AbaloneProcess",',
        "depends_on: expected a list, got 'AbaloneProcess'",
    ),
}
ADDITIONS = {
    "arguments set later": ('abalone_train.arguments = {"x": 1}', "has no setter"),
    "a branch by name": (
        'ConditionOperator(task_id="c", conditions=[], if_steps=["AbaloneTrain"])',
        "expected a sagebridge operator in if_steps or else_steps",
    ),
    "two steps with the same name": (
        'for g in "ab":\n        with TaskGroup(g): ModelOperator(task_id="m", arguments={})',
        "tasks a.m and b.m are both step 'm'; set a different step_name on one of them",
    ),
}


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("mistakes")
    texts = {name: changed(*change[:2]) for name, change in MISTAKES.items()}
    texts |= {name: f"{WRITTEN}{TAIL}    {more}\n" for name, (more, _) in ADDITIONS.items()}
    files = [folder / f"{number}.py" for number in range(len(texts))]
    for file, text in zip(files, texts.values(), strict=True):
        file.write_text(text)
    found = {}
    for name, file, outcome in zip(texts, files, read_files(files), strict=True):
        assert isinstance(outcome, SourceError), (name, outcome)
        found[name] = str(outcome).removeprefix(str(file))
    return found


def changed(old: str, new: str) -> str:
    assert old in WRITTEN, old
    return WRITTEN.replace(old, new, 1)


@pytest.mark.parametrize("name", [*MISTAKES, *ADDITIONS])
def test_mistake_is_rejected(name: str, messages: dict[str, str]) -> None:
    reason = (*MISTAKES.get(name, ()), *ADDITIONS.get(name, ()))[-1]
    assert reason in messages[name]
    place = re.match(r":(\d+): raised on import: ", messages[name])
    assert place is not None, messages[name]
