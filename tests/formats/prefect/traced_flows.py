"""Flows that tests trace: their head, the fixture, and what a test looks at."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagebridge.errors import SourceError
from sagebridge.formats.prefect.tracer import trace
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import ConditionStep, Pipeline

IMPORTS = "from prefect import flow, task\n"
ENGINE = """
from prefect import pause_flow_run, runtime
from prefect.blocks.system import Secret
from prefect.concurrency.asyncio import concurrency as acquire
from prefect.concurrency.asyncio import rate_limit as wait_for_slot
from prefect.concurrency.sync import concurrency, rate_limit
from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.states import Failed
from prefect.variables import Variable
"""
TASKS = """
@task
def one(x): return x

@task
def two(x): return x

@task
def is_good(x) -> bool: return x

"""
METHODS = """
class Holder:
    def __init__(self, text): self.text = text

    @task
    def put(self, x): return x

    def run(self, x): return [self.put(one(x))] * 2

"""
GENERATOR = """
def each():
    for text in "ab": yield one(text)

"""
LEASE = """
import contextlib, socket

@contextlib.contextmanager
def lease():
    socket.create_connection(("127.0.0.1", 9))
    yield "lease"

"""
ENGINE_WORDS = (
    "Failed",
    "Secret",
    "Variable",
    "concurrency",
    "deployment",
    "emit",
    "limit",
    "pause",
    "runtime",
)
TraceFlow = Callable[..., tuple[Pipeline, tuple[Loss, ...]]]


def trace_error(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(SourceError) as error:
        trace(file)
    assert str(error.value).startswith(str(file))
    return str(error.value).removeprefix(str(file))


def shape(pipeline: Pipeline) -> Any:
    """Names of steps; a Condition is [name, if branch, else branch]."""

    def of(steps: Any) -> list[Any]:
        return [
            [one.name, of(one.if_steps or ()), of(one.else_steps or ())]
            if isinstance(one, ConditionStep)
            else one.name
            for one in steps
        ]

    return of(pipeline.steps)


def function_of(step: PythonStep) -> Any:
    """The function of a step."""
    scope: dict[str, Any] = {"__name__": "carried"}
    sys.modules["carried"] = types.ModuleType("carried")
    exec(step.function.module or step.function.code, scope)
    return scope[step.function.name]


def run_code(step: PythonStep, *arguments: Any) -> Any:
    """The result of a step's function."""
    return function_of(step)(*arguments)


def codes(losses: tuple[Loss, ...]) -> list[str]:
    return [f"{loss.severity} {loss.code}" for loss in losses]
