"""Operators and sensors of the user: a step calls their class, which is carried with its code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from sagebridge.formats.airflow.code_tasks import CodeTask
from sagebridge.formats.airflow.dag_options import operator_arguments
from sagebridge.formats.airflow.task_values import is_template
from sagebridge.formats.python.function_source import NotSelfContained, function_text, of_class
from sagebridge.model.code_steps import BRANCH, PYTHON, SENSOR, PythonStep, call_arguments
from sagebridge.model.values import Object

_BASES = {
    "BaseOperator": ("", "execute"),
    "BaseSensorOperator": (SENSOR, "poke"),
    "BaseBranchOperator": (BRANCH, "choose_branch"),
}
"""By class of Airflow: the role of a step, and the method of the derived class that it calls."""
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def is_custom(task: Any) -> bool:
    """Whether a task, mapped or not, is of a class of the user that only has such a base."""
    return bool(_base(_class_of(task)))


def custom_arguments(task: Any) -> frozenset[str]:
    """The arguments of the classes of the user themselves."""
    names: set[str] = set()
    for one in _own_classes(_class_of(task)):
        # Airflow wraps an inherited __init__, too (BaseOperatorMeta in bases/operator.py).
        own = inspect.unwrap(vars(one).get("__init__", _base))
        if own.__module__ == one.__module__:
            parameters = inspect.signature(own).parameters.values()
            names.update(it.name for it in parameters if it.kind in _NAMED)
    return frozenset(names - {"self", "task_id"})


def custom_step(task: CodeTask) -> PythonStep:
    """The step of an operator of the user. Raises :class:`NotSelfContained`."""
    operator = task.operator
    cls = _class_of(operator)
    role, method = _BASES[_base(cls)]
    if role and any("execute" in vars(one) for one in _own_classes(cls)):
        raise NotSelfContained(f"overrides execute of {_base(cls)}")
    if ".defer(" in function_text(getattr(cls, method)):
        raise NotSelfContained("waits in the triggerer (self.defer)")
    own = custom_arguments(operator)
    given = {name: one for name, one in operator_arguments(operator).items() if name in own}
    rendered = set(_rendered(operator, given))
    kwargs = {name: task.value(one, templated=name in rendered) for name, one in given.items()}
    return PythonStep(
        task.name,
        PYTHON,
        Object(call_arguments((), kwargs)),
        function=of_class(cls),
        origin=task.origin,
        role=role,
        context=True,
    )


def _class_of(task: Any) -> Any:
    return getattr(task, "operator_class", None) or type(task)


def _own_classes(cls: Any) -> Iterator[Any]:
    """The classes before the first one of Airflow, whose examples are files like others."""
    for one in cls.__mro__:
        if one.__module__.startswith("airflow.") and "example" not in one.__module__:
            return
        yield one


@cache
def _base(cls: Any) -> str:
    """The class of Airflow that an operator of the user has; empty for other operators."""
    own = list(_own_classes(cls))
    base = cls.__mro__[len(own)].__name__ if len(own) < len(cls.__mro__) else ""
    if base not in _BASES or not any(_BASES[base][1] in vars(one) for one in own):
        return ""
    return str(base)


def _rendered(operator: Any, given: Mapping[str, Any]) -> Iterator[str]:
    """The arguments that Airflow renders: those that template fields have as their values."""
    for field in operator.template_fields:
        value = getattr(operator, field, None)
        names = [field] if field in given else [one for one in given if given[one] is value]
        yield from names
        if not names and is_template(str(value)):
            raise NotSelfContained(f"renders {field}, which its class makes of its arguments")
