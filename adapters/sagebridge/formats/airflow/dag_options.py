"""Options of a DAG and its tasks that only Airflow understands: each is a loss."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from sagebridge.authoring.dag_pipeline import TYPES, is_own, param_type
from sagebridge.authoring.task_settings import OWN_ARGUMENTS
from sagebridge.formats.airflow.dag_schedules import ScheduleReading, time_limits
from sagebridge.formats.airflow.option_table import (
    DAG_ARGUMENTS,
    DEFAULTED,
    TASK_ARGUMENTS,
    NoEffect,
    Row,
    unknown,
)
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.connections import AIRFLOW_DEFAULTS
from sagebridge.model.display import shown
from sagebridge.model.expressions import Template
from sagebridge.model.limits import known_limits
from sagebridge.model.losses import EMPTY_IN_FLOWS
from sagebridge.model.pipeline import Step, walk
from sagebridge.model.values import Value

_SET_LATER = {
    name for name, row in TASK_ARGUMENTS.items() if not isinstance(row, NoEffect)
} - DEFAULTED
"""Attributes that user code may set on an operator after creating it, and that are otherwise unset.
"""
_CODES_OF_HISTORY = {
    "asset_state_store": "python-task",
    "inlet_events": "asset",
    "prev_data_interval_end_success": "past-runs",
    "prev_data_interval_start_success": "past-runs",
    "prev_end_date_success": "past-runs",
    "prev_start_date_success": "past-runs",
    "task_state_store": "python-task",
    "triggering_asset_events": "asset",
}
"""What earlier runs leave in Airflow's context, with the codes of its losses."""
_CONF = re.compile(r"""\bconf\)?(?:\.get\(|\[)\s*["'](\w+)["']""")
_UNUSED = NoEffect("no operator of the DAG has an argument of this name")


def sagebridge_arguments(operator: Any) -> frozenset[str]:
    """The arguments of a sagebridge operator that are part of its step."""
    return (own_arguments(operator) | set(OWN_ARGUMENTS)) - {
        "backend",
        "output_assets",
        "retry_delay",
    }


def own_arguments(operator: Any) -> frozenset[str]:
    """The arguments of an operator's classes outside the ``airflow`` package."""
    cls: Any = type(operator)
    return _own_arguments(cls)


@cache
def _own_arguments(operator_class: Any) -> frozenset[str]:
    names: set[str] = set()
    for cls in operator_class.__mro__:
        if cls.__module__.startswith("airflow."):
            break
        names.update(inspect.signature(vars(cls).get("__init__", cls)).parameters)
    return frozenset(names - {"role_arn"})


def operator_arguments(operator: Any) -> dict[str, Any]:
    """The arguments that an operator was created with, including those from ``default_args``."""
    if hasattr(operator, "partial_kwargs"):
        return dict(operator.partial_kwargs)
    # An operator keeps its call only in this private attribute: airflow/sdk/bases/operator.py,
    # BaseOperatorMeta.
    arguments = dict(getattr(operator, "_BaseOperator__init_kwargs", {}))
    return arguments | dict(_set_later(operator, arguments))


