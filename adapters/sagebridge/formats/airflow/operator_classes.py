"""Which operators of the Amazon provider's a task is of, and what its jobs are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import FunctionType
from typing import Any

from sagebridge.formats.airflow import provider
from sagebridge.formats.airflow.provider.provider_task import Kind

SENSED = {
    "EmrStepSensor": "step_id",
    "SageMakerAutoMLSensor": "job_name",
    "SageMakerEndpointSensor": "endpoint_name",
    "SageMakerProcessingSensor": "job_name",
    "SageMakerTrainingSensor": "job_name",
    "SageMakerTransformSensor": "job_name",
    "SageMakerTuningSensor": "job_name",
}
"""Sensors that wait for a job, and the argument that names it."""
_PROVIDERS = provider.KINDS.keys() | {provider.CONDITION}
_METHODS = (FunctionType, classmethod, property, staticmethod)


def classes(task: Any) -> frozenset[str]:
    cls = getattr(task, "operator_class", type(task))
    return frozenset(one.__name__ for one in cls.__mro__)


def class_of(task: Any, names: Iterable[str]) -> str | None:
    """The provider's class among ``names`` that a task is of, as long as it does what that does."""
    cls: Any = type(task)
    name, changed = known(cls)
    return name if name in names and not changed else None


@cache
def known(cls: Any) -> tuple[str, str]:
    """The provider's class that a class is of, and the methods that it has of its own instead."""
    changed: dict[str, None] = {}
    for one in cls.__mro__:
        if one.__module__.startswith(provider.PACKAGE) and one.__name__ in _PROVIDERS:
            changed.pop("on_kill", None)
            return one.__name__, ", ".join(name for name in changed if hasattr(one, name))
        methods = (name for name, value in vars(one).items() if isinstance(value, _METHODS))
        changed.update(dict.fromkeys(name for name in methods if not name.startswith("__")))
    return "", ""


def kind_of(task: Any) -> Kind | None:
    name = class_of(task, provider.KINDS)
    return None if name is None else provider.KINDS[name]


def job_names(task: Any) -> Iterator[Any]:
    """How a task calls its jobs: a text, or what another task hands on."""
    if (name := getattr(task, "job_name", None)) is not None:
        yield name
    yield from _named(getattr(task, "config", None))


def _named(config: Any) -> Iterator[Any]:
    if isinstance(config, Mapping):
        for name, value in config.items():
            if isinstance(value, Mapping):
                yield from _named(value)
            elif str(name).endswith(("JobName", "EndpointName")):
                yield value
