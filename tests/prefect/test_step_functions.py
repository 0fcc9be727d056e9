"""The functions created from the table of step types."""

from __future__ import annotations

import inspect

import pytest

import sagebridge_operators.prefect as package
from sagebridge.authoring.step_arguments import STEP_ARGUMENTS
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge_operators.prefect import lambda_

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