def _set_later(operator: Any, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Attributes set on an operator after its creation: new ones, or ones with another value."""
    for name in sorted(_SET_LATER & vars(operator).keys()):
        value = getattr(operator, name)
        plain = isinstance(value, bool | int | str | timedelta)
        if name not in arguments or (plain and not _equal(arguments[name], value)):
            yield name, value


def of_task(
    operator: Any, reads: Collection[str], steps: Sequence[Step] = ()
) -> Iterator[Unsupported]:
    """The options of a task that are lost. ``reads`` are the arguments that its steps have."""
    dag = operator.dag
    reported = dag.default_args.keys() & TASK_ARGUMENTS.keys()  # by of_dag
    own = {
        name: value
        for name, value in operator_arguments(operator).items()
        if name not in reported or not _equal(dag.default_args[name], value)
    }
    if own.get("end_date") in time_limits(dag):  # the end of its schedules
        del own["end_date"]
    text = _run_time_text(steps)
    if "params" not in text or not own_params(operator):
        own.pop("params", None)
    yield from _losses(own, reads, TASK_ARGUMENTS)
    yield from _of_context(text)
    yield from _undeclared_conf(text, dag)


def own_params(operator: Any) -> dict[str, Any]:
    """The params of a task that the DAG does not have, or that have another value there."""
    found = _param_values(operator_arguments(operator).get("params") or {})
    of_the_dag = _param_values(operator.dag.params)
    missing = object()
    return {name: one for name, one in found.items() if of_the_dag.get(name, missing) != one}


def _of_context(text: str) -> Iterator[Unsupported]:
    """The losses of names in Airflow's context that flows do not fill in."""
    words = set(re.findall(r"\w+", text))
    for name, code in _CODES_OF_HISTORY.items():
        if name in words:
            yield Unsupported(code, "changed", f"{name} is empty in a flow", EMPTY_IN_FLOWS)


def _undeclared_conf(text: str, dag: Any) -> Iterator[Unsupported]:
    """The keys of the run's conf that are not params of the DAG."""
    for name in dict.fromkeys(_CONF.findall(text)) if "dag_run" in text else ():
        if name not in dag.params:
            what = f"{shown(name)} in the conf of the run is not a param of the DAG"
            advice = "declare it: an execution accepts only parameters"
            yield Unsupported("parameter", "changed", what, advice)


def _run_time_text(steps: Sequence[Step]) -> str:
    """The templates of steps, and the code of functions that read Airflow's context."""
    texts: list[str] = []

    def visit(node: Value) -> Value:
        texts.extend([node.text] if isinstance(node, Template) else ())
        return node

    for step in walk(steps):
        step.replaced(visit)
        if isinstance(step, PythonStep):
            code = step.function.module or step.function.text or step.function.code
            texts += [code] if step.context or "get_current_context" in code else []
    return "\n".join(texts)


def _param_values(params: Any) -> dict[str, Any]:
    """The values of Params, without validation: reading an unset one would raise."""
    found = {name: getattr(params, "get_param", params.get)(name) for name in params}
    values = {name: getattr(param, "value", param) for name, param in found.items()}
    return {name: None if _is_unset(value) else value for name, value in values.items()}


def _is_unset(value: object) -> bool:
    """Whether a value is Airflow's marker for an unset argument (``airflow.sdk``'s NOTSET)."""
    return type(value).__module__.startswith("airflow.")


def _equal(left: Any, right: Any) -> bool:
    try:
        return left is right or bool(left == right)
    except Exception:  # noqa: BLE001 - __eq__ may be user code
        return False


def _losses(
    arguments: Mapping[str, Any], reads: Collection[str], table: Mapping[str, Row]
) -> Iterator[Unsupported]:
    """The losses of arguments that are not among ``reads``."""
    seen: set[Unsupported] = set()
    others = []
    for name, value in arguments.items():
        if name in reads:
            continue
        row = table.get(name)
        if isinstance(row, NoEffect):
            if value is not None and not row.silent:
                others.append(name)
            continue
        found = unknown(name, value) if row is None and value is not None else None
        found = row(value) if row is not None else found
        if found is not None and found not in seen:
            seen.add(found)
            yield found
    if others:
        what = f"options that only Airflow uses: {', '.join(sorted(others))}"
        yield Unsupported("engine-option", "info", what)


def of_dag(dag: Any, schedules: ScheduleReading) -> Iterator[Unsupported]:
    """The options and default arguments of a DAG that are lost."""
    carried = frozenset(("end_date", "is_paused_upon_creation") if schedules.carried else ())
    if not dag.is_paused_upon_creation:
        carried |= {"is_paused_upon_creation"}
    if not dag.timetable.can_be_scheduled:
        carried |= {"catchup"}
    own = {name for name, value in dag.default_args.items() if is_own(name, value)} | {"role_arn"}
    accepted = {name for task in dag.tasks for name in operator_arguments(task)}
    # Each task reads or reports those that only its own operator knows.
    own |= AIRFLOW_DEFAULTS.keys() | (accepted - TASK_ARGUMENTS.keys()) | carried
    unused = dict.fromkeys(dag.default_args.keys() - accepted, _UNUSED)
    yield from _losses(dag.default_args, own, {**unused, **TASK_ARGUMENTS})
    yield from schedules.losses
    yield from _losses(dict(_dag_arguments(dag)), carried, DAG_ARGUMENTS)
    if dag.user_defined_macros or dag.user_defined_filters:
        what = "user-defined macros and filters: each template that uses one is reported"
        yield Unsupported("engine-option", "info", what)
    yield from _of_params(dag)


def _dag_arguments(dag: Any) -> Iterator[tuple[str, Any]]:
    """The arguments of a DAG that differ from those of a DAG that only has the same id."""
    dag_class = next(one for one in type(dag).__mro__ if one.__module__.startswith("airflow."))
    plain: Any = dag_class(dag.dag_id, schedule=None)
    for name in inspect.signature(dag_class).parameters:
        if not _equal(getattr(dag, name, None), getattr(plain, name, None)):
            yield name, getattr(dag, name)


def _of_params(dag: Any) -> Iterator[Unsupported]:
    for name in dag.params:
        param = dag.params.get_param(name)
        declared = param_type(param)
        if declared is None:
            what = f"the param {shown(name)} is not a string, number or boolean"
            yield Unsupported("param-type", "dropped", what, "declare it as one of these types")
            continue
        type_ = param.schema.get("type")
        types = type_ if isinstance(type_, list) else []
        if others := [one for one in types if one not in ("null", declared)]:
            what = (
                f"the param {shown(name)} may only be {declared} in a pipeline, "
                f"not {' or '.join(others)}"
            )
            yield Unsupported("param-type", "changed", what, f"pass values of type {declared}")
        kept = known_limits(TYPES[declared], param.schema)
        rules = sorted(set(param.schema) - _PARAM_KEYS - kept.keys())
        if rules:
            what = f"the param {shown(name)} is not checked against {', '.join(rules)}"
            advice = "check the value before you start an execution"
            yield Unsupported("param-rule", "dropped", what, advice)


_PARAM_KEYS = frozenset(
    ("description", "description_md", "enum", "examples", "section", "title", "type")
)
"""Keys of a Param's schema that a pipeline parameter has too, or that only the form shows."""
