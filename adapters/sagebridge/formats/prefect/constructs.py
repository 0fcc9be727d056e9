"""Prefect's constructs, and what reading a flow does with each of them.

A table maps the name of a construct (an argument, a statement, a context manager) to a
:class:`Rule`, which makes a loss, or to a string: why it needs no loss. What is in no table is
reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.losses import AT_THE_END, LIMIT_STEPS, RETRY_RULES, TIME_LIMIT, Severity


class Rule(NamedTuple):
    """The loss of an argument; ``what`` may contain ``{name}`` and ``{value}``."""

    code: str
    severity: Severity
    what: str
    advice: str = ""


Table: TypeAlias = "Mapping[str, Rule | str]"

ONLY_PREFECT = Rule("engine-option", "info", "{name}={value}: used only by Prefect")
"""All options of one flow, task or deployment with this rule are one loss."""
CACHING = Rule(
    "cache",
    "changed",
    "{name}: no result of an earlier run is used: the task always runs",
    "in the task itself, skip work that is done already",
)
"""All options of one task with this rule are one loss."""
_UNKNOWN = Rule(
    "engine-option",
    "changed",
    "{name}={value} is not known to sagebridge and is not carried over",
    "check whether the translated pipeline needs it",
)
_HOOK = Rule("callback", "dropped", "{name} hooks are not called", AT_THE_END)
_WITH_RETRIES = "it has an effect only together with retries, which are reported"
_ONE_AT_A_TIME = "start an execution only when no other is running"

_COMMON: Table = {
    "name": "the name of the pipeline or step",
    "version": "it is a label of runs, by default a hash of the file",
    "retries": Rule(
        "retries",
        "dropped",
        "retries={value} is not carried over: a pipeline has only retry policies",
        RETRY_RULES,
    ),
    "retry_delay_seconds": _WITH_RETRIES,
    "timeout_seconds": Rule(
        "timeout",
        "dropped",
        "timeout_seconds={value} has no effect",
        TIME_LIMIT,
    ),
    "persist_result": ONLY_PREFECT,
    "result_storage": ONLY_PREFECT,
    "result_serializer": ONLY_PREFECT,
    "cache_result_in_memory": ONLY_PREFECT,
    "log_prints": ONLY_PREFECT,
    "on_completion": _HOOK,
    "on_failure": _HOOK,
    "on_running": _HOOK,
}
FLOW_OPTIONS: Table = {
    **_COMMON,
    "description": "the description of the pipeline",
    "flow_run_name": ONLY_PREFECT,
    "task_runner": ONLY_PREFECT,
    "validate_parameters": ONLY_PREFECT,
    "on_cancellation": _HOOK,
    "on_crashed": _HOOK,
}
"""Arguments of ``@flow`` and ``Flow.with_options``. The limit of a ThreadPoolTaskRunner is read."""
_SUBFLOW_HOOK = Rule(
    "callback",
    "dropped",
    "{name}={value}: these hooks are not called",
    "give the calling flow, or the tasks, hooks that do this",
)
SUBFLOW_OPTIONS: Table = {
    **{name: _SUBFLOW_HOOK if rule is _HOOK else rule for name, rule in FLOW_OPTIONS.items()},
    "description": ONLY_PREFECT,
    "retries": Rule(
        "retries",
        "dropped",
        "retries={value} has no effect: nothing repeats the subflow after a failure",
        "set retries of its tasks",
    ),
    "timeout_seconds": Rule(
        "timeout",
        "dropped",
        "timeout_seconds={value} has no effect: nothing ends the subflow after this time",
        "set timeout_seconds of its tasks, or of the calling flow",
    ),
    "task_runner": Rule(
        "concurrency", "changed", "task_runner={value} has no effect on its tasks", LIMIT_STEPS
    ),
    "persist_result": Rule(
        "cache",
        "changed",
        "persist_result={value} has no effect: its result is not stored",
        "store it in a task",
    ),
}
"""The same arguments, of a flow whose steps become steps of the flow that calls it."""
TASK_OPTIONS: Table = {
    **_COMMON,
    "description": ONLY_PREFECT,
    "tags": Rule(
        "engine-option",
        "changed",
        "the tags {value} are not carried over, nor is a concurrency limit of these tags",
        LIMIT_STEPS,
    ),
    **dict.fromkeys(
        ("cache_policy", "cache_key_fn", "cache_expiration", "result_storage_key"), CACHING
    ),
    "refresh_cache": "it decides whether a cached result is used",
    "task_run_name": ONLY_PREFECT,
    "retry_jitter_factor": Rule(
        "retries", "info", "retry_jitter_factor={value}: the delays are not varied"
    ),
    "retry_condition_fn": Rule(
        "retries",
        "changed",
        "retry_condition_fn={value} is not called: every failure is retried",
        "catch failures that are not to be retried in the task",
    ),
    "viz_return_value": "it is used only by Flow.visualize()",
    "asset_deps": Rule("asset", "dropped", "asset_deps={value} are not recorded"),
    "assets": Rule("asset", "dropped", "the assets {value} are not recorded"),
    "on_commit": _HOOK,
    "on_rollback": _HOOK,
}
"""Arguments of ``@task`` and ``Task.with_options``; ``assets`` are those of ``@materialize``."""

_LIMIT = Rule(
    "concurrency", "dropped", "{name}={value} has no effect: executions may overlap", _ONE_AT_A_TIME
)
_HOW_IT_STARTS = "it changes how the deployment is created, not what a run does"
_READ = "it is read as part of the schedule"
SCHEDULE_OPTIONS: Table = {
    **dict.fromkeys(
        ("cron", "day_or", "interval", "anchor_date", "rrule", "timezone", "active", "slug"), _READ
    ),
    "parameters": _READ,
    "replaces": "it changes how the schedule is created, not when it fires",
    "max_scheduled_runs": ONLY_PREFECT,
}
"""Settings of one schedule of a deployment."""
DEPLOYMENT_OPTIONS: Table = {
    "name": "it is part of every loss of the deployment",
    **dict.fromkeys(("cron", "interval", "rrule", "schedule", "schedules"), "it is a schedule"),
    "triggers": "each of them is read or reported",
    "paused": "its schedules are disabled",
    "parameters": Rule(
        "deployment",
        "changed",
        "parameters={value}: the pipeline keeps the defaults of the flow",
        "pass these values to each execution",
    ),
    "concurrency_limit": _LIMIT,
    "global_limit": _LIMIT,
    "limit": _LIMIT,
    "description": ONLY_PREFECT,
    "tags": ONLY_PREFECT,
    "version": ONLY_PREFECT,
    "version_type": _HOW_IT_STARTS,
    "work_pool": ONLY_PREFECT,
    "work_pool_name": ONLY_PREFECT,
    "work_queue_name": ONLY_PREFECT,
    "job_variables": ONLY_PREFECT,
    "image": ONLY_PREFECT,
    "_sla": ONLY_PREFECT,
    "sla": ONLY_PREFECT,
    "enforce_parameter_schema": _HOW_IT_STARTS,
    "entrypoint": _HOW_IT_STARTS,
    "entrypoint_type": _HOW_IT_STARTS,
    "build": _HOW_IT_STARTS,
    "push": _HOW_IT_STARTS,
    "pull": _HOW_IT_STARTS,
    "pause_on_shutdown": _HOW_IT_STARTS,
    "webserver": _HOW_IT_STARTS,
    "print_starting_message": _HOW_IT_STARTS,
    "print_next_steps": _HOW_IT_STARTS,
    "print_next_steps_message": _HOW_IT_STARTS,
    "ignore_warnings": _HOW_IT_STARTS,
}
"""Arguments of ``Flow.serve``, ``deploy`` and ``to_deployment``, of ``prefect.serve`` and
``prefect.deploy``, and the keys of a deployment in ``prefect.yaml``."""


def rule_of(table: Table, name: str, default: Rule = _UNKNOWN) -> Rule | None:
    """The rule of a construct; None if it needs no loss."""
    found = table.get(name, default)
    return found if isinstance(found, Rule) else None


def option_losses(table: Table, given: Iterable[tuple[str, str]]) -> Iterator[Unsupported]:
    """The losses of arguments as (name, value); those of ONLY_PREFECT and CACHING are one each."""
    only_prefect, caching = [], []
    for name, value in given:
        rule = rule_of(table, name)
        if rule is ONLY_PREFECT:
            only_prefect.append(f"{name}={value}" if value else name)
        elif rule is CACHING:
            caching.append(name)
        elif rule is not None:
            what = rule.what.format(name=name, value=value)
            yield Unsupported(rule.code, rule.severity, what, rule.advice)
    if caching:
        what = CACHING.what.format(name=", ".join(sorted(caching)))
        yield Unsupported(CACHING.code, CACHING.severity, what, CACHING.advice)
    if only_prefect:
        what = f"{', '.join(sorted(only_prefect))}: used only by Prefect"
        yield Unsupported(ONLY_PREFECT.code, ONLY_PREFECT.severity, what)


_EXECUTED = "it is executed, or a step executes it"
STATEMENTS: Table = {
    **dict.fromkeys(
        ("AnnAssign", "Assign", "AugAssign", "ClassDef", "Import", "ImportFrom", "TypeAlias"),
        _EXECUTED,
    ),
    **dict.fromkeys(("AsyncFunctionDef", "FunctionDef"), "it is followed when it is called"),
    **dict.fromkeys(
        ("For", "AsyncFor", "While"), "one over a run-time list becomes a ForEach, or is reported"
    ),
    **dict.fromkeys(("If", "Match"), "a test of a run-time value becomes a condition"),
    **dict.fromkeys(("Assert", "Raise"), "it becomes a Fail step, which is reported"),
    **dict.fromkeys(("AsyncWith", "With"), "the context manager is looked up in its own table"),
    **dict.fromkeys(("Break", "Continue", "Pass"), "it only directs the path"),
    "Delete": _EXECUTED,
    "Expr": "a call in it is followed, or a step makes it",
    "Nonlocal": "it changes a name inside the flow",
    "Return": "the result of the flow is reported",
    "Global": Rule(
        "run-time-code",
        "changed",
        "global: module variables are not shared by the steps of a run",
        "pass the value from task to task",
    ),
    **dict.fromkeys(("Try", "TryStar"), "one step executes it, which is reported"),
}
"""The statements of a flow body, by their class in ``ast``."""
_UNKNOWN_STATEMENT = Rule("run-time-code", "changed", "{name}: this statement is not carried over")

CONTEXT_MANAGERS: Table = {
    "contextlib.nullcontext": "it does nothing",
    "contextlib.ExitStack": "the managers that enter it do so while the flow is traced",
    "contextlib.AsyncExitStack": "the managers that enter it do so while the flow is traced",
    "contextlib.redirect_stdout": "output of the flow body is reported",
    "contextlib.redirect_stderr": "output of the flow body is reported",
    "contextlib.suppress": Rule(
        "failure-handling", "changed", "with suppress(…): the failure of a step is not suppressed"
    ),
    "prefect.logging.loggers.disable_run_logger": "output of the flow body is reported",
}
"""Context managers of a flow body. Those of sagebridge, and those that
:mod:`~sagebridge.formats.prefect.prefect_answers` replaces, report their losses."""
_UNKNOWN_MANAGER = Rule(
    "run-time-code",
    "changed",
    "with {name}: what it does at the start and end of the block is not carried over",
    "do it in a task",
)


def statement_rule(name: str) -> Rule | None:
    """The rule of a statement, by its class in ``ast``."""
    return rule_of(STATEMENTS, name, _UNKNOWN_STATEMENT)


def manager_rule(name: str) -> Rule | None:
    """The rule of a context manager, by its qualified name."""
    return rule_of(CONTEXT_MANAGERS, name, _UNKNOWN_MANAGER)
