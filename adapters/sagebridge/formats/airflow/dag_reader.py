"""Read a live DAG as a pipeline: its steps, branches and dependencies.

A sagebridge operator has its step as an attribute. An operator of the Amazon provider becomes a
step with the request that it would send (:mod:`~sagebridge.formats.airflow.provider`).
Self-contained Python and shell tasks become carried steps, with their source. A value that only
Airflow knows at run time becomes a parameter without a default, so that no execution starts with a
guess. Everything else is a loss with its line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol

from sagebridge.authoring.dag_pipeline import (
    TYPES,
    connection_of,
    is_constant,
    own_arguments,
    param_type,
    pipeline_of,
)
from sagebridge.authoring.file_arguments import in_definition_order, step_order
from sagebridge.formats.airflow import dag_options, param_types, provider
from sagebridge.formats.airflow.branches import BranchGate
from sagebridge.formats.airflow.code_tasks import (
    is_skipped_on_99,
    python_step,
    sagebridge_step,
    shell_step,
)
from sagebridge.formats.airflow.dag_schedules import read_schedules
from sagebridge.formats.airflow.loops import Loops, is_items_task, with_body
from sagebridge.formats.airflow.mapped_tasks import (
    ItemMapping,
    NoForEach,
    is_nested,
    limit_of,
    mapped_group,
    mapping_of,
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
from sagebridge.formats.airflow.stubs import stub_of
from sagebridge.formats.airflow.task_facts import (
    are_ids,
    is_after_failure,
    is_mapped,
    is_sagebridge,
    label,
    with_documentation,
)
from sagebridge.formats.airflow.task_tree import TaskSteps, TaskTree, in_order, trigger_rule
from sagebridge.formats.airflow.task_values import RunTimeValue, Values, identifier
from sagebridge.formats.python.function_source import NotSelfContained
from sagebridge.model.code_steps import RETURN_VALUE, CarriedStep, StubStep
from sagebridge.model.conditions import equals
from sagebridge.model.connections import AIRFLOW_DEFAULTS, DEFERRABLE, connects
from sagebridge.model.display import free_name, shown
from sagebridge.model.expressions import Get, parameter, references
from sagebridge.model.losses import AT_THE_END, NO_STEP_TYPE, ON_ITS_OWN, Loss, Severity
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import (
    ConditionStep,
    Parallelism,
    Pipeline,
    Step,
    step_references,
    walk,
)
from sagebridge.model.values import ABSENT, EMPTY, Object, Value, freeze

TARGET = "pipeline"
_MAX_ACTIVE_TASKS = 16
"""Airflow's default for ``max_active_tasks`` (``[core] max_active_tasks_per_dag``)."""
_BRANCHES = frozenset(("BaseBranchOperator", "BranchMixIn", "ShortCircuitOperator"))
_NOTIFICATIONS = ("asset", "callback")
"""The losses that also matter for a task without a step, such as an EmptyOperator."""
_SET_PARAMETER = "set the parameter"
_NO_PARAMETERS: Mapping[str, Parameter] = MappingProxyType({})


class LineNumbers(Protocol):
    file: str

    def line(self, item: object) -> int: ...


def read_dag(dag: Any, lines: LineNumbers) -> tuple[Pipeline, tuple[Loss, ...], dict[str, int]]:
    """The pipeline of a DAG, the losses, and the line of each step by name."""
    reader = _DagReader(dag, lines)
    found = reader.result()
    if changed := reader.converted_parameters():
        # The type of a parameter decides how every string that contains it is written.
        found = _DagReader(dag, lines, changed).result()
    return found


@dataclass(frozen=True, slots=True)
class _RunTimeParameter:
    """A parameter that replaces a run-time value, and its loss, if it is reported."""

    parameter: Parameter
    loss: Loss | None


