"""Options of a DAG and its tasks that only Airflow understands: each is a loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from functools import cache
from typing import Any, TypeAlias

from sagebridge.authoring.dag_pipeline import is_own, param_type
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.display import shown
from sagebridge.model.losses import AT_THE_END, LIMIT_STEPS, OWN_SCHEDULE, Severity

OptionRule: TypeAlias = "Callable[[Any], Unsupported | None]"
"""From the value of an option to its loss; None if the value asks for nothing."""


def _callback(name: str) -> OptionRule:
    def rule(value: Any) -> Unsupported | None:
        what = f"{name} is not called"
        return Unsupported("callback", "dropped", what, AT_THE_END) if value else None

    return rule


def _mail(name: str) -> OptionRule:
    return _option("callback", "dropped", f"{name}: no email is sent", AT_THE_END)


def _option(code: str, severity: Severity, what: str, advice: str = "") -> OptionRule:
    """The rule of an option that is a loss if it is true; ``{}`` in ``what`` is its value."""

    def rule(value: Any) -> Unsupported | None:
        return Unsupported(code, severity, what.format(value), advice) if value else None

    return rule


def _retries(value: Any) -> Unsupported | None:
    if not isinstance(value, int) or value <= 0:
        return None
    what = f"retries={value} has no effect: a step is retried only under its retry policies"
    return Unsupported("retries", "dropped", what, "add retry policies to the step")


def _pool(value: Any) -> Unsupported | None:
    if value in (None, "default_pool"):
        return None
    what = f"the pool {shown(value)} has no effect"
    return Unsupported("pool", "dropped", what, LIMIT_STEPS)


_CALLBACKS = (
    "on_execute_callback",
    "on_failure_callback",
    "on_retry_callback",
    "on_skipped_callback",
    "on_success_callback",
)
_TIME_LIMIT = "limit the job itself, for example with StoppingCondition"
_ONE_AT_A_TIME = "start an execution only when no other is running"
_PAST = _option(
    "past-runs",
    "dropped",
    "depends_on_past and wait_for_downstream have no effect: executions are independent",
    "start an execution only after the previous one has succeeded",
)

OPTION_RULES: Mapping[str, OptionRule] = {
    **{name: _callback(name) for name in _CALLBACKS},
    **{name: _mail(name) for name in ("email_on_failure", "email_on_retry")},
    "depends_on_past": _PAST,
    "wait_for_downstream": _PAST,
    "execution_timeout": _option(
        "timeout", "dropped", "execution_timeout={} has no effect", _TIME_LIMIT
    ),
    "dagrun_timeout": _option(
        "timeout",
        "dropped",
        "dagrun_timeout={} has no effect",
        "stop executions that run too long yourself",
    ),
    "max_ingestion_time": _option(
        "timeout", "dropped", "max_ingestion_time={} has no effect", _TIME_LIMIT
    ),
    "inlets": _option("asset", "dropped", "its inlets are not recorded"),
    "max_active_tis_per_dag": _option(
        "concurrency", "dropped", "max_active_tis_per_dag={} has no effect", _ONE_AT_A_TIME
    ),
    "max_active_tis_per_dagrun": _option(
        "concurrency", "dropped", "max_active_tis_per_dagrun={} has no effect"
    ),
    "outlets": _option(
        "asset",
        "dropped",
        "its outlets are not updated and start no other DAG",
        "start the DAGs that wait for these assets yourself",
    ),
    "params": _option(
        "task-params",
        "dropped",
        "its own params are ignored; templates use the params of the DAG",
        "declare them as params of the DAG",
    ),
    "pool": _pool,
    "retries": _retries,
    "role_arn": _option(
        "role", "changed", "role_arn={} is not in its arguments", "add the role to the arguments"
    ),
    "wait_for_completion": lambda value: (
        None
        if value
        else Unsupported(
            "no-wait",
            "changed",
            "wait_for_completion=False has no effect: the step waits for its job",
            "check that downstream steps may start that late",
        )
    ),
}
"""The rule of each argument of an operator or of ``default_args`` that Airflow acts on."""

_DEFAULTED = {"email_on_failure", "email_on_retry", "max_ingestion_time", "params", "role_arn"}
_SET_LATER = OPTION_RULES.keys() - _DEFAULTED
"""Attributes that user code may set on an operator after creating it, and that are otherwise unset.

