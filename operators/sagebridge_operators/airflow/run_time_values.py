"""Values of Airflow in the arguments of an operator: XComs, and arguments of task groups.

The step of the model has a template in the place of each. The text of the template is the key with
which the operator finds the value when the step runs.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sagebridge.model.airflow2_context import with_old_dates
from sagebridge.model.display import shown
from sagebridge.model.expressions import Template, json_value, parameter
from sagebridge.model.parameters import Parameter, coerce
from sagebridge.model.values import Strict, Value
from sagebridge.model.visit import nodes, rebuild
from sagebridge_operators.airflow._compat import XComArg
from sagebridge_operators.run_errors import Unresolvable


class PlainTextWarning(UserWarning):
    """A string looks like a template of Airflow, but the step gets it unchanged."""


def take_run_time_values(value: Any, taken: dict[str, Any]) -> Any:
    """Replaces XComs by templates, and adds them to ``taken`` by the text of the template.

    The arguments of an ``@dag`` function become references to parameters. They are DagParam
    objects, whose name is private (airflow/sdk/definitions/param.py). The class is compared by name
    because ``airflow.sdk`` does not export it.
    """

    def change(node: Any) -> Any:
        if type(node).__name__ == "DagParam":
            return parameter(node._name)
        # Any attribute of a Properties is a reference.
        if isinstance(node, Strict) or not hasattr(node, "iter_references"):
            return node
        text = _text(node, len(taken))
        while text in taken:  # the same XCom, perhaps of a parameter of another type
            text += " "
        taken[text] = node
        return Template(text)

    return rebuild(value, change)


class ParameterValue(XComArg):
    """The value of a pipeline parameter that is an XCom or a template, converted to its type."""

    def __init__(self, declared: Parameter, given: Any) -> None:
        self.declared, self.given = declared, given

    def iter_references(self) -> Iterator[tuple[Any, str]]:
        if not isinstance(self.given, Template):
            yield from self.given.iter_references()

    def resolve(self, context: Any) -> Any:
        """The value. Raises ParameterError if it does not have the type of the parameter."""
        if isinstance(self.given, Template):
            found = rendered(context["task"], self.given.text, context)
        else:
            found = self.given.resolve(context)
        return coerce([self.declared], {self.declared.name: found})[self.declared.name]


def rendered(operator: Any, text: str, context: Any) -> Any:
    """A template, rendered as Airflow does, apart from a name of a file."""
    # Airflow's render_template() reads a string such as script.sh as a file
    # (airflow/sdk/definitions/_internal/templater.py).
    return operator.get_template_env().from_string(text).render(with_old_dates(context))


def _text(value: Any, number: int) -> str:
    if isinstance(value, ParameterValue):
        inner = value.given
        return inner.text if isinstance(inner, Template) else _text(inner, number)
    if type(value).__name__ == "PlainXComArg":
        return f"{{{{ ti.xcom_pull(task_ids={value.operator.task_id!r}, key={value.key!r}) }}}}"
    return f"{{{{ {type(value).__name__}_{number + 1} }}}}"


def link_run_time_values(task: Any, values: Any) -> None:
    """Makes a task wait for the tasks whose outputs are in ``values``."""
    XComArg.apply_upstream_relationship(task, values)


def resolve_run_time_value(value: Any, text: str, context: Any, *, is_code: bool) -> Any:
    """A run-time value. Raises Unresolvable if it is missing, or not JSON in a request."""
    try:
        found = value.resolve(context)
    except Exception as error:
        if type(error).__name__ != "XComNotFound":  # its module differs between versions
            raise
        raise Unresolvable(text, "the task did not push it") from None
    if isinstance(found, Sequence) and not isinstance(found, str | bytes | list | tuple):
        found = list(found)  # the lazy outputs of a mapped task
    if not is_code:
        try:
            json_value(found)
        except TypeError as error:
            raise Unresolvable(text, str(error)) from None
    return found


def warn_of_templates(task_id: str, value: Value) -> None:
    """Warns of strings with ``{{``, since Airflow renders no argument of a step."""
    texts = (node for node in nodes(value) if isinstance(node, str) and "{{" in node)
    for text in dict.fromkeys(texts):
        fix = f"to have Airflow render it, use template({text!r})"
        message = f"task {task_id!r}: the step gets {shown(text)} unchanged; {fix}"
        warnings.warn(message, PlainTextWarning, stacklevel=_levels_to_the_file())


def caller() -> Path:
    """The file whose code creates an operator or task group."""
    return Path(sys._getframe(_levels_to_the_file() - 1).f_code.co_filename)


def _levels_to_the_file() -> int:
    """The stack level of the DAG file, for warnings.warn() in the calling function."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_library(frame.f_globals):
        level, frame = level + 1, frame.f_back
    return level


def _is_library(names: Mapping[str, Any]) -> bool:
    return str(names.get("__name__", "")).startswith(("airflow.", "sagebridge_operators."))
