"""Builds DAGs from pipelines: from one, or from every definition in a folder."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from inspect import signature
from pathlib import Path
from typing import Any, TypeAlias

import sagebridge
from sagebridge.authoring.airflow_schedules import TASK_ID, own_schedule, small_dags
from sagebridge.authoring.dag_pipeline import (
    default_arguments,
    legal_id,
    param_schema,
    shown_default,
    steps_of,
    task_ids,
    watch_id,
)
from sagebridge.authoring.declared_names import unknown_arguments
from sagebridge.authoring.step_arguments import write_arguments
from sagebridge.errors import SagebridgeError
from sagebridge.model.connections import for_airflow, own_connections
from sagebridge.model.display import free_name
from sagebridge.model.event_triggers import Starter
from sagebridge.model.for_each import ForEachStep, body_owners, most_iterations
from sagebridge.model.graph import hidden_failures
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.schedules import Schedule
from sagebridge.model.values import ABSENT, EMPTY, thaw
from sagebridge.model.visit import rebuild
from sagebridge_operators.airflow._compat import DAG, Param, get_parsing_context
from sagebridge_operators.airflow.condition_operator import ConditionOperator
from sagebridge_operators.airflow.failure_watcher import WatchOperator
from sagebridge_operators.airflow.run_time_values import PlainTextWarning
from sagebridge_operators.airflow.step_operators import (
    OPERATOR_ARGUMENTS,
    OPERATORS,
    FailOperator,
    StepOperator,
)


# Definition files that become DAGs: their names, and a cache of what was read from them.
@dataclass(frozen=True, slots=True)
class Definition:
    """A file with a definition or a CreatePipeline document.

    ``path`` is the one that the user sees.
    """

    path: Path

    @property
    def name(self) -> str:
        """The name of the pipeline if the file has none."""
        return self.path.parent.name if self.path.name == "definition.json" else self.path.stem

    def named(self, pipeline: Pipeline, read_from: Path) -> Pipeline:
        """The pipeline, which has the name of the file that was read unless it has its own."""
        named_after_file = pipeline.name in (None, read_from.stem)
        return replace(pipeline, name=self.name) if named_after_file else pipeline

    def may_have_id(self, dag_id: str) -> bool:
        """Whether the DAG of this file may have this id; found without reading the pipeline."""
        if legal_id(self.name) == dag_id:
            return True
        try:
            document = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return False  # its DAG is named after the file
        if not isinstance(document, dict):
            return False
        declared = document.get("PipelineName")
        in_template = "Resources" in document  # of CloudFormation, which has the name further down
        return in_template or (isinstance(declared, str) and legal_id(declared) == dag_id)

    def read(self) -> Pipeline | str:
        """The pipeline, or the reason why it cannot be read. Cached until the file changes."""
        try:
            stat = self.path.stat()
        except OSError as error:
            return f"{self.path}: {error.strerror}"
        read = _read(self.path, stat.st_mtime_ns, stat.st_size)
        return self.named(read, self.path) if isinstance(read, Pipeline) else read


@lru_cache(maxsize=4096)
def _read(path: Path, changed: int, size: int) -> Pipeline | str:
    """Reads and checks a file; its time and size are only the key of the cache."""
    return read_valid(str(path), str(path))


def read_valid(source: Any, origin: str) -> Pipeline | str:
    """The pipeline of a definition or SDK pipeline, or the reason why it cannot be run."""
    try:
        (checked,) = sagebridge.read_checked(source, "sagemaker")
    except SagebridgeError as error:
        return str(error)
    errors = [found for found in checked.findings if found.severity == "error"]
    if errors:
        places = (f"line {found.line}: {found.message} [{found.code}]" for found in errors)
        return f"{origin}: " + "; ".join(places)
    return checked.pipeline


_SET_BY_BUILD = frozenset(("dag_id", "default_args", "params"))
"""DAG arguments that :func:`build` takes from the pipeline and from its own arguments."""


_Given: TypeAlias = tuple[Mapping[str, Any], Mapping[str, Any]]
"""``dag_args`` and ``operator_args``."""


def build(
    pipeline: Pipeline,
    *,
    dag_id: str | None = None,
    dag_args: Mapping[str, Any] = EMPTY,
    **operator_args: Any,
) -> DAG:
    """Builds the DAG of a pipeline: one task per step, one Param per parameter.

    Each schedule and event trigger gets a small DAG, which starts runs of this one; a single
    schedule without parameters is that of the DAG itself. Airflow finds the small DAGs if ``build``
    is called while it imports a DAG file.

    Args:
        pipeline: a pipeline, as ``sagebridge.read(path).pipeline``.
        dag_id: default: the pipeline's name.
        dag_args: arguments of the DAG, such as ``{"schedule": "@daily", "tags": ["nightly"]}``. A
            schedule here replaces those of the pipeline, and its event triggers.
        operator_args: default arguments of all operators, such as ``backend``, ``aws_conn_id`` or
            ``role_arn``.

    Raises TypeError for an argument that neither the DAG nor its operators have.
    """
    check_arguments("build()", dag_args, operator_args)
    return all_dags(pipeline, dag_id, dag_args, operator_args)[0]


def all_dags(
    pipeline: Pipeline,
    dag_id: str | None,
    dag_args: Mapping[str, Any],
    operator_args: Mapping[str, Any],
) -> list[DAG]:
    """The DAG of a pipeline, then those of its schedules and event triggers."""
    dag_id = dag_id or legal_id(pipeline.name or "pipeline")
    if "schedule" in dag_args:
        pipeline = replace(pipeline, schedules=(), event_triggers=())
    limit = pipeline.parallelism
    own: dict[str, Any] = {
        **_schedule(pipeline),
        "description": None if pipeline.description is ABSENT else pipeline.description,
        "max_active_tasks": (
            _most_tasks(pipeline) if limit is ABSENT else limit.max_parallel_execution_steps
        ),
        # A definition is data: none of its strings is a template.
        "render_template_as_native_obj": False,
        **dag_args,
    }
    own["tags"] = ["sagebridge", *own.get("tags", ())]
    with DAG(
        dag_id=dag_id,
        params={parameter.name: param(parameter) for parameter in pipeline.declared},
        default_args={**default_arguments(pipeline, dag_id), **operator_args},
        **own,
    ) as dag:
        StepBuilder(own_arguments(pipeline)).build(pipeline.steps)
        if hidden := hidden_failures(pipeline):
            by_name = steps_of(dag)
            watched = [by_name[name] for name in hidden]
            WatchOperator(task_id=watch_id(pipeline), watched=watched)
    return [dag, *(_small_dag(small, one, dag) for small, one in small_dags(pipeline, dag_id))]


def _schedule(pipeline: Pipeline) -> dict[str, Any]:
    """The arguments of the DAG for its schedule, or for the small DAGs that start its runs."""
    if not pipeline.starters:
        return {"schedule": None}
    # Imported here: few pipelines have schedules, and each parse imports this module.
    from sagebridge_operators.airflow.schedule_timetable import EventBridgeTimetable

    if (schedule := own_schedule(pipeline)) is not None:
        return {"schedule": EventBridgeTimetable.of(schedule), "catchup": False}
    return {"schedule": None, "is_paused_upon_creation": False}


def _small_dag(dag_id: str, starter: Starter, pipeline: DAG) -> DAG:
    from sagebridge_operators.airflow.schedule_timetable import EventBridgeTimetable
    from sagebridge_operators.airflow.start_operator import StartPipelineOperator

    if isinstance(starter, Schedule):
        own: dict[str, Any] = {"schedule": EventBridgeTimetable.of(starter), "catchup": False}
        arguments: dict[str, Any] = {"parameters": starter.parameters}
    else:
        own, arguments = {"schedule": None}, {"event_trigger": starter}
        if starter.enabled and starter.queue is not ABSENT:
            # Imported here: Airflow 2 has no assets that are watched.
            from sagebridge_operators.airflow.event_queue import queue_asset

            own = {"schedule": [queue_asset(starter.queue)]}
    with DAG(dag_id=dag_id, tags=["sagebridge"], **own) as dag:
        StartPipelineOperator(task_id=TASK_ID, pipeline=pipeline, **arguments)
    return dag


def _most_tasks(pipeline: Pipeline) -> int:
    """How many tasks of the pipeline may run at the same time; at least 1."""
    loops = {step.name: step for step in walk(pipeline) if isinstance(step, ForEachStep)}
    owners = body_owners(pipeline)
    own = (
        most_iterations(loops[owners[s.name]]) if s.name in owners else 1 for s in walk(pipeline)
    )
    return max(1, sum(own) + len(loops))


def check_arguments(
    function: str, dag_args: Mapping[str, Any], operator_args: Mapping[str, Any]
) -> None:
    """Raises TypeError for unknown arguments: default_args of a DAG may have any name."""
    for_dag = [name for name in signature(DAG).parameters if name not in _SET_BY_BUILD]
    for name in operator_args:
        if name in for_dag and name not in OPERATOR_ARGUMENTS:
            raise TypeError(
                f"{function}: {name!r} is an argument of the DAG; "
                f"pass it in dag_args={{{name!r}: ...}}"
            )
    problems = (
        unknown_arguments(function, operator_args, OPERATOR_ARGUMENTS, ("dag_args", "dag_id")),
        unknown_arguments(f"{function}: dag_args", dag_args, for_dag),
    )
    if found := "; ".join(filter(None, problems)):
        raise TypeError(found)


def own_arguments(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """The arguments of each operator that its step does not have: task id and connection."""
    connections = own_connections(pipeline)
    return {
        name: {"task_id": task_id, **thaw(for_airflow(connections.get(name, EMPTY)))}
        for name, task_id in task_ids(pipeline).items()
    }


@dataclass(frozen=True, slots=True)
class StepBuilder:
    """Creates the operators of steps.

    Args:
        own: the arguments of each operator that its step does not have.
        change: replaces the values in the steps; the result may contain values of Airflow.
    """

    own: Mapping[str, Mapping[str, Any]]
    change: Callable[[Any], Any] = lambda value: value

    def build(self, steps: Sequence[Step]) -> list[StepOperator]:
        with warnings.catch_warnings():
            # A definition is data: none of its strings is a template.
            warnings.simplefilter("ignore", PlainTextWarning)
            return [self._operator(step) for step in steps]

    def _operator(self, step: Step) -> StepOperator:
        common = write_arguments(step)
        common |= {**self.own[step.name], "step_name": common.pop("name")}
        common |= {name: self._value(common[name]) for name in ("arguments", "extra")}
        if isinstance(step, ConditionStep):
            return ConditionOperator(
                conditions=self._value(step.conditions),
                if_steps=ABSENT if step.if_steps is ABSENT else self.build(step.if_steps),
                else_steps=ABSENT if step.else_steps is ABSENT else self.build(step.else_steps),
                **common,
            )
        if isinstance(step, ForEachStep):
            return self._for_each(step, common)
        if step.type in OPERATORS:
            return OPERATORS[step.type](**common)
        return StepOperator(step_type=step.type, **common)

    def _for_each(self, step: ForEachStep, common: Mapping[str, Any]) -> StepOperator:
        # Imported here: few pipelines have a ForEach, and each parse imports this module.
        from sagebridge_operators.airflow.for_each_operator import ForEachOperator

        items = self._value(step.items)
        if isinstance(items, str) and items is not step.items:  # the value of a parameter
            with suppress(ValueError):
                items = json.loads(items)
        loop = ForEachOperator(
            items=items,
            max_concurrency=self._value(step.max_concurrency),
            selector=step.selector,
            body=ABSENT if step.body is ABSENT else (),
            **common,
        )
        if step.inner:
            with loop:
                self.build(step.inner)
        return loop

    def _value(self, value: Any) -> Any:
        return rebuild(value, self.change)


def param(parameter: Parameter) -> Param:
    """The Param of a pipeline parameter, for Airflow's trigger form."""
    schema = param_schema(parameter)
    if parameter.description is not ABSENT:
        schema["description"] = parameter.description
    if parameter.default is ABSENT:
        return Param(**schema)
    return Param(thaw(shown_default(parameter)), **schema)