Airflow itself sets the attributes in ``_DEFAULTED``, so their values mean nothing.
"""

_IGNORED = frozenset(
    (
        "dag",
        "dag_id",
        "default_args",
        "do_xcom_push",
        "doc",
        "doc_md",
        "kwargs_to_upstream",
        "multiple_outputs",
        "owner",
        "start_date",
        "task_display_name",
        "task_group",
        "task_id",
        "trigger_rule",
    )
)
"""Arguments that are read elsewhere, or that do not affect what a task does."""

_RETRY_DETAILS = frozenset(("retry_delay", "retry_exponential_backoff", "max_retry_delay"))


_CONNECTION = frozenset(("aws_conn_id", "backend", "botocore_config", "region_name", "verify"))


def sagebridge_arguments(operator: Any) -> frozenset[str]:
    """The arguments of a sagebridge operator that are part of its step.

    ``retries`` and ``retry_delay`` count as well: the operator sets them to survive lost workers.
    """
    return (own_arguments(operator) | {"retries", "retry_delay"}) - _CONNECTION


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


def of_task(operator: Any, reads: Collection[str]) -> Iterator[Unsupported]:
    """The options of a task that are lost. ``reads`` are the arguments that its step has."""
    dag = operator.dag
    own = {
        name: value
        for name, value in operator_arguments(operator).items()
        if name not in dag.default_args or not _equal(dag.default_args[name], value)
    }
    of_the_dag, params = _param_values(dag.params), _param_values(own.pop("params", None) or {})
    if any(name not in of_the_dag or of_the_dag[name] != params[name] for name in params):
        own["params"] = params
    yield from _losses(own, reads)


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


def _losses(arguments: Mapping[str, Any], reads: Collection[str]) -> Iterator[Unsupported]:
    seen: set[Unsupported] = set()
    others = []
    for name, value in arguments.items():
        if name in reads or name in _IGNORED:
            continue
        if name in OPTION_RULES:
            found = OPTION_RULES[name](value)
            if found is not None and found not in seen:
                seen.add(found)
                yield found
        elif value is not None:
            others.append(name)
    if not arguments.get("retries"):
        others = [name for name in others if name not in _RETRY_DETAILS]
    if others:
        what = f"options that only Airflow uses: {', '.join(sorted(others))}"
        yield Unsupported("engine-option", "info", what)


def of_dag(dag: Any) -> Iterator[Unsupported]:
    """The options and default arguments of a DAG that are lost."""
    own = {name for name, value in dag.default_args.items() if is_own(name, value)} | {"role_arn"}
    yield from _losses(dag.default_args, frozenset(own))
    if text := schedule_text(dag):
        what = f"the schedule {text} is not carried over"
        yield Unsupported("schedule", "dropped", what, OWN_SCHEDULE)
    for name in ("dagrun_timeout", "on_failure_callback", "on_success_callback"):
        found = OPTION_RULES[name](getattr(dag, name, None))
        if found is not None:
            yield found
    if getattr(dag, "max_active_runs", 16) == 1:
        what = "max_active_runs=1 has no effect: executions may overlap"
        yield Unsupported("concurrency", "dropped", what, _ONE_AT_A_TIME)
    if getattr(dag, "fail_fast", False):
        what = "fail_fast=True has no effect: steps that do not depend on a failed step continue"
        advice = "stop the execution yourself if they must not run"
        yield Unsupported("failure-handling", "changed", what, advice)
    if dag.user_defined_macros or dag.user_defined_filters:
        what = "user-defined macros and filters: each template that uses one is reported"
        yield Unsupported("engine-option", "info", what)
    tags = sorted(set(dag.tags or ()) - {"sagebridge"})
    if tags:
        what = f"the tags {', '.join(tags)} are dropped: the tags of a pipeline have keys"
        yield Unsupported("engine-option", "info", what)
    yield from _of_params(dag)


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
        if "null" in types:
            what = f"the param {shown(name)} may not be null in a pipeline"
            yield Unsupported("param-type", "changed", what, "choose a value that means 'not set'")
        if others := [one for one in types if one not in ("null", declared)]:
            what = (
                f"the param {shown(name)} may only be {declared} in a pipeline, "
                f"not {' or '.join(others)}"
            )
            yield Unsupported("param-type", "changed", what, f"pass values of type {declared}")
        rules = sorted(set(param.schema) - _PARAM_KEYS)
        if rules:
            what = (
                f"the param {shown(name)} is not checked against {', '.join(rules)}, "
                "only against type and enum"
            )
            advice = "check the value before you start an execution"
            yield Unsupported("param-rule", "dropped", what, advice)


_PARAM_KEYS = frozenset(
    ("description", "description_md", "enum", "examples", "section", "title", "type")
)
"""Keys of a Param's schema that a pipeline parameter has too, or that only the form shows."""


def schedule_text(dag: Any) -> str:
    """The schedule as a message shows it; empty if the DAG has none."""
    return "" if dag.schedule is None else _schedule(dag.schedule)


_PARTS = ("expression", "delta", "timetables", "timetable", "asset_condition", "objects", "uri")
"""Attributes of the timetables and assets in Airflow's SDK that describe a schedule."""


def _schedule(item: Any) -> str:
    if isinstance(item, str):
        return shown(item)
    if isinstance(item, timedelta):
        return f"every {item}"
    if isinstance(item, list | tuple):
        return ", ".join(map(_schedule, item))
    parts = [getattr(item, name) for name in _PARTS if getattr(item, name, None)]
    if (timezone := getattr(item, "timezone", None)) is not None:
        parts.append(str(timezone))
    inside = ", ".join(map(_schedule, parts)) or getattr(item, "summary", "")
    return f"{type(item).__name__}({inside})" if inside else type(item).__name__
