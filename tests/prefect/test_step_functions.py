"""The functions created from the table of step types."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from prefect import flow

import sagebridge_operators.prefect as package
from sagebridge.authoring.step_arguments import STEP_ARGUMENTS
from sagebridge.model.expressions import get, parameter
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge_operators.prefect import begin, finish, lambda_, step
from tests.fakes import FakeBackend
from tests.prefect.conftest import Run

pytestmark = pytest.mark.prefect


def test_each_step_type_has_an_exported_function() -> None:
    for row in OPERATOR_TYPES.values():
        function = getattr(package, row.function)
        assert function.__name__ == row.function
        assert row.function in package.__all__


def test_signatures_show_the_arguments() -> None:
    names = [argument.name for argument in STEP_ARGUMENTS]
    assert list(inspect.signature(lambda_).parameters) == [*names, "function_arn", "own"]
    assert str(lambda_.__doc__).startswith("A Lambda step: invokes ``function_arn``")


def test_all_unknown_names_of_a_flow_fail_it_before_the_first_task(
    play: Run, backend: FakeBackend
) -> None:
    def typos(rows: int = 1) -> Any:
        begin(backend="awss")
        step("Model", "load", arguments={"A": parameter("row")})
        step("Model", "fit", arguments={"A": get("Steps.laod.X")}, depends_on=["lod"])
        step("Model", "far", arguments={}, backend="locl")
        step("Model", "empty")
        return finish()

    played = play(flow(typos))
    assert played.state.is_failed()
    assert played.state.message == (
        "pipeline 'typos' was not started, as it has errors: "
        "step 'load': unknown parameter 'row' (did you mean 'rows'?); "
        "step 'fit': unknown step 'lod' in depends_on (did you mean 'load'?); "
        "step 'fit': reference to unknown step 'laod' (did you mean 'load'?); "
        "step 'empty': missing `arguments`; "
        "begin(): unknown backend 'awss' (did you mean 'aws'?); "
        "step 'far': unknown backend 'locl' (did you mean 'local'?)"
    )
    assert played.states == {}
    assert not backend.sagemaker.calls


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"argumets": {}}, "'argumets' (did you mean 'arguments'?)"),
        ({"function_anr": "a"}, "'function_anr' (did you mean 'function_arn'?)"),
        (
            {"bakend": "aws", "rol_arn": "r"},
            "'bakend' (did you mean 'backend'?), 'rol_arn' (did you mean 'role_arn'?)",
        ),
    ],
)
def test_unknown_arguments_fail_the_flow(
    play: Run, backend: FakeBackend, given: dict[str, Any], hint: str
) -> None:
    def typos() -> Any:
        step("Model", "first", arguments={})
        lambda_("call", **given)
        return finish()

    played = play(flow(typos))
    assert played.state.is_failed()
    assert f"Lambda step 'call' has no argument {hint}" in str(played.state.message)
    assert not backend.sagemaker.calls
