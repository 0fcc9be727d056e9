"""Read a live DAG as a pipeline: its steps, branches and dependencies.

A sagebridge operator has its step as an attribute. An operator of the Amazon provider becomes a
step with the request that it would send (:mod:`~sagebridge.formats.airflow.provider`). Python and
shell tasks become carried steps with their code, and operators in the standard provider calls
of library functions (:mod:`~sagebridge.formats.airflow.standard_operators`). A value that only
Airflow knows at run time stays a template, which both engines render. Everything else is a loss
with its line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from sagebridge.authoring.dag_pipeline import (
    TYPES,
    connection_of,
    is_constant,
    is_nullable,
    own_arguments,
    param_type,
    pipeline_of,
)
from sagebridge.authoring.file_arguments import in_definition_order, step_order
from sagebridge.formats.airflow import dag_options, param_types, provider
from sagebridge.formats.airflow.code_tasks import CodeTask
from sagebridge.formats.airflow.dag_schedules import read_schedules
from sagebridge.formats.airflow.engine_tasks import (
    carried_arguments,
    carried_steps,
    is_carried,
    loss_code,
)
from sagebridge.formats.airflow.job_sensors import JobSensors, own_limits
from sagebridge.formats.airflow.loops import Loops, is_items_task, with_body
from sagebridge.formats.airflow.mapped_tasks import (
    ItemMapping,
    NoForEach,
    code_mapping,
    is_nested,
    limit_of,
    mapped_group,
    mapping_of,
    request_mapping,
    unmapped,
)
from sagebridge.formats.airflow.operator_classes import (
    JOB_SENSORS,
    class_of,
    classes,
    job_names,
    kind_of,
    provider_class,
)
from sagebridge.formats.airflow.provider.provider_task import (
    Builder,
    Task,
    UnreadableTask,
    property_output,
)
from sagebridge.formats.airflow.provider.sagemaker_condition import condition_step
from sagebridge.formats.airflow.sagebridge_tasks import is_mapped_step, output_of, step_of
from sagebridge.formats.airflow.stubs import stub_of
from sagebridge.formats.airflow.task_facts import (
    are_ids,
    is_mapped,
    is_sagebridge,
    label,
    reached,
    with_documentation,
)
from sagebridge.formats.airflow.task_reports import LineNumbers, Reports
from sagebridge.formats.airflow.task_settings import dag_settings, lost_settings, with_settings
from sagebridge.formats.airflow.task_tree import TaskSteps, TaskTree, in_order
from sagebridge.formats.airflow.task_values import Values
from sagebridge.formats.airflow.template_files import read_template_files
from sagebridge.formats.python.function_source import NotSelfContained
from sagebridge.model.branches import BranchGate
from sagebridge.model.code_steps import RETURN_VALUE, CarriedStep, StubStep
from sagebridge.model.connections import AIRFLOW_DEFAULTS, DEFERRABLE, connects
from sagebridge.model.display import free_name, shown
from sagebridge.model.expressions import Get
from sagebridge.model.losses import NO_STEP_TYPE, ON_ITS_OWN, Loss, Severity
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Parallelism, Pipeline, Step, step_references, walk
from sagebridge.model.values import ABSENT, Object, Value, freeze

_MAX_ACTIVE_TASKS = 16
"""Airflow's default for ``max_active_tasks`` (``[core] max_active_tasks_per_dag``)."""
_NOTIFICATIONS = ("asset", "callback")
"""The losses that also matter for a task without a step, such as a sensor for a job."""
_NO_PARAMETERS: Mapping[str, Parameter] = MappingProxyType({})


def read_dag(dag: Any, lines: LineNumbers) -> tuple[Pipeline, tuple[Loss, ...], dict[str, int]]:
    """The pipeline of a DAG, the losses, and the line of each step by name."""
    reader = _DagReader(dag, lines)
    found = reader.result()
    if changed := reader.converted_parameters():
        # The type of a parameter decides how every string that contains it is written.
        found = _DagReader(dag, lines, changed).result()
    return found


