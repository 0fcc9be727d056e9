"""Write a pipeline as an Airflow DAG file that reads like hand-written code.

The file has the parameters first, then one block per step in dependency order, with references as
``step.properties.A["b"]``. What Airflow cannot express is kept in arguments of sagebridge
operators or, for the pipeline as a whole, in the DAG's default argument ``definition``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from itertools import groupby

from sagebridge.authoring.airflow_schedules import (
    TASK_ID,
    native_cron,
    own_schedule,
    small_dags,
    timetable_arguments,
)
from sagebridge.authoring.dag_pipeline import (
    default_arguments,
    legal_id,
    param_schema,
    shown_default,
    task_ids,
    watch_id,
)
from sagebridge.authoring.file_arguments import in_groups
from sagebridge.authoring.task_settings import (
    flow_hooks,
    written_dag_settings,
    written_settings,
)
from sagebridge.formats.python.blocks import Block, blocks_text, guarded_block
from sagebridge.formats.python.constant_loops import rolled
from sagebridge.formats.python.engine_losses import engine_losses
from sagebridge.formats.python.source_code import Names, array, call
from sagebridge.formats.python.step_calls import (
    AIRFLOW_NAMES,
    NESTED_BLOCKS,
    Functions,
    StepSource,
    absent_arguments,
    comments_of,
    description_of,
    file_text,
    import_from,
)
from sagebridge.model.code_steps import AWS_CALL, PYTHON, SHELL, STUB, CarriedStep
from sagebridge.model.connections import for_airflow, own_connections
from sagebridge.model.event_triggers import Starter
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.graph import hidden_failures
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.schedules import Schedule
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge.model.values import ABSENT, EMPTY

PACKAGE = "sagebridge_operators.airflow"
_DAG, _PARAM, _GROUP, _DELTA = "DAG", "Param", "TaskGroup", "timedelta"
_CRON = "CronTriggerTimetable"
_MODULES = {
    **dict.fromkeys((_DAG, _PARAM, _GROUP), "airflow.sdk"),
    **dict.fromkeys(("UTC", "datetime", _DELTA), "datetime"),
    _CRON: "airflow.timetables.trigger",
}
"""The modules of the names that are not imported from ``PACKAGE``."""
_IMPORTABLE = frozenset((*AIRFLOW_NAMES, *(row.operator for row in OPERATOR_TYPES.values())))
_CODE_OPERATORS = {
    PYTHON: ("PythonStepOperator", "python_callable"),
    SHELL: ("ShellStepOperator", "bash_command"),
    STUB: ("StubOperator", "reason"),
    AWS_CALL: ("AwsCallOperator", "service"),
}
"""The operator of each kind of carried step, and the argument with its code or reason."""


def write(pipeline: Pipeline, reading: Sequence[Loss] = ()) -> tuple[str, tuple[Loss, ...]]:
    """The source of a DAG file, and what Airflow cannot express.

    The file has a comment for each of these losses, and for those of ``reading`` the pipeline.
    """
    losses = tuple(engine_losses(pipeline, "airflow"))
    file = DagFileWriter(pipeline, (*reading, *losses))
    text = file.text()
    if file.functions.renamed:  # the names that the file imports are known now
        text = DagFileWriter(pipeline, file.all_losses, (_DAG, _PARAM, *file.names.imported)).text()
    return text, losses


def _group_at(depth: int) -> Callable[[Step], tuple[str, ...]]:
    return lambda step: step.engine.group[depth : depth + 1]


class DagFileWriter:
    """The source of one DAG file. No carried function has one of the names ``taken``."""

    def __init__(
        self,
        pipeline: Pipeline,
        losses: Sequence[Loss] = (),
        taken: Collection[str] = _IMPORTABLE,
    ) -> None:
        self.pipeline, self.all_losses = pipeline, losses
        self.comments = comments_of(pipeline, losses)
        self.task_ids = task_ids(pipeline)
        self.dag_id = legal_id(pipeline.name or "pipeline")
        self.small_dags = dict(small_dags(pipeline, self.dag_id))
        self.connections = own_connections(pipeline)
        self.functions = Functions(pipeline, taken, "airflow")
        reserved = self.functions.names | _IMPORTABLE | frozenset(_MODULES)
        self.names = Names(reserved, self.functions.foreign(_MODULES, PACKAGE))
        self.steps = StepSource(self.names)
        self.expressions = self.steps.expressions
        self.groups: set[tuple[str, ...]] = set()
        self.variable = self.names.free("dag") if self.small_dags else ""

    def text(self) -> str:
        """The source."""
        variable = ast.Name(self.variable, ast.Store()) if self.variable else None
        opening = _with(self._dag(), variable)
        blocks = [*self._blocks(self.pipeline.steps), *self._watch()]
        steps = rolled(blocks, self.names, absent_arguments(self.names), self.functions)
        dags = [Block(opening, self.comments.get("", ()), steps)]
        dags += (Block(self._small_dag(dag_id, one)) for dag_id, one in self.small_dags.items())
        body = blocks_text(dags)
        return file_text("an Airflow DAG", self.pipeline, self._imports(), self.functions, body)

    def _imports(self) -> Iterator[str]:
        carried = self.functions.modules.imported
        modules = ("datetime", "airflow.sdk", _MODULES[_CRON], PACKAGE)
        wanted: dict[str, list[str]] = {one: [] for one in modules}
        for name in sorted(self.names.imported):
            module = _MODULES.get(name, PACKAGE)
            if carried.get(name) != (module, name):
                wanted[module].append(name)
        for module, names in wanted.items():
            if names:
                yield import_from(module, names, self.names.foreign)

    def _dag(self) -> ast.expr:
        pipeline = self.pipeline
        keywords = {
            "dag_id": ast.Constant(self.dag_id),
            **self._schedule(own_schedule(pipeline), ""),
        }
        if self.small_dags:  # they start runs, which would wait while this DAG is paused
            keywords["is_paused_upon_creation"] = ast.Constant(False)
        if isinstance(pipeline.description, str):
            keywords["description"] = description_of(pipeline)
        if params := {one.name: self._param(one) for one in pipeline.declared}:
            names: list[ast.expr | None] = [ast.Constant(name) for name in params]
            keywords["params"] = ast.Dict(names, list(params.values()))
        if pipeline.parallelism is not ABSENT:
            limit = pipeline.parallelism.max_parallel_execution_steps
            keywords["max_active_tasks"] = ast.Constant(limit)
        if arguments := default_arguments(pipeline, self.dag_id):
            keywords["default_args"] = self.expressions.value(arguments)
        settings = written_dag_settings(pipeline.engine)
        keywords.update(self.steps.settings(settings, self.functions))
        for name, function in flow_hooks(pipeline.engine):
            hook = call(self.names.use("FlowHook"), self.functions.name(function))
            given = keywords.get(name, array(()))
            assert isinstance(given, ast.List)
            keywords[name] = array((*given.elts, hook))
        tags = ("sagebridge", *pipeline.engine.tags)
        keywords["tags"] = array(map(ast.Constant, tags))
        return call(self.names.use(_DAG), **keywords)

    def _schedule(self, schedule: Schedule | None, name: str) -> dict[str, ast.expr]:
        """The schedule of a DAG, and its start and end.

        A schedule that is read back without a name gets ``name``.
        """
        if schedule is None:
            return {"schedule": ast.Constant(None)}
        if cron := native_cron(self.pipeline, schedule, name):
            zone = ast.Constant(schedule.timezone)
            found: dict[str, ast.expr] = {
                "schedule": call(self.names.use(_CRON), ast.Constant(cron), timezone=zone)
            }
            for keyword, moment in (("start_date", schedule.start), ("end_date", schedule.end)):
                if isinstance(moment, str):
                    found[keyword] = self._instant(datetime.fromisoformat(moment))
            return {**found, "catchup": ast.Constant(False)}
        arguments = timetable_arguments(schedule)
        expression = self.expressions.value(arguments.pop("expression"))
        keywords = {name: self.expressions.value(value) for name, value in arguments.items()}
        timetable = call(self.names.use("EventBridgeTimetable"), expression, **keywords)
        return {"schedule": timetable, "catchup": ast.Constant(False)}

    def _instant(self, moment: datetime) -> ast.expr:
        parts = moment.timetuple()[
            : 6 if moment.second else 5 if moment.hour or moment.minute else 3
        ]
        numbers = map(ast.Constant, parts)
        return call(self.names.use("datetime"), *numbers, tzinfo=self.names.use("UTC"))

    def _small_dag(self, dag_id: str, starter: Starter) -> ast.stmt:
        """The DAG of a schedule or event trigger, which starts runs of the pipeline's DAG."""
        keywords: dict[str, ast.expr] = {
            "task_id": ast.Constant(TASK_ID),
            "pipeline": ast.Name(self.variable, ast.Load()),
        }
        if isinstance(starter, Schedule):
            schedule = self._schedule(starter, dag_id.removeprefix(f"{self.dag_id}."))
            if starter.parameters:
                keywords["parameters"] = self.expressions.value(starter.parameters)
        else:
            schedule = {"schedule": ast.Constant(None)}
            keywords["event_trigger"] = self.steps.record(starter)
            if starter.enabled and isinstance(starter.queue, str):
                queue = ast.Constant(starter.queue)
                schedule = {"schedule": array([call(self.names.use("queue_asset"), queue)])}
        tags = array([ast.Constant("sagebridge")])
        dag = call(self.names.use(_DAG), dag_id=ast.Constant(dag_id), **schedule, tags=tags)
        operator = call(self.names.use("StartPipelineOperator"), **keywords)
        return ast.With([ast.withitem(dag)], [ast.Expr(operator)])

    def _param(self, parameter: Parameter) -> ast.expr:
        schema = param_schema(parameter)
        keywords = {name: self.expressions.value(value) for name, value in schema.items()}
        if isinstance(parameter.description, str):
            keywords["description"] = ast.Constant(parameter.description)
        default = () if parameter.default is ABSENT else (shown_default(parameter),)
        return call(self.names.use(_PARAM), *map(self.expressions.value, default), **keywords)

    def _blocks(self, steps: Sequence[Step], depth: int = 0, level: int = 0) -> Iterator[Block]:
        """One assignment or ``with`` block per step, if possible after those it refers to.

        ``depth`` is the number of task groups around them, and ``level`` that of all blocks.
        """
        for group, members in groupby(in_groups(steps, depth), _group_at(depth)):
            found = list(members)
            path = found[0].engine.group[: depth + 1]
            # A group cannot be opened again: a second one of its name is another group.
            if not group or path in self.groups:
                for step in found:
                    yield from self._block(step, level)
                continue
            self.groups.add(path)
            opening = _with(call(self.names.use(_GROUP), ast.Constant(*group)))
            yield Block(opening, (), list(self._blocks(found, depth + 1, level + 1)))

    def _block(self, step: Step, level: int) -> Iterator[Block]:
        branches: dict[str, Sequence[Step]] = {}
        if isinstance(step, ConditionStep):
            branches = {"met": step.if_steps or (), "unmet": step.else_steps or ()}
            if level >= NESTED_BLOCKS:  # arguments of the Condition, which comes after them
                for branch in step.branches:
                    yield from self._block(branch, level)
                branches = {}
        built = self._operator(step, listed=not any(branches.values()))
        variable = ast.Name(self.names.variable(step.name), ast.Store())
        self.expressions.defined.add(step.name)
        comments = self.comments.get(step.name, ())
        if isinstance(step, ForEachStep) and step.body:
            inside = list(self._blocks(step.body, len(step.engine.group), level + 1))
            yield Block(_with(built, variable), comments, inside)
        else:
            yield Block(ast.Assign([variable], built, lineno=0), comments)
        for guard, steps in branches.items():
            if inside := list(self._blocks(steps, len(step.engine.group), level + 1)):
                yield guarded_block(variable.id, guard, inside)

    def _operator(self, step: Step, *, listed: bool) -> ast.expr:
        """The call of an operator; ``listed``: with the steps in its branches as arguments."""
        row = None if isinstance(step, CarriedStep) else OPERATOR_TYPES.get(step.type)
        task_id = self.task_ids[step.name]
        keywords: dict[str, ast.expr] = {"task_id": ast.Constant(task_id)}
        if task_id != step.name or "." in task_id:
            keywords["step_name"] = ast.Constant(step.name)
        name = row.operator if row else "StepOperator"
        if isinstance(step, CarriedStep):
            name, argument = _CODE_OPERATORS[step.type]
            code, arguments = self.steps.carried(step, self.functions)
            keywords[argument] = code
            for one, value in arguments.items():
                keywords[f"op_{one}" if one in ("args", "kwargs") else one] = value
        elif row is None:
            keywords["step_type"] = ast.Constant(step.type)
        branches = dict(self._inner(step, listed=listed))
        keywords.update(self.steps.arguments(step, branches))
        keywords.update(self.steps.settings(written_settings(step.engine), self.functions))
        connection = for_airflow(self.connections.get(step.name, EMPTY))
        keywords.update({one: self.expressions.value(connection[one]) for one in connection})
        return call(self.names.use(name), **keywords)

    def _watch(self) -> Iterator[Block]:
        """The WatchOperator, if the DAG run could succeed although a step failed."""
        if hidden := hidden_failures(self.pipeline):
            watched = array(ast.Name(self.names.variable(name), ast.Load()) for name in hidden)
            task_id = ast.Constant(watch_id(self.pipeline))
            operator = self.names.use("WatchOperator")
            yield Block(ast.Expr(call(operator, task_id=task_id, watched=watched)))

    def _inner(self, step: Step, *, listed: bool) -> Iterator[tuple[str, ast.expr]]:
        if isinstance(step, ForEachStep) and step.body is ABSENT:
            yield "body", self.names.use("ABSENT")
        if not isinstance(step, ConditionStep):
            return
        for argument, branch in (("if_steps", step.if_steps), ("else_steps", step.else_steps)):
            if branch is not ABSENT and (listed or not branch):
                variables = (self.names.variable(inner.name) for inner in branch)
                yield argument, array(ast.Name(variable, ast.Load()) for variable in variables)


def _with(context: ast.expr, variable: ast.expr | None = None) -> ast.With:
    return ast.With([ast.withitem(context, variable)], [ast.Pass()])
