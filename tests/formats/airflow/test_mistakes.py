"""Edits of the abalone DAG that say what no pipeline can: refused with line and reason."""

from __future__ import annotations

import re

import pytest

from sagebridge.errors import SourceError
from sagebridge.formats.airflow.reader import read_files
from tests.formats.airflow.test_edits import TAIL, WRITTEN

pytestmark = pytest.mark.airflow

VALUE = '"num_round": "50"'
LATE = "are only known at run time"
NO_VALUE = "is not a pipeline value"
CONDITION = WRITTEN[
    WRITTEN.index("less_than_or_equal_to(\n") : WRITTEN.index("        ],\n        if")
]

MISTAKES = {
    "an f-string of a parameter": (VALUE, '"num_round": f"{parameter(\'InputData\')}/x"', LATE),
    "an f-string of a property": (VALUE, '"num_round": f"{abalone_process.properties.A}"', LATE),
    "a text of a parameter": (VALUE, '"num_round": "%s/x" % parameter("InputData")', LATE),
    "str of a join": (VALUE, '"num_round": str(join("", "x"))', LATE),
    "a sum": (VALUE, '"num_round": parameter("InputData") + "x"', "unsupported operand"),
    "a comparison": (VALUE, '"num_round": 1 if parameter("InputData") == "x" else 2', LATE),
    "a comparison the other way": (VALUE, '"num_round": 1 if 5 != parameter("x") else 2', LATE),
    "a test": (VALUE, '"num_round": 1 if abalone_process.properties.A else 2', LATE),
    "a default": (VALUE, '"num_round": parameter("InputData") or "x"', LATE),
    "an XCom": (VALUE, '"num_round": abalone_process.output', f"PlainXComArg {NO_VALUE}"),
    "an operator": (VALUE, '"num_round": abalone_process', f"ProcessingOperator {NO_VALUE}"),
    "a set": (VALUE, '"num_round": {"50"}', f"set {NO_VALUE}"),
    "no number": (VALUE, '"num_round": float("nan")', "nan is not a JSON number"),
    "a member that is no text": (VALUE, "1: 2", "the keys of a JSON object are strings, got 1"),
    "a position from the end": (
        '.Outputs[\n                                "train"\n                            ]',
        ".Outputs[-1]",
        "expected a key or a position of at least 0, got -1",
    ),
    "a condition that Python decides": (CONDITION, "1 == 1", "got True"),
    "a policy by AWS's names": (
        'task_id="AbaloneTrain",',
        'task_id="AbaloneTrain", retry_policies=[{"MaxAttempts": 2}],',
        "retry_policies: expected a RetryPolicy, got {'MaxAttempts': 2}",
    ),
    "a cache by AWS's names": (
        'task_id="AbaloneTrain",',
        'task_id="AbaloneTrain", cache_config={"Enabled": True},',
        "cache_config: expected a CacheConfig",
    ),
    "a text for a list": (
        'task_id="AbaloneTrain",',
        'task_id="AbaloneTrain", depends_on="AbaloneProcess",',
        "depends_on: expected a list, got 'AbaloneProcess'",
    ),
}
AFTERWARDS = {
    "arguments afterwards": ('abalone_train.arguments = {"x": 1}', "has no setter"),
    "what a function returns": (
        (
            "from airflow.sdk import task\n    @task\n    def made(): return 5\n    "
            'ModelOperator(task_id="m", arguments={"x": made()})'
        ),
        "result of a @task, run its function in a PythonStepOperator",
    ),
    "a branch by name": (
        'ConditionOperator(task_id="c", conditions=[], if_steps=["AbaloneTrain"])',
        "a step is expected",
    ),
    "two steps of one name": (
        'for g in "ab":\n        with TaskGroup(g): ModelOperator(task_id="m", arguments={})',
        "tasks a.m and b.m are both the step 'm': give one another step_name",
    ),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("mistakes")
    texts = {name: changed(*change[:2]) for name, change in MISTAKES.items()}
    texts |= {name: f"{WRITTEN}{TAIL}    {more}\n" for name, (more, _) in AFTERWARDS.items()}
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


@pytest.mark.parametrize("name", [*MISTAKES, *AFTERWARDS])
def test_refused(name: str, refused: dict[str, str]) -> None:
    words = (*MISTAKES.get(name, ()), *AFTERWARDS.get(name, ()))[-1]
    assert words in refused[name]
    place = re.match(r":(\d+): raised on import: ", refused[name])
    assert place is not None, refused[name]