def load_folder(
    folder: str | Path,
    namespace: MutableMapping[str, Any],
    *,
    dag_args: Mapping[str, Any] = EMPTY,
    **operator_args: Any,
) -> list[DAG]:
    """Builds the DAGs of every definition in a folder, as :func:`build`, and returns them.

    Args:
        folder: the folder with the definitions: ``*.json`` and ``*/definition.json``. The latter
            are named after their folder.
        namespace: ``globals()`` of the DAG file, where Airflow finds the DAGs.
        dag_args: arguments of every DAG, as in :func:`build`.
        operator_args: default arguments of all operators, as in :func:`build`.

    A definition that cannot be read or is not valid becomes a DAG with one failing task that shows
    the reason, since an exception would hide the other DAGs. When Airflow starts a task, only the
    DAG of that task is built. Raises TypeError for an unknown argument.
    """
    check_arguments("load_folder()", dag_args, operator_args)
    folder = Path(folder)
    definitions = [
        Definition(path)
        for path in sorted((*folder.glob("*.json"), *folder.glob("*/definition.json")))
    ]
    given = (dag_args, operator_args)
    wanted = get_parsing_context().dag_id
    # A DAG such as "name-2" may belong to a second definition of that name.
    if wanted is None or re.fullmatch(r".+-[0-9]+", wanted):
        dags = _build_all(definitions, given)
    else:
        dags = _build_one(definitions, wanted, given)
    namespace.update({f"dag_{position}": dag for position, dag in enumerate(dags)})
    return dags


