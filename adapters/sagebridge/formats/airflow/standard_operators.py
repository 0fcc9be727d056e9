"""Operators as calls of functions of our library: the standard provider's, and sensors of AWS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from sagebridge.formats.airflow.code_tasks import CodeTask
from sagebridge.formats.airflow.dag_options import operator_arguments
from sagebridge.formats.python.function_source import NotSelfContained
from sagebridge.model.code_steps import BRANCH, DIRECT_GATE, SENSOR, PythonStep, call_arguments
from sagebridge.model.display import words
from sagebridge.model.functions import NOTHING, Function

_LIBRARY = "sagebridge_operators.functions"


@dataclass(frozen=True, slots=True)
class LibraryCall:
    """A function that does what an operator does.

    Attributes:
        function: its module in the library and its name.
        arguments: its keyword arguments, from the operator.
        reads: the arguments of the operator that it has.
    """

    function: tuple[str, str]
    arguments: Callable[[Any], Mapping[str, Any]] = lambda _: {}
    reads: tuple[str, ...] = ()
    role: str = ""

    def step(self, task: CodeTask) -> PythonStep:
        """The step of a task. Raises :class:`NotSelfContained`."""
        module, name = self.function
        function = Function(name, "", imported_from=f"{_LIBRARY}.{module}")
        given = call_arguments((), self.arguments(task.operator))
        return task.step(function, given, role=self.role)


def _given(operator: Any, **names: str) -> dict[str, Any]:
    """The attributes of an operator that are not empty, by the name of the argument."""
    found = {argument: _plain(getattr(operator, name)) for argument, name in names.items()}
    return {name: value for name, value in found.items() if value not in (None, False, [], "")}


def _plain(value: Any) -> Any:
    match value:
        case timedelta():
            return value.total_seconds()
        case date() | time():
            return value.isoformat()
        case set() | frozenset():
            return sorted(map(str, value))
    return value


def _zone(operator: Any) -> dict[str, str]:
    name = getattr(operator.dag.timezone, "name", None) or str(operator.dag.timezone)
    return {} if name == "UTC" else {"timezone": name}


def _time(operator: Any) -> Mapping[str, Any]:
    # The operator only keeps a moment of the day on which the file is read.
    return {"time": _plain(operator_arguments(operator)["target_time"]), **_zone(operator)}


def _wait_seconds(operator: Any) -> Mapping[str, Any]:
    value = getattr(operator, "delta", getattr(operator, "time_to_wait", None))
    if isinstance(value, int):
        value = timedelta(minutes=value)
    if not isinstance(value, timedelta):
        raise NotSelfContained("waits for a time that is only known at run time")
    return {"seconds": value.total_seconds()}


def _week_days(operator: Any) -> dict[str, Any]:
    # The numbers of the days are kept only here (providers/standard/sensors/weekday.py).
    given = {"days": sorted(operator._week_day_num)}
    return {**given, **({"of_run": True} if operator.use_task_logical_date else {})}


def _branches(operator: Any) -> dict[str, Any]:
    names = ("follow_task_ids_if_true", "follow_task_ids_if_false")
    chosen = (getattr(operator, name) for name in names)
    lists = [[one] if isinstance(one, str) else list(one) for one in chosen]
    return dict(zip(("if_true", "if_false"), lists, strict=True))


def _branch_days(operator: Any) -> Mapping[str, Any]:
    return {**_week_days(operator), **_branches(operator), **_zone(operator)}


def _branch_time(operator: Any) -> Mapping[str, Any]:
    limits = _given(operator, lower="target_lower", upper="target_upper")
    of_run = {"of_run": True} if operator.use_task_logical_date else {}
    return {**limits, **of_run, **_branches(operator), **_zone(operator)}


def _command(operator: Any) -> Mapping[str, Any]:
    return _given(operator, command="bash_command", env="env", retry_exit_code="retry_exit_code")


def _file(operator: Any) -> Mapping[str, Any]:
    given = _given(operator, path="filepath", recursive="recursive", connection="fs_conn_id")
    if given.get("connection") == "fs_default":
        del given["connection"]
    return given


def _trigger(operator: Any) -> Mapping[str, Any]:
    given = _given(
        operator,
        pipeline="trigger_dag_id",
        parameters="conf",
        run_id="trigger_run_id",
        wait="wait_for_completion",
        skip_existing="skip_when_already_exists",
    )
    if operator.wait_for_completion is True:
        given["interval"] = operator.poke_interval
        for name, states in (
            ("success", operator.allowed_states),
            ("failure", operator.failed_states),
        ):
            values = sorted(str(getattr(one, "value", one)) for one in states)
            if values != [{"success": "success", "failure": "failed"}[name]]:
                given[name] = values
    if isinstance(operator.logical_date, str | datetime):
        given["logical_date"] = _plain(operator.logical_date)
    return given


def _external(operator: Any) -> Mapping[str, Any]:
    if operator.execution_date_fn is not None:
        raise NotSelfContained("computes the date of the other run (execution_date_fn)")
    if operator.external_task_group_id:
        raise NotSelfContained("waits for a task group of another DAG")
    given = _given(
        operator,
        pipeline="external_dag_id",
        steps="external_task_ids",
        seconds_before="execution_delta",
        success="allowed_states",
        failure="failed_states",
        skipped="skipped_states",
        check_existence="check_existence",
    )
    if given.get("success") == ["success"]:
        del given["success"]
    return given


def _with_aws(operator: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a function that calls AWS with the default credentials."""
    if operator.aws_conn_id not in (None, "", "aws_default"):
        raise NotSelfContained("calls AWS with its own connection (aws_conn_id)")
    return {**given, **_given(operator, region="region_name")}


