"""Airflow's context of a task, in a step of a flow."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum, StrEnum
from types import SimpleNamespace
from typing import Any

from sagebridge.model.airflow2_context import with_old_dates
from sagebridge.model.engine_settings import NO_SETTINGS
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import Pipeline, walk
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle.user_code.run_context import RunContext, current_run
from sagebridge_operators.lifecycle.user_code.templates import render
from sagebridge_operators.prefect.airflow_names import macros
from sagebridge_operators.prefect.airflow_names.exceptions import AirflowException
from sagebridge_operators.prefect.airflow_names.stores import Connection, Variable

Context = dict
"""The type of the context, for annotations."""
_NOT_GIVEN: Any = object()
_RETURN_VALUE = "return_value"


class TriggerRule(StrEnum):
    """Airflow's trigger rules."""

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_DONE = "all_done"
    ALL_DONE_MIN_ONE_SUCCESS = "all_done_min_one_success"
    ALL_DONE_SETUP_SUCCESS = "all_done_setup_success"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"
    NONE_SKIPPED = "none_skipped"
    ALWAYS = "always"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    ALL_SKIPPED = "all_skipped"


class TaskInstanceState(StrEnum):
    """The states of a task instance, as in Airflow."""

    REMOVED = "removed"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    RESTARTING = "restarting"
    FAILED = "failed"
    UP_FOR_RETRY = "up_for_retry"
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    UPSTREAM_FAILED = "upstream_failed"
    SKIPPED = "skipped"
    DEFERRED = "deferred"


class WeekDay(IntEnum):
    """The days of the week, as ISO numbers."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7


class DagRunState(StrEnum):
    """The states of a DAG run, as in Airflow."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


class State:
    """All states by their older names."""

    SUCCESS, RUNNING, FAILED = "success", "running", "failed"
    QUEUED, SKIPPED, UPSTREAM_FAILED = "queued", "skipped", "upstream_failed"
    UP_FOR_RETRY, DEFERRED, NONE = "up_for_retry", "deferred", None


@dataclass(frozen=True)
class DagRun:
    """The flow run, with the attributes of a DAG run."""

    dag_id: str
    run_id: str
    logical_date: Any
    start_date: Any
    conf: dict[str, Any]
    run_type: str
    state: str = "running"
    end_date: Any = None
    external_trigger: bool = False
    note: str | None = None
    partition_key: str | None = None
    partition_date: Any = None
    triggering_user_name: str | None = None

    @property
    def data_interval_start(self) -> Any:
        """The start of the data interval: the logical date, as with CronTriggerTimetable."""
        return self.logical_date

    data_interval_end = run_after = queued_at = execution_date = data_interval_start

    @classmethod
    def of(cls, run: RunContext) -> DagRun:
        """The DAG run of a step's run."""
        scheduled = bool(run.facts.get("scheduled_by_deployment"))
        return cls(
            dag_id=run.name,
            run_id=run.run_id,
            logical_date=macros.date_time(run.scheduled),
            start_date=macros.date_time(run.started),
            conf=dict(run.facts.get("conf", run.parameters)),
            run_type="scheduled" if scheduled else "manual",
            external_trigger=not scheduled,
        )


class Dag:
    """The pipeline, with the attributes of a DAG."""

    def __init__(self, run: RunContext) -> None:
        pipeline = self._pipeline = run.pipeline
        self.dag_id = self.dag_display_name = run.name
        self.description = None if pipeline.description is ABSENT else pipeline.description
        settings = getattr(pipeline, "engine", NO_SETTINGS)
        self.tags, self.doc_md = set(settings.tags), settings.doc or None
        self.params = dict(run.parameters)
        self.timezone = macros.utc
        self.default_args: dict[str, Any] = {}

    @property
    def task_ids(self) -> list[str]:
        """The names of the steps."""
        return [step.name for step in walk(self._pipeline)]

    @property
    def task_dict(self) -> dict[str, Task]:
        """The tasks by their ids."""
        return {name: Task(self, name) for name in self.task_ids}

    @property
    def tasks(self) -> list[Task]:
        """The tasks."""
        return list(self.task_dict.values())

    def get_task(self, task_id: str) -> Task:
        """A task. Raises AirflowException."""
        if task_id not in self.task_ids:
            raise AirflowException(f"Task {task_id} not found")
        return Task(self, task_id)

    def has_task(self, task_id: str) -> bool:
        """Whether there is a task of this id."""
        return task_id in self.task_ids