def _build_all(definitions: Sequence[Definition], given: _Given) -> list[DAG]:
    dags: dict[str, DAG] = {}
    for definition in definitions:
        for built in _build(definition, given):
            name = free_name(built.dag_id, dags, separator="-")
            problem = f"{definition.path}: another definition already has the name {built.dag_id!r}"
            dags[name] = built if name == built.dag_id else _error_dag(name, problem)
    return list(dags.values())


def _build_one(definitions: Sequence[Definition], wanted: str, given: _Given) -> list[DAG]:
    """The DAG with the id ``wanted``, and others of its definition; empty if none has it."""
    # The DAG of a schedule has the id of the pipeline's DAG, a dot and a name.
    ids = [wanted, *(wanted[: dot.start()] for dot in re.finditer(r"\.", wanted))]
    for definition in definitions:
        if any(map(definition.may_have_id, ids)):
            dags = _build(definition, given)
            if any(dag.dag_id == wanted for dag in dags):
                return dags
    return []


def _build(definition: Definition, given: _Given) -> list[DAG]:
    read = definition.read()
    return (
        [_error_dag(definition.name, read)]
        if isinstance(read, str)
        else all_dags(read, None, *given)
    )


def _error_dag(name: str, reason: str) -> DAG:
    with DAG(
        dag_id=legal_id(name), schedule=None, tags=["sagebridge", "broken"], doc_md=f"{reason}\n"
    ) as dag:
        FailOperator(task_id="definition_cannot_be_read", error_message=reason)
    return dag