def _objects(operator: Any) -> Mapping[str, Any]:
    if operator.check_fn is not None:
        raise NotSelfContained("looks at the objects with a function (check_fn)")
    keys = [operator.bucket_key] if isinstance(operator.bucket_key, str) else operator.bucket_key
    names = {"bucket": "bucket_name", "wildcards": "wildcard_match", "regex": "use_regex"}
    return _with_aws(operator, {"keys": keys, **_given(operator, **names)})


def _messages(operator: Any) -> Mapping[str, Any]:
    if operator.message_filtering is not None:
        raise NotSelfContained("filters messages (message_filtering)")
    given = {"queue": operator.sqs_queue, "count": operator.max_messages}
    given |= {"batches": operator.num_batches, "wait": operator.wait_time_seconds}
    if operator.visibility_timeout is not None:
        given["visibility"] = operator.visibility_timeout
    if not operator.delete_message_on_reception:
        given["keep"] = True
    return _with_aws(operator, given)


_NOTHING = (NOTHING.imported_from.removeprefix(f"{_LIBRARY}."), NOTHING.name)
LIBRARY_CALLS: Mapping[str, LibraryCall] = {
    "EmptyOperator": LibraryCall(_NOTHING),
    "ExternalTaskMarker": LibraryCall(
        _NOTHING,
        reads=("external_dag_id", "external_task_id", "logical_date", "recursion_depth"),
    ),
    "LatestOnlyOperator": LibraryCall(("tasks", "is_latest_run"), role=DIRECT_GATE),
    "BranchDayOfWeekOperator": LibraryCall(
        ("dates", "branch_by_weekday"),
        _branch_days,
        words("week_day use_task_logical_date follow_task_ids_if_true follow_task_ids_if_false"),
        BRANCH,
    ),
    "BranchDateTimeOperator": LibraryCall(
        ("dates", "branch_by_time"),
        _branch_time,
        words(
            "target_lower target_upper use_task_logical_date follow_task_ids_if_true "
            "follow_task_ids_if_false"
        ),
        BRANCH,
    ),
    "TimeSensor": LibraryCall(("waits", "time_passed"), _time, ("target_time",), SENSOR),
    "DateTimeSensor": LibraryCall(
        ("waits", "moment_passed"),
        lambda operator: {"moment": _plain(operator.target_time)},
        ("target_time",),
        SENSOR,
    ),
    "TimeDeltaSensor": LibraryCall(("waits", "run_time_passed"), _wait_seconds, ("delta",), SENSOR),
    "WaitSensor": LibraryCall(("waits", "wait"), _wait_seconds, ("time_to_wait",)),
    "DayOfWeekSensor": LibraryCall(
        ("waits", "is_weekday"), _week_days, ("week_day", "use_task_logical_date"), SENSOR
    ),
    "FileSensor": LibraryCall(
        ("waits", "file_exists"), _file, ("filepath", "recursive", "fs_conn_id"), SENSOR
    ),
    "BashSensor": LibraryCall(
        ("waits", "command_succeeds"), _command, ("bash_command", "env", "retry_exit_code"), SENSOR
    ),
    "ExternalTaskSensor": LibraryCall(
        ("pipelines", "pipeline_ended"),
        _external,
        words(
            "external_dag_id external_task_id external_task_ids allowed_states "
            "failed_states skipped_states execution_delta check_existence"
        ),
        SENSOR,
    ),
    "S3KeySensor": LibraryCall(("aws_waits", "objects_exist"), _objects, role=SENSOR),
    "SqsSensor": LibraryCall(
        ("aws_waits", "messages_received"),
        _messages,
        words(
            "sqs_queue max_messages num_batches wait_time_seconds visibility_timeout "
            "delete_message_on_reception aws_conn_id region_name deferrable"
        ),
        SENSOR,
    ),
    "TriggerDagRunOperator": LibraryCall(
        ("pipelines", "run_pipeline"),
        _trigger,
        words(
            "trigger_dag_id conf trigger_run_id wait_for_completion poke_interval "
            "allowed_states failed_states skip_when_already_exists logical_date"
        ),
    ),
}
"""By operator class: what its step calls."""
