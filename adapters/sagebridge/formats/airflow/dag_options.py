"""What a DAG and its tasks say to Airflow alone: each such word is a loss with its line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from functools import cache
from typing import Any, TypeAlias

from sagebridge.authoring.dag_pipeline import param_type
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.display import shown
from sagebridge.model.losses import AT_THE_END, Severity

Say: TypeAlias = "Callable[[Any], Unsupported | None]"


def _callback(name: str) -> Say:
    def say(value: Any) -> Unsupported | None:
        what = f"{name} is not called"
        advice = AT_THE_END
        return Unsupported("callback", "dropped", what, advice) if value else None

    return say


def _mail(name: str) -> Say:
    advice = AT_THE_END
    return _plainly("callback", "dropped", f"{name}: no mail is sent", advice)


def _plainly(code: str, severity: Severity, text: str, advice: str = "") -> Say:
    def say(value: Any) -> Unsupported | None:
        return Unsupported(code, severity, text.format(value), advice) if value else None

    return say


def _retries(value: Any) -> Unsupported | None:
    if not isinstance(value, int) or value <= 0:
        return None
    what = f"retries={value}: Airflow starts a task again after any failure, a pipeline only after "
    advice = "give the step RetryPolicies"
    return Unsupported("retries", "dropped", f"{what}the faults that a RetryPolicy names", advice)


def _pool(value: Any) -> Unsupported | None:
    if value in (None, "default_pool"):
        return None
    advice = "limit the pipeline's parallelism"
    return Unsupported("pool", "dropped", f"the pool {shown(value)} limits nothing", advice)


_CALLBACKS = (
    "on_execute_callback",
    "on_failure_callback",
    "on_retry_callback",
    "on_skipped_callback",
    "on_success_callback",
)
_LIMIT = "it limits nothing: max_active_tis_per_dag={}"
_TIME = "set its StoppingCondition"
_PAST = "a run does not wait for the run before it"

SAID: Mapping[str, Say] = {
    **{name: _callback(name) for name in _CALLBACKS},
    **{name: _mail(name) for name in ("email_on_failure", "email_on_retry")},
    "depends_on_past": _plainly("past-runs", "dropped", _PAST),
    "wait_for_downstream": _plainly("past-runs", "dropped", _PAST),
    "execution_timeout": _plainly(
        "timeout", "dropped", "execution_timeout={} does not end it", _TIME
    ),
    "dagrun_timeout": _plainly("timeout", "dropped", "dagrun_timeout={} does not end a run"),
    "max_ingestion_time": _plainly(
        "timeout", "dropped", "max_ingestion_time={} does not end it", _TIME
    ),
    "inlets": _plainly("asset", "dropped", "its inlets are not told"),
    "max_active_tis_per_dag": _plainly("concurrency", "dropped", _LIMIT),
    "max_active_tis_per_dagrun": _plainly("concurrency", "dropped", _LIMIT),
    "outlets": _plainly("asset", "dropped", "its outlets start no other DAG"),
    "params": _plainly("task-params", "dropped", "its own params: those of the DAG count"),
    "pool": _pool,
    "retries": _retries,
    "role_arn": _plainly(
        "role", "changed", "role_arn={} is not in its arguments", "write it into the arguments"
    ),
    "wait_for_completion": lambda value: (
        None
        if value
        else Unsupported(
            "no-wait",
            "changed",
            "wait_for_completion=False: the task does not wait for its job, the step does",
        )
    ),
}
"""What each argument of an operator or of ``default_args`` says, where it says it."""

_DEFAULTED = {"email_on_failure", "email_on_retry", "max_ingestion_time", "params", "role_arn"}
_LATER = SAID.keys() - _DEFAULTED
"""What an operator may be told after it was made; where nobody does, it says nothing of it."""

_SILENT = frozenset(
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
"""Arguments that are read elsewhere, or that say nothing of what is done."""

_RETRY_DETAILS = frozenset(("retry_delay", "retry_exponential_backoff", "max_retry_delay"))


_WHERE = frozenset(("aws_conn_id", "backend", "botocore_config", "region_name", "verify"))


def arguments_of_ours(operator: Any) -> frozenset[str]:
    """The arguments of an operator of ours that its step has; retries are for lost workers."""
    return (own_arguments(operator) | {"retries", "retry_delay"}) - _WHERE


def own_arguments(operator: Any) -> frozenset[str]:
    """The arguments that a class outside of Airflow takes, and has made its operator of."""
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


def given(operator: Any) -> dict[str, Any]:
    """The arguments that an operator was given, those of ``default_args`` among them."""
    if hasattr(operator, "partial_kwargs"):
        return dict(operator.partial_kwargs)
    arguments = dict(getattr(operator, "_BaseOperator__init_kwargs", {}))
    return arguments | dict(_told_later(operator, arguments))


def _told_later(operator: Any, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What was set on an operator that was made without it, or with another plain value."""
    for name in sorted(_LATER & vars(operator).keys()):
        value = getattr(operator, name)
        plain = isinstance(value, bool | int | str | timedelta)
        if name not in arguments or (plain and not _equal(arguments[name], value)):
            yield name, value