class _DagReader:
    """Reads one DAG; ``changed`` are the parameters with another type than their Param."""

    def __init__(
        self, dag: Any, lines: LineNumbers, changed: Mapping[str, Parameter] = _NO_PARAMETERS
    ) -> None:
        self.dag, self.schedules = dag, read_schedules(dag)
        self.tasks: dict[str, Any] = {task.task_id: task for task in dag.tasks}
        types = {
            name: TYPES[type_]
            for name in dag.params
            if (type_ := param_type(dag.params.get_param(name))) is not None
        }
        nullable = [name for name in types if is_nullable(dag.params.get_param(name))]
        types.update((name, one.value_type) for name, one in changed.items())
        self.changed = changed
        self.values = Values(dag, types, converted=changed, nullable=nullable)
        self.groups: dict[str, ItemMapping] = {}
        self.names: dict[str, str] = {}
        self.reports = Reports(dag, lines, self.tasks, self.names, frozenset(types))
        self.names |= self._names()
        self.sensors = JobSensors(self.tasks, self.values)
        self.resources: dict[tuple[str, str], Get] = {}
        self.roles: dict[str, TaskSteps] = {}
        self.stubs: dict[str, StubStep] = {}
        self.dropped_tasks: set[str] = set()
        self.connections: dict[str, dict[str, Value]] = {}

    def result(self) -> tuple[Pipeline, tuple[Loss, ...], dict[str, int]]:
        for loss in (*dag_options.of_dag(self.dag, self.schedules), *lost_settings(self.dag)):
            self.reports.add(self.dag, *loss)
        self._collect_outputs()
        for task_id in in_order(self.tasks):
            self.roles[task_id] = role = self._role(self.tasks[task_id])
            if task_id in self.stubs:
                role.steps = [self.stubs[task_id]]
            self._add_settings(role)
        for task_id, stub in self.stubs.items():
            if type_ := self.values.used_as.get(f"Steps.{stub.name}.{RETURN_VALUE}"):
                self.roles[task_id].steps = [
                    replace(one, returns=type_) if isinstance(one, StubStep) else one
                    for one in self.roles[task_id].steps
                ]
        self._add_groups()
        pipeline = self._pipeline(self._steps_in(None))
        lines = {
            step.name: self.reports.line(role.operator)
            for role in self.roles.values()
            for one in role.steps
            for step in walk((one,))
        }
        return pipeline, self.reports.ordered(), lines

    def _add_groups(self) -> None:
        """Add a ForEach for each mapped task group that is exactly one."""
        members: dict[str, list[Any]] = {}
        for task_id, group_id in self.values.loops.items():
            if group_id in self.groups:  # otherwise it is a mapped operator
                members.setdefault(group_id, []).append(self.tasks[task_id])
        self.loops = Loops(self.tasks, members)
        for group_id, tasks in members.items():
            name = self._loop_name(group_id)
            steps = self.groups[group_id].steps(name, limit_of(tasks, self.dag), ())
            is_step = any(self.roles[task.task_id].steps for task in tasks)
            self.roles[group_id] = TaskSteps(tasks[0], steps if is_step else [])

    def _loop_name(self, group_id: str) -> str:
        if group_id not in self.names:
            taken = set(self.names.values())
            self.names[group_id] = free_name(group_id[:64], taken, group_id[:60], "-")
        return self.names[group_id]

    def _steps_in(self, loop: str | None) -> list[Step]:
        """The steps of the tasks in the body of a ForEach, or outside all of them."""
        tasks = self.loops.tasks_in(loop)
        for task_id in tasks:
            if task_id in self.loops.bodies and (role := self.roles[task_id]).steps:
                body = tuple(self._steps_in(task_id))
                role.steps[-1] = with_body(role.steps[-1], body)
        tree = TaskTree(tasks, {task_id: self.roles[task_id] for task_id in tasks})
        for found in tree.losses:
            task = self.roles[found.task_id].operator
            self.reports.add(task, found.code, found.severity, found.what, found.advice)
        return tree.steps()

    def converted_parameters(self) -> dict[str, Parameter]:
        """The parameters that need another type, once the DAG is read."""
        if not self.values.needed:
            return {}
        own = (task.step for task in self.tasks.values() if is_sagebridge(task))
        fixed = {one.name for step in own for one in step_references(step)}
        declared = pipeline_of(self.dag).declared
        return param_types.converted(declared, self.values.needed, fixed)

    def _pipeline(self, steps: Sequence[Step]) -> Pipeline:
        base = pipeline_of(self.dag)
        for loss in param_types.losses(base.declared, self.changed, self.values.needed):
            self.reports.add(self.dag, *loss)
        declared = tuple(self.changed.get(one.name, one) for one in base.declared)
        used = frozenset(one.name for step in walk(steps) for one in step_references(step))
        parameters = (*declared, *self.reports.added_parameters(used))
        order = step_order(own_arguments(self.dag.default_args)[0])
        limit, count = self.dag.max_active_tasks, len(list(walk(steps)))
        if limit not in (_MAX_ACTIVE_TASKS, count):
            base = replace(base, parallelism=Parallelism(limit))
        if base.description is ABSENT and self.dag.doc_md:
            base = replace(base, description=self.dag.doc_md)
        return replace(
            base,
            steps=in_definition_order(steps, order),
            parameters=parameters or base.parameters,
            connections=freeze(self.connections),
            schedules=self.schedules.schedules,
            event_triggers=self.schedules.triggers,
            engine=dag_settings(self.dag),
        )

    # Names and outputs of tasks

    def _names(self) -> Iterator[tuple[str, str]]:
        """A step name for each task: its id, without its group if that is unique."""
        taken = {task.step.name for task in self.tasks.values() if is_sagebridge(task)}
        counts = Counter(map(label, self.tasks.values()))
        for task_id, task in self.tasks.items():
            # A WatchOperator and the first task of a ForEach are not steps.
            if is_sagebridge(task) or is_items_task(task) or hasattr(task, "watched"):
                yield task_id, task.step.name if is_sagebridge(task) else task_id
                continue
            own_label = label(task)
            wanted = own_label if counts[own_label] == 1 else task_id
            name = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in wanted)
            name = free_name(name[:64], taken, wanted[:60], "-")
            taken.add(name)
            if name != own_label:
                what = f"its step is named {shown(name)}"
                self.reports.add(task, "step-name", "info", what)
            yield task_id, name

    def _collect_outputs(self) -> None:
        ambiguous: set[tuple[str, str]] = set()
        for task_id, task in self.tasks.items():
            kind = kind_of(task)
            if is_sagebridge(task):
                self.values.outputs[task_id] = output_of(task.step)
            if kind is None or is_mapped(task):
                continue
            name = self.names[task_id]
            jobs = [] if type(task).__name__ in JOB_SENSORS else list(job_names(task))
            self.sensors.add(task_id, jobs, kind.steps(task, name))
            if kind.outputs is not None:
                self.values.outputs[task_id] = kind.outputs(task, name)
            if kind.names is not None:
                for field, text, get in kind.names(task, name):
                    if (field, text) in self.resources:  # several tasks create it, as in branches
                        ambiguous.add((field, text))
                    self.resources[field, text] = get
        self.resources = {key: get for key, get in self.resources.items() if key not in ambiguous}

    def _forget(self, task: Any) -> None:
        """Remove the outputs of a dropped task, so that references to them become parameters."""
        self.values.outputs.pop(task.task_id, None)
        name = self.names[task.task_id]
        self.resources = {key: get for key, get in self.resources.items() if get.name != name}

    # Roles

    def _role(self, task: Any) -> TaskSteps:
        reads: Iterable[str] = ()
        role = TaskSteps(task)
        if hasattr(task, "watched"):  # WatchOperator is not a step
            return role
        if is_items_task(task):  # a part of a ForEach
            return role
        self.values.loop = self.values.loops.get(task.task_id)
        self.values.own_params = dag_options.own_params(task)
        for loss in read_template_files(task):
            self.reports.add(task, *loss)
        if is_mapped(task):
            try:
                if (item := self._item_of(task)) is not None:
                    return item
            except NoForEach as why:
                source = "a ForEachOperator" if is_mapped_step(task) else "the output of one task"
                advice = f"use a literal list, or {source}"
                self._drop(task, "mapped-task", str(why), advice)
                return role
        if is_sagebridge(task):
            reads = dag_options.sagebridge_arguments(task)
            step = step_of(task, self.values, partial(self.reports.run_time_value, task))
            step = replace(step, name=self.names[task.task_id])
            step = with_documentation(step, task)
            role = TaskSteps(task, [step], list(self._listed_gate(task)), from_sagebridge=True)
            if not type(task).execute.__module__.startswith("sagebridge_operators."):
                what = f"{type(task).__name__} overrides execute, which the step does not call"
                self.reports.add(task, "operator", "changed", what, "move that code elsewhere")
            if isinstance(task.step, StubStep):
                role.steps = [replace(task.step, origin=str(self.reports.line(task)))]
                reason, advice = task.step.arguments["reason"], "replace it with a step"
                self.reports.add(task, "stub", "dropped", f"it is a stub: {reason}", advice)
            elif isinstance(task.step, CarriedStep):
                self._carry(role)
        elif awaited := self.sensors.awaited(task):
            what = "it is not needed: the step itself waits for its job"
            lost = [f"{name}={value}" for name, value in own_limits(task)]
            if any(self.tasks[one].retries for one in awaited):
                lost.append("a retry starts the job again")
            what = f"{what}, but: {', '.join(lost)}" if lost else what
            self.reports.add(task, "sensor", "changed" if lost else "info", what)
        elif (kind := kind_of(task)) is not None:
            reads = (*kind.reads, *AIRFLOW_DEFAULTS, "region", *dag_options.own_arguments(task))
            reads = tuple(name for name in reads if name != DEFERRABLE)  # an info names it
            self._build(role, kind.build)
        elif class_of(task, {provider.CONDITION}) is not None:
            reads = ("conditions", "condition_type", "left_value", "right_value")
            reads = (*reads, "if_task_ids", "else_task_ids")
            self._build_condition(role)
        elif self._is_end(task):
            what = "it is not needed: a branch of a Condition step may be empty"
            self.reports.add(task, "empty-task", "info", what)
        elif is_carried(task):
            reads = carried_arguments(task)
            self._carry(role)
        else:
            self._drop_other(task)
        if any(map(connects, role.steps)):
            self._connect(role)
        self._report_options(role, frozenset(reads))
        return role

    def _is_end(self, task: Any) -> bool:
        """Whether a task only ends a branch of a SageMakerConditionOperator, which needs a task."""
        before = [self.tasks[one] for one in task.upstream_task_ids if one in self.tasks]
        ends = type(task).__name__ == "EmptyOperator" and not task.downstream_task_ids
        return bool(ends and before) and all(class_of(one, {provider.CONDITION}) for one in before)

    def _item_of(self, task: Any) -> TaskSteps | None:
        """The ForEach of a mapped operator; None for a task in a mapped group, which is its body.

        Raises :class:`NoForEach`.
        """
        if is_nested(task):
            raise NoForEach("it is mapped in a mapped task group")
        if (group := mapped_group(task)) is not None:
            loop = self._loop_name(group.group_id)
            if group.group_id not in self.groups:
                self.groups[group.group_id] = self._group_mapping(group._expand_input, loop)
            arguments = self.groups[group.group_id].arguments
            self.values.mapped[id(group._expand_input)] = arguments
            self.values.loops[task.task_id] = self.values.loop = group.group_id
            last = [one for one, it in self.tasks.items() if mapped_group(it) is group][-1]
            if task.task_id == last:  # its results are those of the ForEach
                self.values.lists[task.task_id] = loop
            return None
        given, name = task._get_specified_expand_input(), self.names[task.task_id]
        items = free_name(f"{name[:57]}-items", self.names.values())
        refused: NoForEach | None = None
        try:
            if is_carried(task) and not is_mapped_step(task):
                raise NoForEach("its items may be any JSON")
            mapping = (request_mapping if is_mapped_step(task) else mapping_of)(given, self.values)
        except NoForEach as why:
            if is_mapped_step(task):
                raise
            mapping, refused = code_mapping(given, self.values, items, task), why
        self.values.loops[task.task_id] = self.values.loop = task.task_id
        losses = dict(self.reports.losses)
        self.names[task.task_id] = free_name(f"{name[:58]}-item", self.names.values())
        try:
            role = self._role(unmapped(task, mapping.arguments))
        except (TypeError, ValueError, AttributeError) as error:
            raise NoForEach(f"its arguments are only known at run time ({error})") from None
        finally:
            self.names[task.task_id] = name
        if task.task_id in self.dropped_tasks:
            self.dropped_tasks.discard(task.task_id)
            self.reports.losses = losses
            del self.stubs[task.task_id]
            raise NoForEach("it is mapped over arguments that only Airflow can read")
        if refused and any(not isinstance(step, CarriedStep) for step in role.steps):
            raise refused  # an item of SageMaker is a scalar
        self._add_settings(role)
        if role.steps and isinstance(role.steps[-1], CarriedStep):
            self.values.lists[task.task_id] = name
        limit = limit_of([task], self.dag)
        return TaskSteps(task, mapping.steps(name, limit, role.steps) if role.steps else [])

    def _group_mapping(self, given: Any, name: str) -> ItemMapping:
        try:
            return mapping_of(given, self.values)
        except NoForEach:
            items = free_name(f"{name[:57]}-items", self.names.values())
            return code_mapping(given, self.values, items)

    def _add_settings(self, role: TaskSteps) -> None:
        """Give the steps of a task its settings; in a ForEach, each to the step that has it."""
        if role.steps:
            inside = role.operator.task_id in self.values.loops
            role.steps = with_settings(role.steps, role.operator, inside=inside)

    def _report_options(self, role: TaskSteps, reads: frozenset[str]) -> None:
        """Report the arguments of a task that are lost, unless the whole task is dropped."""
        task = role.operator
        if self.values.loop is not None or any(task.iter_mapped_task_groups()):
            reads |= {"max_active_tis_per_dagrun"}
        if not role.steps and task.task_id in self.dropped_tasks:
            return
        for loss in (*dag_options.of_task(task, reads, role.steps), *lost_settings(task)):
            is_done = loss.code == "no-wait" and self.sensors.is_awaited(task)
            if (role.steps and not is_done) or loss.code in _NOTIFICATIONS:
                self.reports.add(task, *loss)

    def _connect(self, role: TaskSteps) -> None:
        """Keep the arguments with which a task connects to AWS."""
        task = role.operator
        connection = connection_of(task)
        if connection.get(DEFERRABLE) is False and not is_sagebridge(task):
            del connection[DEFERRABLE]  # the default of the Amazon provider's operators
        self.connections.update({one.name: connection for one in role.steps if connection})
        for name in AIRFLOW_DEFAULTS:
            if not is_constant(getattr(task, name, None)):
                what = f"{name} is only known at run time, so the step has the default"
                self.reports.add(task, "aws-connection", "changed", what, "use a constant")

    def _build(self, role: TaskSteps, build: Builder) -> None:
        task = role.operator
        try:
            role.steps = build(self._task(task))
        except UnreadableTask as why:
            self._forget(task)
            if is_carried(task):
                self._carry(role)
                return
            advice = "use a constant in the DAG file"
            self._drop(task, "run-time-argument", str(why), advice)
            return
        line = str(self.reports.line(task))
        role.steps = [
            replace(one, origin=line) if isinstance(one, CarriedStep) else one for one in role.steps
        ]
        role.steps[-1] = with_documentation(role.steps[-1], task)

    def _task(self, task: Any) -> Task:
        def report(code: str, severity: Severity, what: str, advice: str = "") -> None:
            self.reports.add(task, code, severity, what, advice)

        fallback = partial(self.reports.run_time_value, task)
        return Task(task, self.names[task.task_id], self.values, fallback, report, self.resources)

    def _listed_gate(self, task: Any) -> Iterator[BranchGate]:
        step = task.step
        if hasattr(step, "if_steps"):
            yes, no = (
                tuple(one.task_id for one in branch or ())
                for branch in (task.if_steps, task.else_steps)
            )
            yield BranchGate(step.name, yes, no, fixed=True)

    def _build_condition(self, role: TaskSteps) -> None:
        task = role.operator
        try:
            if not all(map(are_ids, (task.if_task_ids, task.else_task_ids))):
                raise UnreadableTask("its branches are only known at run time")
            step = condition_step(self._task(task))
        except UnreadableTask as why:
            self._drop(task, "branch-callable", str(why), "use a condition operator")
            return
        yes, no = (reached(self.tasks, task, ids) for ids in (task.if_task_ids, task.else_task_ids))
        if not task.else_task_ids:
            message = f"Condition check failed in task {task.task_id!r}"
            arguments = Object({"ErrorMessage": message})
            fail = Step(f"{step.name[:59]}-Fail", "Fail", arguments=arguments)
            step = replace(step, else_steps=(fail,))
        role.steps, role.gates = [step], [BranchGate(step.name, yes, no)]

    def _carry(self, role: TaskSteps) -> None:
        """Read a task of user code or of the standard provider as steps that both engines run."""
        task = role.operator
        name = self.names[task.task_id]
        code = CodeTask(task, name, self.values, str(self.reports.line(task)))
        try:
            role.steps = carried_steps(code)
        except NotSelfContained as why:
            self._drop(task, loss_code(task), f"it {why}", ON_ITS_OWN)
            return
        # Only operators of @task have custom_operator_name (airflow/sdk/bases/decorator.py).
        # Airflow sets their doc_md to the docstring, which the function already has.
        if not hasattr(task, "custom_operator_name"):
            role.steps[-1] = with_documentation(role.steps[-1], task)
        keys = bool(getattr(task, "multiple_outputs", False))
        self.values.outputs[task.task_id] = property_output(name, RETURN_VALUE, keys=keys)

    def _drop_other(self, task: Any) -> None:
        """Drop a task of an operator that is not known."""
        if "BaseSensorOperator" in classes(task):
            what = f"{type(task).__name__} waits for something outside the pipeline"
            self._drop(task, "sensor", what, "start the pipeline once the wait is over")
            return
        what, advice = f"{task.operator_name} matches no step type", NO_STEP_TYPE
        cls: Any = type(task)
        base, overrides = provider_class(cls)
        if overrides:
            what = f"{task.operator_name} overrides {overrides} of {base}"
            advice = f"use {base} and move that code to another task"
        self._drop(task, loss_code(task), what, advice)

    def _drop(self, task: Any, code: str, reason: str, advice: str) -> None:
        """Report a dropped task. A stub takes its place."""
        self.dropped_tasks.add(task.task_id)
        self.reports.add(task, code, "dropped", f"{reason}, so the task is dropped", advice)
        name, line = self.names[task.task_id], self.reports.line(task)
        self.stubs[task.task_id] = stub_of(task, name, reason, self.reports.lines.file, line)
        self.values.outputs[task.task_id] = property_output(name, RETURN_VALUE, keys=True)
