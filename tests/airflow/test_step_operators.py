"""The operators created from the table of step types."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from typing import Any

import pytest
from airflow.sdk import DAG

import sagebridge_operators.airflow as package
from sagebridge.authoring.step_arguments import STEP_ARGUMENTS
from sagebridge.model.step_settings import CacheConfig
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge.model.values import Object
from sagebridge_operators.airflow import LambdaOperator, StepOperator
from sagebridge_operators.airflow.step_operators import OPERATORS
from tests.airflow.test_dag import served

pytestmark = [pytest.mark.airflow, pytest.mark.airflow31]
ARN = "arn:aws:lambda:eu-west-1:111122223333:function:f"
CACHE = CacheConfig(enabled=True)
COMMON = [argument.name for argument in STEP_ARGUMENTS[1:]]


def test_each_step_type_has_an_exported_operator() -> None:
    for row in OPERATOR_TYPES.values():
        operator = getattr(package, row.operator)
        assert operator.__name__ in package.__all__
        assert operator.step_type == row.name
        assert pickle.loads(pickle.dumps(operator)) is operator
    made = [one for name, one in OPERATORS.items() if name != "Fail"]
    assert all(one.__doc__ == OPERATOR_TYPES[one.step_type].summary for one in made)


def test_signatures_show_the_arguments() -> None:
    shown = inspect.signature(StepOperator.__init__).parameters
    assert [name for name in shown if name in COMMON] == COMMON
    assert shown["cache_config"].kind is inspect.Parameter.KEYWORD_ONLY
    assert "name" not in shown
    assert list(inspect.signature(LambdaOperator.__init__).parameters) == [
        "self",
        "function_arn",
        "kwargs",
    ]


def test_default_args_reach_the_step() -> None:
    arguments = {"cache_config": CACHE, "function_arn": ARN, "description": "d"}
    with DAG("d", schedule=None, default_args=arguments):
        task = LambdaOperator(task_id="A", arguments={})
        other = LambdaOperator(task_id="B", arguments={}, function_arn="own", description="own")
    assert task.step.cache_config == CACHE
    assert task.step.extra == Object({"FunctionArn": ARN})
    assert (task.step.description, task.doc_md) == ("d", "d")
    assert other.step.extra == Object({"FunctionArn": "own"})
    assert other.step.description == "own"


def test_mapped_operator_takes_the_arguments() -> None:
    with DAG("d", schedule=None):
        given: dict[str, Any] = {"cache_config": CACHE, "function_arn": ARN}
        mapped: Any = LambdaOperator.partial(task_id="A", **given).expand(arguments=[{"n": 1}])
    assert mapped.partial_kwargs["function_arn"] == ARN


@pytest.mark.parametrize("unknown", ["name", "sqs_queue_url", "cache"])
def test_unknown_argument_is_rejected(unknown: str) -> None:
    given: dict[str, Any] = {unknown: "x"}
    with DAG("d", schedule=None):
        with pytest.raises(TypeError, match=unknown):
            LambdaOperator(task_id="A", arguments={}, **given)
        with pytest.raises(TypeError, match=unknown):
            LambdaOperator.partial(task_id="A", **given)


def test_serialized_dag_has_the_operators() -> None:
    with DAG("d", schedule=None) as dag:
        LambdaOperator(task_id="A", arguments={}, function_arn=ARN)
    task = served(dag).get_task("A")
    assert task.task_type == "LambdaOperator"


def test_importing_the_operators_loads_no_boto3() -> None:
    loaded = "any(name in sys.modules for name in ('boto3', 'botocore'))"
    code = f"import sys, sagebridge_operators.airflow; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