class Task:
    """A step, with the attributes of an operator."""

    def __init__(self, dag: Dag, task_id: str) -> None:
        self.dag, self.task_id, self.dag_id = dag, task_id, dag.dag_id
        self.task_display_name = self.label = task_id
        step = dag._pipeline.step(task_id)
        settings = getattr(step, "engine", NO_SETTINGS)
        self.task_type = getattr(step, "type", "")
        self.retries = 0 if settings.retries is ABSENT else settings.retries
        self.retry_delay = timedelta(
            seconds=settings.retry_delays[0] if settings.retry_delays else 0
        )
        self.trigger_rule = TriggerRule(settings.trigger_rule or "all_success")
        self.doc_md = settings.doc or None
        self.params = dict(dag.params)
        self.pool = settings.pool or "default_pool"
        self.owner = "airflow"
        self.inlets: list[Any] = []
        self.outlets: list[Any] = []

    @property
    def log(self) -> logging.Logger:
        """The logger of tasks."""
        return logging.getLogger("airflow.task")

    def render_template(self, content: Any, context: Mapping[str, Any], *_: Any) -> Any:
        """The content with the templates in its strings rendered."""
        return _rendered(content, context)

    @property
    def upstream_task_ids(self) -> set[str]:
        """The steps directly before this one."""
        return set(_edges(self.dag._pipeline).predecessors(self.task_id))

    @property
    def downstream_task_ids(self) -> set[str]:
        """The steps directly after this one."""
        return set(_edges(self.dag._pipeline).successors(self.task_id))

    @property
    def upstream_list(self) -> list[Task]:
        """The tasks directly before this one."""
        return [Task(self.dag, one) for one in sorted(self.upstream_task_ids)]

    @property
    def downstream_list(self) -> list[Task]:
        """The tasks directly after this one."""
        return [Task(self.dag, one) for one in sorted(self.downstream_task_ids)]


def _rendered(content: Any, context: Mapping[str, Any]) -> Any:
    match content:
        case str():
            return render(content, context)
        case list() | tuple():
            return type(content)(_rendered(one, context) for one in content)
        case dict():
            return {name: _rendered(one, context) for name, one in content.items()}
    return content


def _edges(pipeline: Pipeline) -> Any:
    return graph(pipeline)


def _task_id(run: RunContext) -> str:
    """The task that a step is part of: the body of a ForEach, or the function of a command."""
    for suffix in ("-item", "-command"):
        name = run.step.removesuffix(suffix)
        if name != run.step and run.pipeline.step(name) is not None:
            return name
    return run.step


class TaskInstance:
    """The step that runs, with the attributes of a task instance."""

    def __init__(self, run: RunContext, dag_run: DagRun, task: Task) -> None:
        self._run, self.dag_run, self.task = run, dag_run, task
        self.task_id, self.dag_id, self.run_id = task.task_id, run.name, run.run_id
        self.map_index = -1 if run.index is None else run.index
        self.try_number, self.max_tries = run.try_number, run.retries
        self.start_date = macros.utcnow()
        self.end_date: Any = None
        self.state = TaskInstanceState.RUNNING
        self.hostname = str(run.facts.get("hostname", ""))
        self.log_url = str(run.facts.get("url", ""))
        self.log = logging.getLogger("airflow.task")
        self.id = run.facts.get("task_run_id", "")

    @property
    def is_mapped(self) -> bool:
        """Whether the step is in the body of a ForEach."""
        return self.map_index >= 0

    @property
    def key(self) -> Any:
        """What identifies the task instance."""
        names = ("dag_id", "task_id", "run_id", "try_number", "map_index")
        return SimpleNamespace(**{name: getattr(self, name) for name in names})

    @property
    def logical_date(self) -> Any:
        """The logical date of the run."""
        return self.dag_run.logical_date

    execution_date = logical_date  # its name in Airflow 2

    def get_template_context(self) -> dict[str, Any]:
        """The context of the step."""
        return get_current_context()

    def get_dagrun(self) -> DagRun:
        """The run."""
        return self.dag_run

    def get_previous_ti(self, *_: Any, **__: Any) -> None:
        """None: earlier flow runs are not read."""

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        """Keeps a value for later steps, by a key."""
        self._run.push(key, value)

    def xcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,
        key: str = _RETURN_VALUE,
        include_prior_dates: bool = False,
        *,
        map_indexes: int | Iterable[int] | None = _NOT_GIVEN,
        default: Any = None,
        run_id: str | None = None,
    ) -> Any:
        """The value that a step has returned, or pushed by a key; a list for several steps.

        Raises AirflowException for another DAG or run.
        """
        if dag_id not in (None, self.dag_id) or run_id not in (None, self.run_id):
            raise AirflowException("a flow cannot read the XComs of another DAG or run")
        if isinstance(map_indexes, Iterable):
            indexes: list[int | None] = list(map_indexes)
        elif isinstance(map_indexes, int) and map_indexes >= 0:
            indexes = [map_indexes]
        else:
            indexes = [None]
        tasks = self.task_id if task_ids is None else task_ids
        names = [tasks] if isinstance(tasks, str) else list(tasks)
        found = [self._pulled(name, key, index, default) for name in names for index in indexes]
        return found[0] if isinstance(tasks, str) and len(indexes) == 1 else found

    def _pulled(self, task_id: str, key: str, index: int | None, default: Any) -> Any:
        value = self._run.pull(task_id, key, index)
        return default if value is None else value

    def __repr__(self) -> str:
        return f"<TaskInstance: {self.dag_id}.{self.task_id} {self.run_id} [{self.state}]>"


