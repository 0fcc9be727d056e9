"""Findings at the parse of hand-written DAG files: typos, and failures that would be hidden."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

from tests.airflow.test_dag import bag_of

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]
HEADER = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, task
from sagebridge_operators.airflow import *

REQUEST = {"ExecutionRoleArn": "arn:aws:iam::111122223333:role/r", "Containers": []}

"""


def parsed(folder: Path, body: str) -> Any:
    """The DagBag of a DAG file."""
    (folder / "by_hand.py").write_text(HEADER + body)
    return bag_of(folder)


def import_error(folder: Path, body: str) -> str:
    bag = parsed(folder, body)
    assert not bag.dags
    (error,) = bag.import_errors.values()
    return str(error)


def test_all_unknown_names_of_a_dag_are_one_import_error(tmp_path: Path) -> None:
    error = import_error(
        tmp_path,
        """
with DAG("d", params={"rows": Param(1, type="integer")}):
    ModelOperator(task_id="load", arguments=REQUEST)
    ModelOperator(task_id="fit", arguments=REQUEST, depends_on=["laod"])
    ModelOperator(task_id="test", arguments={"A": parameter("row"), "B": get("Steps.fti.X")})
    ModelOperator(task_id="far", arguments=REQUEST, backend="locl")
    ModelOperator(task_id="empty")
""",
    )
    assert error == (
        "InvalidDag: DAG 'd': "
        "step 'fit': unknown step 'laod' in depends_on (did you mean 'load'?); "
        "step 'test': unknown parameter 'row' (did you mean 'rows'?); "
        "step 'test': reference to unknown step 'fti' (did you mean 'fit'?); "
        "step 'empty': missing `arguments`; "
        "task 'far': unknown backend 'locl' (did you mean 'local'?)"
    )


def test_unknown_names_in_condition_and_mapped_operator_are_import_errors(tmp_path: Path) -> None:
    error = import_error(
        tmp_path,
        """
with DAG("d"):
    yes = ModelOperator(task_id="yes", arguments=REQUEST)
    ConditionOperator(task_id="c", conditions=[equals(parameter("n"), 1)], if_steps=[yes])
    mapped = ModelOperator.partial(task_id="many", depends_on=["yess"], backend="gcp")
    mapped.expand(arguments=[REQUEST])
""",
    )
    assert "step 'c': unknown parameter 'n' (there are none)" in error
    assert "step 'many': unknown step 'yess' in depends_on (did you mean 'yes'?)" in error
    assert "task 'many': unknown backend 'gcp'; expected one of aws, local" in error


def test_mapped_operator_waits_for_its_dependencies(tmp_path: Path) -> None:
    bag = parsed(
        tmp_path,
        """
with DAG("d"):
    first = ModelOperator(task_id="first", arguments=REQUEST)
    mapped = ModelOperator.partial(task_id="many", depends_on=["first"])
    mapped.expand(arguments=[REQUEST])
""",
    )
    assert bag.import_errors == {}
    assert bag.dags["d"].get_task("many").upstream_task_ids == {"first"}


def test_later_steps_and_params_are_known_names(tmp_path: Path) -> None:
    bag = parsed(
        tmp_path,
        """
with DAG("d", params={"rows": 1}) as dag:
    ModelOperator(task_id="b", arguments={"A": get("Steps.a.ModelName")}, depends_on=["a"])
    ModelOperator(task_id="a", arguments={"A": parameter("late"), "B": parameter("rows")})
dag.params["late"] = Param("x", type="string")
""",
    )
    assert bag.import_errors == {}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("argumets=REQUEST", "'argumets' (did you mean 'arguments'?)"),
        ("arguments=REQUEST, pol='p'", "'pol' (did you mean 'pool'?)"),
        (
            "arguments=REQUEST, bakend='aws', rol_arn='r'",
            "'bakend' (did you mean 'backend'?), 'rol_arn' (did you mean 'role_arn'?)",
        ),
    ],
)
def test_unknown_arguments_are_one_import_error(tmp_path: Path, arguments: str, hint: str) -> None:
    error = import_error(tmp_path, f"with DAG('d'):\n    ModelOperator(task_id='m', {arguments})\n")
    assert f"ModelOperator 'm' has no argument {hint}" in error


def test_argument_of_one_step_type_is_suggested(tmp_path: Path) -> None:
    body = "with DAG('d'):\n    LambdaOperator(task_id='m', function_anr='a')\n"
    assert "'function_anr' (did you mean 'function_arn'?)" in import_error(tmp_path, body)


def watched(folder: Path, body: str) -> set[str]:
    """The tasks upstream of the watcher that was added to the DAG; empty if there is none."""
    bag = parsed(folder, f"with DAG('d') as dag:\n{indent(dedent(body), '    ')}")
    assert bag.import_errors == {}
    dag = bag.dags["d"]
    if "watch_failures" not in dag.task_ids:
        return set()
    assert dag.get_task("watch_failures").trigger_rule == "one_failed"
    found: set[str] = dag.get_task("watch_failures").upstream_task_ids
    return found


STEPS = """
a = ModelOperator(task_id="a", arguments=REQUEST)
b = ModelOperator(task_id="b", arguments=REQUEST, depends_on=[a])
"""


@pytest.mark.parametrize(
    "rule", ["all_done", "always", "one_success", "one_failed", "one_done", "none_skipped"]
)
def test_final_task_that_tolerates_failures_gets_a_watcher(rule: str, tmp_path: Path) -> None:
    final = f'b >> EmptyOperator(task_id="last", trigger_rule="{rule}")'
    assert watched(tmp_path, STEPS + final) == {"a", "b"}


@pytest.mark.parametrize("rule", ["all_success", "none_failed", "none_failed_min_one_success"])
def test_final_task_that_fails_too_needs_no_watcher(rule: str, tmp_path: Path) -> None:
    final = f'b >> EmptyOperator(task_id="last", trigger_rule="{rule}")'
    assert watched(tmp_path, STEPS + final) == set()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            'a >> EmptyOperator(task_id="note", trigger_rule="all_done")', set(), id="other leaf"
        ),
        pytest.param(
            'x = EmptyOperator(task_id="x", trigger_rule="all_done")\n'
            'b >> x >> EmptyOperator(task_id="y")',
            {"a", "b"},
            id="further down",
        ),
        pytest.param(
            # With trigger rules of steps, the last tasks decide, as in Airflow.
            'ModelOperator(task_id="c", arguments={}, depends_on=[b], trigger_rule="all_done")',
            set(),
            id="a step",
        ),
        pytest.param(
            'ModelOperator.partial(task_id="m").expand(arguments=[REQUEST]) >> '
            'EmptyOperator(task_id="x", trigger_rule="all_done")',
            {"m"},
            id="mapped step",
        ),
        pytest.param(
            'b >> EmptyOperator(task_id="x", trigger_rule="all_done").as_teardown()',
            set(),
            id="teardown",
        ),
        pytest.param(
            'no = ModelOperator(task_id="no", arguments=REQUEST, depends_on=[b])\n'
            'ConditionOperator(task_id="c", conditions=[], if_steps=[no])',
            {"a", "b"},
            id="branch",
        ),
        pytest.param(
            'WatchOperator(task_id="watch_failures", watched=[a])\n'
            'b >> EmptyOperator(task_id="x", trigger_rule="all_done")',
            {"a", "b"},
            id="watcher of a written file",
        ),
    ],
)
def test_watcher_has_exactly_the_hidden_steps(
    body: str, expected: set[str], tmp_path: Path
) -> None:
    assert watched(tmp_path, STEPS + body) == expected
