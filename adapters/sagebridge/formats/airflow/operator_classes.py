"""Match tasks to operator classes of the Amazon provider, and find the names of their jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import FunctionType
from typing import Any

from sagebridge.formats.airflow import provider
from sagebridge.formats.airflow.native.functions import native_function
from sagebridge.formats.airflow.provider.provider_task import OperatorKind

JOB_SENSORS = {
    "EmrStepSensor": "step_id",
    "SageMakerAutoMLSensor": "job_name",
    "SageMakerEndpointSensor": "endpoint_name",
    "SageMakerProcessingSensor": "job_name",
    "SageMakerTrainingSensor": "job_name",
    "SageMakerTransformSensor": "job_name",
    "SageMakerTuningSensor": "job_name",
}
"""Sensors of the Amazon provider that wait for a job, with the argument that names the job."""
_PROVIDERS = provider.KINDS.keys() | {provider.CONDITION}
_METHODS = (FunctionType, classmethod, property, staticmethod)


def classes(task: Any) -> frozenset[str]:
    """The names of the classes in a task's MRO; for a mapped task, of the class it maps."""
    cls = getattr(task, "operator_class", type(task))
    return frozenset(one.__name__ for one in cls.__mro__)


def class_of(task: Any, names: Iterable[str]) -> str | None:
    """The provider operator among ``names`` that a task inherits from.

    None if a subclass overrides its behaviour.
    """
    cls: Any = type(task)
    name, overrides = provider_class(cls)
    return name if name in names and not overrides else None


@cache
def provider_class(cls: Any) -> tuple[str, str]:
    """The provider operator that a class inherits from, and the methods overridden on the way.

    Both are empty for a class that is not derived from a provider operator.
    """
    overrides: dict[str, None] = {}
    for one in cls.__mro__:
        if one.__module__.startswith(provider.PACKAGES) and one.__name__ in _PROVIDERS:
            overrides.pop("on_kill", None)
            return one.__name__, ", ".join(name for name in overrides if hasattr(one, name))
        methods = (name for name, value in vars(one).items() if isinstance(value, _METHODS))
        overrides.update(dict.fromkeys(name for name in methods if not name.startswith("__")))
    return "", ""


def kind_of(task: Any) -> OperatorKind | None:
    """How the provider operator of a task is read; None if it is not a known one."""
    name = class_of(task, provider.KINDS)
    if name is None and (function := native_function(task)) is not None:
        return provider.NATIVE[function]
    return None if name is None else provider.KINDS[name]


def job_names(task: Any) -> Iterator[Any]:
    """The names that a task gives its jobs: strings, or outputs of other tasks."""
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