RuntimeTaskInstanceProtocol = TaskInstance


class _Accessor:
    """Values by attribute or ``get``, as ``var.value`` and ``conn`` in templates."""

    def __init__(self, read: Callable[..., Any], errors: type[Exception]) -> None:
        self._read, self._errors = read, errors

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._read(name)

    def get(self, name: str, default: Any = None, default_conn: Any = None) -> Any:
        """The value; the default if it does not exist."""
        try:
            return self._read(name)
        except self._errors:
            return default if default_conn is None else default_conn


class _AssetEvents(list[Any]):
    """The events of an asset: earlier runs left none, and what code adds is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.extra: dict[str, Any] = {}

    def add(self, *_: Any, **__: Any) -> None:
        """Adds an event for an alias, or for a partition."""

    add_partitions = add


_VARIABLES: Mapping[str, Any] = {
    "value": _Accessor(Variable.get, AirflowException),
    "json": _Accessor(lambda key: Variable.get(key, deserialize_json=True), AirflowException),
}
_CONNECTIONS = _Accessor(Connection.get, AirflowException)


def airflow_context(run: RunContext) -> dict[str, Any]:
    """Airflow's context for the code of a step."""
    dag, dag_run = Dag(run), DagRun.of(run)
    task = Task(dag, _task_id(run))
    instance = TaskInstance(run, dag_run, task)
    date = dag_run.logical_date
    day, moment = date.strftime("%Y-%m-%d"), date.isoformat()
    found = {
        "conn": _CONNECTIONS,
        "dag": dag,
        "dag_run": dag_run,
        "data_interval_end": date,
        "data_interval_start": date,
        "ds": day,
        "ds_nodash": day.replace("-", ""),
        "exception": None,
        "expanded_ti_count": None,
        "inlet_events": defaultdict(_AssetEvents),
        "inlets": [],
        "logical_date": date,
        "macros": macros,
        "map_index_template": None,
        "outlet_events": defaultdict(_AssetEvents),
        "outlets": [],
        "partition_date": None,
        "partition_key": None,
        "params": dict(run.parameters),
        **dict.fromkeys(_PREVIOUS),
        "reason": None,
        "run_id": run.run_id,
        "task": task,
        "task_instance": instance,
        "task_instance_key_str": f"{run.name}__{task.task_id}__{day.replace('-', '')}",
        "task_reschedule_count": 0,
        "templates_dict": None,
        "test_mode": False,
        "ti": instance,
        "triggering_asset_events": {},
        "try_number": run.try_number,
        "ts": moment,
        "ts_nodash": date.strftime("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz": moment.replace("-", "").replace(":", ""),
        "var": _VARIABLES,
    }
    return with_old_dates(found)


_PREVIOUS = (
    "prev_data_interval_end_success",
    "prev_data_interval_start_success",
    "prev_end_date_success",
    "prev_start_date_success",
)


def get_current_context() -> dict[str, Any]:
    """Airflow's context. Raises UsageError outside of a step."""
    return airflow_context(current_run())


class Asset:
    """Airflow's Asset: a name and a URI."""

    def __init__(
        self,
        name: str | None = None,
        uri: str | None = None,
        *,
        group: str = "asset",
        extra: Mapping[str, Any] | None = None,
        watchers: Iterable[Any] = (),
    ) -> None:
        self.name, self.uri = name or uri or "", uri or name or ""
        self.group, self.extra, self.watchers = group, dict(extra or {}), list(watchers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asset) and (self.name, self.uri) == (other.name, other.uri)

    def __hash__(self) -> int:
        return hash((self.name, self.uri))


class AssetAlias(Asset):
    """Airflow's AssetAlias."""


@dataclass
class Metadata:
    """What a task adds to the event of an asset."""

    asset: Asset
    extra: Mapping[str, Any] | None = None
    alias: AssetAlias | None = None


@dataclass
class PokeReturnValue:
    """The result of a sensor: whether it is done, and its value."""

    is_done: bool
    xcom_value: Any = None

    def __bool__(self) -> bool:
        return self.is_done