def of_task(operator: Any, reads: Collection[str]) -> Iterator[Unsupported]:
    """What an operator says to Airflow alone. ``reads`` are the arguments that its step has."""
    dag = operator.dag
    own = {
        name: value
        for name, value in given(operator).items()
        if name not in dag.default_args or not _equal(dag.default_args[name], value)
    }
    of_the_dag, params = _param_values(dag.params), _param_values(own.pop("params", None) or {})
    if any(name not in of_the_dag or of_the_dag[name] != params[name] for name in params):
        own["params"] = params
    yield from _said(own, reads)


def _param_values(params: Any) -> dict[str, Any]:
    """The values of Params, unchecked: one without a value cannot be asked for it."""
    found = {name: getattr(params, "get_param", params.get)(name) for name in params}
    values = {name: getattr(param, "value", param) for name, param in found.items()}
    return {name: None if _is_airflows(value) else value for name, value in values.items()}


def _is_airflows(value: object) -> bool:
    """Whether a value is one of Airflow's marks for an argument that is not set."""
    return type(value).__module__.startswith("airflow.")


def _equal(left: Any, right: Any) -> bool:
    try:
        return left is right or bool(left == right)
    except Exception:  # noqa: BLE001 - a value of the user's own class
        return False


def _said(arguments: Mapping[str, Any], reads: Collection[str]) -> Iterator[Unsupported]:
    seen: set[Unsupported] = set()
    others = []
    for name, value in arguments.items():
        if name in reads or name in _SILENT:
            continue
        if name in SAID:
            found = SAID[name](value)
            if found is not None and found not in seen:
                seen.add(found)
                yield found
        elif value is not None:
            others.append(name)
    if not arguments.get("retries"):
        others = [name for name in others if name not in _RETRY_DETAILS]
    if others:
        what = f"{', '.join(sorted(others))}: only Airflow has a use for it"
        yield Unsupported("engine-option", "info", what)


def of_dag(dag: Any) -> Iterator[Unsupported]:
    """What a DAG and its default arguments say to Airflow alone."""
    own = frozenset(("definition", "pipeline", "role_arn"))
    yield from _said(dag.default_args, own)
    if text := schedule_text(dag):
        what = f"the schedule {text} is not in a pipeline definition"
        yield Unsupported(
            "schedule", "dropped", what, "schedule what is written, on SageMaker with EventBridge"
        )
    for name in ("dagrun_timeout", "on_failure_callback", "on_success_callback"):
        found = SAID[name](getattr(dag, name, None))
        if found is not None:
            yield found
    if getattr(dag, "max_active_runs", 16) == 1:
        yield Unsupported(
            "concurrency", "dropped", "max_active_runs=1: runs of a pipeline may overlap"
        )
    if getattr(dag, "fail_fast", False):
        what = "fail_fast=True: steps that need nothing of what failed go on"
        yield Unsupported("failure-handling", "changed", what)
    if dag.user_defined_macros or dag.user_defined_filters:
        yield Unsupported(
            "engine-option", "info", "its own macros and filters: only templates use them"
        )
    tags = sorted(set(dag.tags or ()) - {"sagebridge"})
    if tags:
        yield Unsupported(
            "engine-option", "info", f"the tags {', '.join(tags)}: AWS's have key and value"
        )
    yield from _of_params(dag)


def _of_params(dag: Any) -> Iterator[Unsupported]:
    for name in dag.params:
        param = dag.params.get_param(name)
        if param_type(param) is None:
            what = f"the param {shown(name)} is no text, number or boolean: the pipeline has none"
            yield Unsupported("param-type", "dropped", what)
            continue
        type_ = param.schema.get("type")
        types = type_ if isinstance(type_, list) else []
        if "null" in types:
            what = f"the param {shown(name)} may not be null in a pipeline"
            yield Unsupported("param-type", "changed", what)
        if others := [one for one in types if one not in ("null", param_type(param))]:
            what = f"the param {shown(name)} may not be {' or '.join(others)} in a pipeline"
            yield Unsupported("param-type", "changed", what)
        rules = sorted(set(param.schema) - _SAID_OF_PARAM)
        if rules:
            what = f"{', '.join(rules)} of the param {shown(name)}: a pipeline checks type and enum"
            yield Unsupported("param-rule", "dropped", what)


_SAID_OF_PARAM = frozenset(
    ("description", "description_md", "enum", "examples", "section", "title", "type")
)


def schedule_text(dag: Any) -> str:
    """The schedule as a person says it; empty where the DAG has none."""
    return "" if dag.schedule is None else _schedule(dag.schedule)


_PARTS = ("expression", "delta", "timetables", "timetable", "asset_condition", "objects", "uri")
"""What the timetables and assets of Airflow's SDK are made of."""


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
