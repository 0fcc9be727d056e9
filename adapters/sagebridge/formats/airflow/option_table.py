"""Every argument of a DAG and of a task: what it becomes, or why it has no effect.

An argument in no table is reported as a change, so that a new argument of Airflow is never lost in
silence. A row is one of:

- :data:`READ`: the reader uses the argument elsewhere;
- :class:`NoEffect`: it does not change what a pipeline does, for this reason;
- an :data:`OptionRule`: from its value to a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.display import shown, word_set, words
from sagebridge.model.losses import AT_THE_END, RETRY_RULES, TIME_LIMIT, Severity

OptionRule: TypeAlias = "Callable[[Any], Unsupported | None]"
"""From the value of an option to its loss; None if the value asks for nothing."""


@dataclass(frozen=True, slots=True)
class NoEffect:
    """An argument without effect on a pipeline; ``silent``: not even reported as info."""

    reason: str
    silent: bool = False


READ: Final = NoEffect("the reader uses it", silent=True)
Row: TypeAlias = "NoEffect | OptionRule"


def unknown(name: str, value: Any) -> Unsupported:
    """The loss of an argument that is in no table."""
    what = f"{name}={shown(value)} has no effect: sagebridge does not know this argument"
    return Unsupported("engine-option", "changed", what, "check whether the pipeline needs it")


def _option(code: str, severity: Severity, what: str, advice: str = "") -> OptionRule:
    """The rule of an option that is a loss if it is true; ``{}`` in ``what`` is its value."""

    def rule(value: Any) -> Unsupported | None:
        return Unsupported(code, severity, what.format(value), advice) if value else None

    return rule


def _unless(usual: Any, rule: OptionRule) -> OptionRule:
    """The rule of an option that asks for nothing if it has its usual value."""
    return lambda value: None if value == usual else rule(value)


def _callback(name: str) -> OptionRule:
    return _option("callback", "dropped", f"{name} is not called", AT_THE_END)


def _mail(name: str) -> OptionRule:
    return _option("callback", "dropped", f"{name}: no email is sent", AT_THE_END)


def _worker(name: str) -> OptionRule:
    what = f"{name}={{}} has no effect: it selects or prepares the worker of a task"
    advice = "run the translated pipeline on workers that have what its code needs"
    return _option("engine-option", "changed", what, advice)


def _no_wait(value: Any) -> Unsupported | None:
    if value:
        return None
    what = "wait_for_completion=False has no effect: the step waits for its job"
    return Unsupported(
        "no-wait", "changed", what, "check that downstream steps may start that late"
    )


_ONE_AT_A_TIME = "start an execution only when no other is running"
_PAST = _option(
    "past-runs",
    "dropped",
    "depends_on_past and wait_for_downstream have no effect: executions are independent",
    "start an execution only after the previous one has succeeded",
)
_NO_END = _option(
    "schedule", "dropped", "end_date={} has no effect", "end the schedule of the pipeline yourself"
)
_POLLING = NoEffect("sagebridge decides how it polls a job")
_UNIQUE_NAME = NoEffect("each job gets a generated, unique name")
_LOGGING = NoEffect("it changes only what the task logs")
_TEXT = NoEffect("only doc_md is carried, as the description")
_UI = NoEffect("it changes only Airflow's UI")
_PAST_DETAIL = NoEffect("it belongs to depends_on_past, which is reported")
_AIRFLOW_3 = NoEffect("Airflow 3 ignores it")

RETRY_DETAILS = frozenset(("retry_delay", "retry_exponential_backoff", "max_retry_delay"))
"""Without effect unless there are retries."""
CALLBACKS = words(
    "on_execute_callback on_failure_callback on_retry_callback on_skipped_callback "
    "on_success_callback"
)

_BASE_ARGUMENTS: Mapping[str, Row] = {
    **{name: _callback(name) for name in ("pre_execute", "post_execute")},
    **dict.fromkeys(CALLBACKS, READ),
    **{name: _mail(name) for name in ("email", "email_on_failure", "email_on_retry")},
    **{name: _worker(name) for name in ("executor", "executor_config", "resources")},
    **dict.fromkeys(("doc_json", "doc_rst", "doc_yaml"), _TEXT),
    **dict.fromkeys(RETRY_DETAILS, READ),
    **dict.fromkeys(
        ("ignore_first_depends_on_past", "wait_for_past_depends_before_skipping"), _PAST_DETAIL
    ),
    **dict.fromkeys(
        words("dag doc_md multiple_outputs task_display_name task_group task_id trigger_rule"),
        READ,
    ),
    "allow_nested_operators": NoEffect("a check of Airflow at run time"),
    "default_args": READ,
    "depends_on_past": _PAST,
    "do_xcom_push": NoEffect("a step's outputs can always be referred to", silent=True),
    "doc": NoEffect(_TEXT.reason, silent=True),
    "end_date": _NO_END,
    "execution_timeout": READ,
    "inlets": _option("asset", "dropped", "its inlets are not recorded"),
    "kwargs": READ,
    "logger_name": _LOGGING,
    "map_index_template": _UI,
    "max_active_tis_per_dag": READ,
    "max_active_tis_per_dagrun": _option(
        "concurrency", "dropped", "max_active_tis_per_dagrun={} has no effect"
    ),
    "output_assets": _option("asset", "dropped", "its outputs do not update assets"),
    "outlets": _option(
        "asset",
        "dropped",
        "its outlets are not updated and start no other DAG",
        "start the DAGs that wait for these assets yourself",
    ),
    "owner": NoEffect(_UI.reason, silent=True),
    "params": _option(
        "task-params",
        "dropped",
        "its own params are ignored; it uses the params of the DAG",
        "declare them as params of the DAG",
    ),
    "pool": READ,
    "pool_slots": NoEffect("it belongs to the pool, which is reported"),
    "priority_weight": READ,
    "queue": _unless("default", _worker("queue")),
    "render_template_as_native_obj": _option(
        "template",
        "changed",
        "its own render_template_as_native_obj has no effect; that of the DAG has",
        "set it on the DAG",
    ),
    "retries": READ,
    "retry_policy": _option(
        "retries",
        "dropped",
        "retry_policy has no effect: every failure is treated alike",
        RETRY_RULES,
    ),
    "run_as_user": _worker("run_as_user"),
    "sla": _AIRFLOW_3,
    "start_date": NoEffect("the schedule decides when an execution starts", silent=True),
    "wait_for_downstream": _PAST,
    "weight_rule": NoEffect("it orders the tasks that wait for a worker"),
}
"""The arguments of BaseOperator."""

_OPERATOR_ARGUMENTS: Mapping[str, Row] = {
    **dict.fromkeys(
        ("check_interval", "deferrable", "end_from_trigger", "mode", "poll_interval"), _POLLING
    ),
    **dict.fromkeys(("start_from_trigger", "trigger_kwargs", "waiter_delay"), _POLLING),
    **dict.fromkeys(
        words(
            "action_if_job_exists action_if_model_exists check_if_job_exists check_if_model_exists"
        ),
        _UNIQUE_NAME,
    ),
    **dict.fromkeys(
        ("keep_empty_log_lines", "log_type", "print_log", "show_return_value_in_logs"), _LOGGING
    ),
    **{
        name: _option("timeout", "dropped", f"{name}={{}} has no effect", TIME_LIMIT)
        for name in ("max_attempts", "max_ingestion_time", "waiter_max_attempts")
    },
    "backend": _option(
        "engine-option",
        "changed",
        "backend={} is not carried",
        "set SAGEBRIDGE_BACKEND, or the argument again",
    ),
    "cluster_states": NoEffect("the id of the cluster is a parameter"),
    "ignore_downstream_trigger_rules": READ,
    "kwargs_to_upstream": READ,
    "openlineage_inject_parent_job_info": NoEffect("it only adds lineage metadata"),
    "output_encoding": _unless(
        "utf-8", _option("engine-option", "changed", "output_encoding={}: UTF-8 is used")
    ),
    "openlineage_inject_parent_info": NoEffect("it only adds lineage metadata"),
    "reset_dag_run": _option(
        "engine-option", "changed", "reset_dag_run=True has no effect: each start is a new run"
    ),
    "role_arn": _option(
        "role", "changed", "role_arn={} is not in its arguments", "add the role to the arguments"
    ),
    "serializer": _unless(
        "pickle",
        _option("engine-option", "changed", "serializer={}: arguments and results are pickled"),
    ),
    "templates_exts": NoEffect("a task that reads a template file is reported itself"),
    "venv_cache_path": _option(
        "engine-option", "info", "venv_cache_path has no effect: each try has a new environment"
    ),
    "wait_for_completion": _no_wait,
}
"""The arguments of operators that become steps, and that their builders do not read."""

TASK_ARGUMENTS: Mapping[str, Row] = {**_BASE_ARGUMENTS, **_OPERATOR_ARGUMENTS}
"""The arguments of tasks and of ``default_args``."""

DEFAULTED = word_set(
    "email_on_failure email_on_retry max_attempts max_ingestion_time params role_arn "
    "waiter_max_attempts"
)
"""Attributes that Airflow or an operator itself sets, so that their values mean nothing."""

DAG_ARGUMENTS: Mapping[str, Row] = {
    **dict.fromkeys(("on_failure_callback", "on_success_callback"), READ),
    **dict.fromkeys(
        words(
            "dag_id default_args description doc_md max_active_tasks params "
            "render_template_as_native_obj schedule tags task_group user_defined_filters "
            "user_defined_macros"
        ),
        READ,
    ),
    **dict.fromkeys(("dag_display_name", "is_paused_upon_creation", "owner_links"), _UI),
    "access_control": NoEffect("it gives permissions in Airflow"),
    "allowed_run_types": _option(
        "schedule", "changed", "allowed_run_types={} has no effect: anyone may start an execution"
    ),
    "auto_register": NoEffect("it decides whether Airflow finds the DAG", silent=True),
    "catchup": _option(
        "schedule", "changed", "catchup=True has no effect: past intervals are not run"
    ),
    "dagrun_timeout": READ,
    "deadline": _option("callback", "dropped", "deadline: no alert is sent", AT_THE_END),
    "disable_bundle_versioning": NoEffect("a pipeline has its own versions"),
    "end_date": _NO_END,
    "fail_fast": _option(
        "failure-handling",
        "changed",
        "fail_fast=True has no effect: steps that do not depend on a failed step continue",
        "stop the execution yourself if they must not run",
    ),
    "jinja_environment_kwargs": _option(
        "template",
        "changed",
        "jinja_environment_kwargs={}: only templates in {{{{ }}}} are read",
        "check the templates of the tasks",
    ),
    "max_active_runs": READ,
    "max_consecutive_failed_dag_runs": _option(
        "failure-handling",
        "changed",
        "max_consecutive_failed_dag_runs={} has no effect: failed executions do not pause it",
    ),
    "rerun_with_latest_version": NoEffect("a pipeline has its own versions"),
    "sla_miss_callback": _AIRFLOW_3,
    "start_date": READ,
    "template_searchpath": NoEffect("a task that reads a template file is reported itself"),
    "template_undefined": NoEffect("templates are not rendered"),
}
"""The arguments of a DAG."""