class _DagReader:
    """Reads one DAG; ``changed`` are the parameters with another type than their Param."""

    def __init__(
        self, dag: Any, lines: LineNumbers, changed: Mapping[str, Parameter] = _NO_PARAMETERS
    ) -> None:
        self.dag, self.lines, self.schedules = dag, lines, read_schedules(dag)
        self.tasks: dict[str, Any] = {task.task_id: task for task in dag.tasks}
        self.losses: dict[Loss, None] = {}
        self.run_time: dict[tuple[str, str], _RunTimeParameter] = {}
        types = {
            name: TYPES[type_]
            for name in dag.params
            if (type_ := param_type(dag.params.get_param(name))) is not None
        }
        types.update((name, one.value_type) for name, one in changed.items())
        self.changed = changed
        self.values = Values(dag, types, converted=changed)
        self.groups: dict[str, ItemMapping] = {}
        self.names: dict[str, str] = {}
        self.names |= self._names()
        self.jobs: list[tuple[str, Any]] = []
        self.owners: dict[str, str] = {}
        self.resources: dict[tuple[str, str], Get] = {}
        self.roles: dict[str, TaskSteps] = {}
        self.stubs: dict[str, StubStep] = {}
        self.dropped_tasks: set[str] = set()
        self.connections: dict[str, dict[str, Value]] = {}

    def result(self) -> tuple[Pipeline, tuple[Loss, ...], dict[str, int]]:
        for loss in dag_options.of_dag(self.dag, self.schedules):
            self._report(self.dag, *loss)
        self._collect_outputs()
        for task_id in in_order(self.tasks):
            self.roles[task_id] = role = self._role(self.tasks[task_id])
            if task_id in self.stubs:
                role.steps = [self.stubs[task_id]]
        for task_id, stub in self.stubs.items():
            if type_ := self.values.used_as.get(f"Steps.{stub.name}.{RETURN_VALUE}"):
                self.roles[task_id].steps = [replace(stub, returns=type_)]
        self._add_groups()
        pipeline = self._pipeline(self._steps_in(None))
        lines = {
            step.name: self.lines.line(role.operator)
            for role in self.roles.values()
            for one in role.steps
            for step in walk((one,))
        }
        ordered = sorted(self.losses, key=lambda loss: int(loss.place))
        return pipeline, tuple(ordered), lines

    def _add_groups(self) -> None:
        """Add a ForEach for each mapped task group that is exactly one."""
        members: dict[str, list[Any]] = {}
        for task_id, group_id in self.values.loops.items():
            if group_id in self.groups:  # otherwise it is a mapped operator
                members.setdefault(group_id, []).append(self.tasks[task_id])
        self.loops = Loops(self.tasks, members)
        for group_id, tasks in members.items():
            name = free_name(group_id[:64], set(self.names.values()), group_id[:60], "-")
            self.names[group_id] = name
            step = self.groups[group_id].step(name, limit_of(tasks, self.dag), ())
            steps = any(self.roles[task.task_id].steps for task in tasks)
            self.roles[group_id] = TaskSteps(tasks[0], [step] if steps else [])

    def _steps_in(self, loop: str | None) -> list[Step]:
        """The steps of the tasks in the body of a ForEach, or outside all of them."""
        tasks = self.loops.tasks_in(loop)
        for task_id in tasks:
            if task_id in self.loops.bodies and (role := self.roles[task_id]).steps:
                body = tuple(self._steps_in(task_id))
                role.steps = [with_body(role.steps[0], body)]
        tree = TaskTree(tasks, {task_id: self.roles[task_id] for task_id in tasks})
        for found in tree.losses:
            task = self.roles[found.task_id].operator
            self._report(task, found.code, found.severity, found.what, found.advice)
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
            self._report(self.dag, *loss)
        declared = tuple(self.changed.get(one.name, one) for one in base.declared)
        used = {one.name for step in walk(steps) for one in step_references(step)}
        added = [one for one in self.run_time.values() if one.parameter.name in used]
        self.losses.update(dict.fromkeys(one.loss for one in added if one.loss is not None))
        parameters = (*declared, *(one.parameter for one in added))
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
                self._report(task, "step-name", "info", what)
            yield task_id, name

    def _collect_outputs(self) -> None:
        for task_id, task in self.tasks.items():
            kind = kind_of(task)
            if kind is None or is_after_failure(task) or is_mapped(task):
                continue
            name = self.names[task_id]
            if type(task).__name__ not in JOB_SENSORS:
                self.jobs += [(task_id, job) for job in job_names(task)]
            self.owners.update(dict.fromkeys(kind.steps(task, name), task_id))
            if kind.outputs is not None:
                self.values.outputs[task_id] = kind.outputs(task, name)
            if kind.names is not None:
                for field, text, get in kind.names(task, name):
                    self.resources.setdefault((field, text), get)

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
        if is_after_failure(task):
            rule = trigger_rule(task)
            what = f"trigger rule {rule} has no counterpart in a pipeline"
            self._drop(task, "trigger-rule", what, AT_THE_END, stub=False)
            return role
        if is_items_task(task):  # a part of a ForEach
            return role
        self.values.loop = self.values.loops.get(task.task_id)
        if is_mapped(task):
            try:
                if (item := self._item_of(task)) is not None:
                    return item
            except NoForEach as why:
                advice = "use a literal list, or the output of one task"
                self._drop(task, "mapped-task", str(why), advice)
                return role
        if is_sagebridge(task):
            reads = dag_options.sagebridge_arguments(task)
            step = with_documentation(task.step, task)
            role = TaskSteps(task, [step], list(self._listed_gate(task)), from_sagebridge=True)
            if not type(task).execute.__module__.startswith("sagebridge_operators."):
                what = f"{type(task).__name__} overrides execute, which the step does not call"
                self._report(task, "operator", "changed", what, "move that code to another task")
            if isinstance(task.step, StubStep):
                role.steps = [replace(task.step, origin=str(self.lines.line(task)))]
                reason, advice = task.step.arguments["reason"], "replace it with a step"
                self._report(task, "stub", "dropped", f"it is a stub: {reason}", advice)
            elif isinstance(task.step, CarriedStep):
                self._carry(role, "python-task", sagebridge_step)
        elif (kind := kind_of(task)) is not None and not self._awaited_tasks(task):
            reads = (*kind.reads, *AIRFLOW_DEFAULTS, "region", *dag_options.own_arguments(task))
            reads = tuple(name for name in reads if name != DEFERRABLE)  # an info names it
            self._build(role, kind.build)
        elif class_of(task, {provider.CONDITION}) is not None:
            reads = ("conditions", "condition_type", "left_value", "right_value")
            reads = (*reads, "if_task_ids", "else_task_ids")
            self._build_condition(role)
        else:
            reads = ("python_callable", "op_args", "op_kwargs")
            reads = (*reads, "bash_command", "env", "append_env", "skip_on_exit_code")
            reads = (*reads, "cwd", "output_processor", "templates_dict")
            self._build_other(role)
        if any(map(connects, role.steps)):
            self._connect(role)
        self._report_options(role, frozenset(reads))
        return role

    def _item_of(self, task: Any) -> TaskSteps | None:
        """The ForEach of a mapped operator; None for a task in a mapped group, which is its body.

        Raises :class:`NoForEach`.
        """
        if is_nested(task):
            raise NoForEach("it is mapped in a mapped task group")
        if (group := mapped_group(task)) is not None:
            if group.group_id not in self.groups:
                self.groups[group.group_id] = mapping_of(group._expand_input, self.values)
            arguments = self.groups[group.group_id].arguments
            self.values.mapped[id(group._expand_input)] = arguments
            self.values.loops[task.task_id] = self.values.loop = group.group_id
            return None
        mapping = mapping_of(task._get_specified_expand_input(), self.values)
        self.values.loops[task.task_id] = task.task_id
        name, losses = self.names[task.task_id], dict(self.losses)
        self.names[task.task_id] = free_name(f"{name[:58]}-item", self.names.values())
        try:
            role = self._role(unmapped(task, mapping.arguments))
        except (TypeError, ValueError, AttributeError) as error:
            raise NoForEach(f"its arguments are only known at run time ({error})") from None
        finally:
            self.names[task.task_id] = name
        if task.task_id in self.dropped_tasks:
            self.dropped_tasks.discard(task.task_id)
            self.losses = losses
            del self.stubs[task.task_id]
            raise NoForEach("it is mapped over arguments that only Airflow can read")
        steps = [mapping.step(name, limit_of([task], self.dag), role.steps)] if role.steps else []
        return TaskSteps(task, list(steps))

    def _report_options(self, role: TaskSteps, reads: frozenset[str]) -> None:
        """Report the arguments of a task that are lost, unless the whole task is dropped."""
        task = role.operator
        if self.values.loop is not None or any(task.iter_mapped_task_groups()):
            reads |= {"max_active_tis_per_dagrun"}
        if not role.steps and task.task_id in self.dropped_tasks:
            return
        for loss in dag_options.of_task(task, reads):
            is_done = loss.code == "no-wait" and self._is_awaited(task)
            if (role.steps and not is_done) or loss.code in _NOTIFICATIONS:
                self._report(task, *loss)
        if role.steps and task.is_teardown:
            what = "it is a teardown task, but its step runs only if the steps before it succeed"
            advice = "clean up after a failed execution yourself"
            self._report(task, "failure-handling", "dropped", what, advice)

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
                self._report(task, "aws-connection", "changed", what, "use a constant")

    def _build(self, role: TaskSteps, build: Builder) -> None:
        task = role.operator
        try:
            role.steps = build(self._task(task))
        except UnreadableTask as why:
            self._forget(task)
            advice = "use a constant in the DAG file"
            self._drop(task, "run-time-argument", str(why), advice)
            return
        line = str(self._line(task))
        role.steps = [
            replace(one, origin=line) if isinstance(one, CarriedStep) else one for one in role.steps
        ]
        role.steps[-1] = with_documentation(role.steps[-1], task)

    def _task(self, task: Any) -> Task:
        def report(code: str, severity: Severity, what: str, advice: str = "") -> None:
            self._report(task, code, severity, what, advice)

        def fallback(unknown: RunTimeValue) -> Value:
            return self._parameter_for(task, unknown)

        return Task(task, self.names[task.task_id], self.values, fallback, report, self.resources)

    def _listed_gate(self, task: Any) -> Iterator[BranchGate]:
        if isinstance(task.step, ConditionStep):
            yes, no = (
                tuple(one.task_id for one in branch or ())
                for branch in (task.if_steps, task.else_steps)
            )
            yield BranchGate(task.step.name, yes, no, fixed=True)

    def _build_condition(self, role: TaskSteps) -> None:
        task = role.operator
        try:
            if not all(map(are_ids, (task.if_task_ids, task.else_task_ids))):
                raise UnreadableTask("its branches are only known at run time")
            step = condition_step(self._task(task))
        except UnreadableTask as why:
            self._build_choice(role, f"a condition that cannot be read ({why})")
            return
        yes, no = (self._reached(task, ids) for ids in (task.if_task_ids, task.else_task_ids))
        if not task.else_task_ids:
            message = f"Condition check failed in task {task.task_id!r}"
            arguments = Object({"ErrorMessage": message})
            fail = Step(f"{step.name[:59]}-Fail", "Fail", arguments=arguments)
            step = replace(step, else_steps=(fail,))
        role.steps, role.gates = [step], [BranchGate(step.name, yes, no)]

    def _reached(self, task: Any, chosen: Sequence[str]) -> tuple[str, ...]:
        """The direct downstream tasks of a branch that run if it chooses these task ids."""
        kept, pending = set(chosen), [one for one in chosen if one in self.tasks]
        while pending:
            for after in self.tasks[pending.pop()].downstream_task_ids - kept:
                kept.add(after)
                pending.append(after)
        return tuple(one for one in self.tasks if one in kept & task.downstream_task_ids)

    def _build_choice(self, role: TaskSteps, what: str) -> None:
        """Replace a branch that Python decides by one Condition per branch, each on a parameter."""
        task, name = role.operator, self.names[role.operator.task_id]
        followers = [one for one in self.tasks if one in task.downstream_task_ids]
        single = "ShortCircuitOperator" in classes(task)
        parameters = []
        for branch in [followers] if single else [[one] for one in followers]:
            own = name if single else f"{name[:31]}-{self.names[branch[0]][:32]}"
            unknown = RunTimeValue("branch-callable", what, own)
            unknown.type = "Boolean"
            choice = self._parameter_for(task, unknown, report=False)
            parameters.append(choice.name)
            role.steps.append(
                ConditionStep(
                    own,
                    "Condition",
                    arguments=EMPTY,
                    conditions=(equals(choice, True),),
                    if_steps=(),
                    else_steps=(),
                )
            )
            role.gates.append(BranchGate(own, tuple(branch), ()))
        text = f"{what} becomes one Boolean parameter per branch: {', '.join(parameters) or 'none'}"
        advice = "set the parameters, or use a condition operator"
        self._report(task, "branch-callable", "changed", text, advice)

    def _build_other(self, role: TaskSteps) -> None:
        """Read any other task: it is carried, becomes dependencies, or is dropped."""
        task, names = role.operator, classes(role.operator)
        name, kind = self.names[task.task_id], type(task).__name__
        if "LatestOnlyOperator" in names:
            what = "it becomes no step: a pipeline has no runs for past dates"
            self._report(task, "empty-task", "info", what)
        elif names & _BRANCHES:
            self._build_choice(role, f"the decision of {task.operator_name}")
        elif "EmptyOperator" in names:
            what = "it becomes no step: its downstream steps take over its dependencies"
            self._report(task, "empty-task", "info", what)
        elif "BaseSensorOperator" in names:
            self._sensor(task)
        elif kind in ("PythonOperator", "_PythonDecoratedOperator"):
            self._carry(role, "python-task", python_step)
            if role.steps:
                keys = bool(getattr(task, "multiple_outputs", False))
                output = property_output(name, RETURN_VALUE, keys=keys)
                self.values.outputs[task.task_id] = output
        elif kind == "BashOperator":
            self._carry(role, "shell-task", shell_step)
            if role.steps and is_skipped_on_99(task):
                arguments = dag_options.operator_arguments(task)
                intended = "skip_on_exit_code" in arguments or "99" in str(task.bash_command)
                what = "exit code 99 fails the step; in Airflow it skips the task"
                advice = "exit with 0 if downstream steps should run"
                self._report(task, "exit-code", "changed" if intended else "info", what, advice)
            if role.steps:
                self.values.outputs[task.task_id] = property_output(name, RETURN_VALUE)
        else:
            code = "python-task" if "PythonOperator" in names else "operator"
            what, advice = f"{task.operator_name} matches no step type", NO_STEP_TYPE
            cls: Any = type(task)
            base, overrides = provider_class(cls)
            if overrides:
                what = f"{task.operator_name} overrides {overrides} of {base}"
                advice = f"use {base} and move that code to another task"
            self._drop(task, code, what, advice)

    def _carry(self, role: TaskSteps, code: str, build: Any) -> None:
        task = role.operator
        origin = str(self._line(task))
        try:
            step = build(task, self.names[task.task_id], self.values, origin)
            # Only operators of @task have custom_operator_name (airflow/sdk/bases/decorator.py).
            # Airflow sets their doc_md to the docstring, which the function already has.
            decorated = hasattr(task, "custom_operator_name")
            role.steps = [step if decorated else with_documentation(step, task)]
        except NotSelfContained as why:
            self._drop(task, code, f"it {why}", ON_ITS_OWN)

    def _sensor(self, task: Any) -> None:
        if self._awaited_tasks(task):
            what = "it is not needed: the step itself waits for its job"
            self._report(task, "sensor", "info", what)
            return
        what = f"{type(task).__name__} waits for something outside the pipeline"
        self._drop(task, "sensor", what, "start the pipeline once the wait is over")

    def _awaited_tasks(self, sensor: Any) -> set[str]:
        """The ids of the tasks whose jobs a sensor waits for."""
        waits_for = getattr(sensor, JOB_SENSORS.get(type(sensor).__name__, ""), None)
        if waits_for is None:
            return set()
        found = {task_id for task_id, name in self.jobs if waits_for == name}
        try:
            steps = {get.name for get in references(self.values.of(waits_for)) if get.step}
        except RunTimeValue:
            return found
        return found | {self.owners[step] for step in steps if step in self.owners}

    def _is_awaited(self, task: Any) -> bool:
        """Whether each downstream task is a sensor that waits for the job of this task."""
        after = [self.tasks[one] for one in task.downstream_task_ids]
        return bool(after) and all(task.task_id in self._awaited_tasks(one) for one in after)

    # Losses

    def _line(self, item: Any) -> int:
        """The line of the DAG or a task; one of a mapped operator's iterations has its line."""
        return self.lines.line(self.tasks.get(getattr(item, "task_id", ""), item))

    def _report(
        self, item: Any, code: str, severity: Severity, what: str, advice: str = ""
    ) -> None:
        self.losses[self._loss(item, code, severity, what, advice)] = None

    def _loss(self, item: Any, code: str, severity: Severity, what: str, advice: str = "") -> Loss:
        place = str(self._line(item))
        if item is self.dag:
            return Loss(code, severity, place, f"the DAG: {what}", TARGET, advice)
        step = self.names.get(item.task_id, "")
        return Loss(code, severity, place, f"task {item.task_id}: {what}", TARGET, advice, step)

    def _drop(self, task: Any, code: str, reason: str, advice: str, *, stub: bool = True) -> None:
        """Report a dropped task. A stub takes its place, unless the task never runs."""
        self.dropped_tasks.add(task.task_id)
        self._report(task, code, "dropped", f"{reason}, so the task is dropped", advice)
        if stub:
            name, line = self.names[task.task_id], self._line(task)
            self.stubs[task.task_id] = stub_of(task, name, reason, self.lines.file, line)
            self.values.outputs[task.task_id] = property_output(name, RETURN_VALUE, keys=True)

    def _parameter_for(self, task: Any, unknown: RunTimeValue, *, report: bool = True) -> Get:
        """A reference to the parameter that replaces a run-time value."""
        key = (unknown.text, unknown.type)
        if key not in self.run_time:
            taken = {one.parameter.name for one in self.run_time.values()} | set(self.values.types)
            wanted = identifier(unknown.text)
            name = free_name(wanted, taken, wanted[:60])
            description = f"Replaces {unknown.what} ({unknown.text})"
            added = Parameter(name, unknown.type, description=description)
            what = f"{unknown.what} ({unknown.text}) becomes the parameter {shown(name)}"
            loss = self._loss(task, unknown.code, "changed", what, _SET_PARAMETER)
            self.run_time[key] = _RunTimeParameter(added, loss if report else None)
        return parameter(self.run_time[key].parameter.name)
