"""A live DAG as a pipeline: steps, branches and dependencies of whatever operators it has.

Operators of ours carry their step. The Amazon provider's are read by what they would send
(:mod:`~sagebridge.formats.airflow.provider`); self-contained Python and shell tasks are carried as
source. What only Airflow knows at run time is asked for: it becomes a parameter without a default,
so that no run starts on a guess. Everything else is a loss at its line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sagebridge.authoring.dag_pipeline import TYPES, param_type, pipeline_of
from sagebridge.formats.airflow import dag_options, provider
from sagebridge.formats.airflow.branches import AFTER_FAILURE, BranchGate
from sagebridge.formats.airflow.code_tasks import own_step, python_step, shell_step, skipping
from sagebridge.formats.airflow.operator_classes import (
    SENSED,
    class_of,
    classes,
    job_names,
    kind_of,
    known,
)
from sagebridge.formats.airflow.provider.provider_task import Builder, Task, UnreadableTask, under
from sagebridge.formats.airflow.provider.sagemaker_condition import condition_step
from sagebridge.formats.airflow.task_tree import TaskSteps, TaskTree, in_order, trigger_rule
from sagebridge.formats.airflow.task_values import RunTimeValue, Values, identifier
from sagebridge.formats.python.function_source import NotSelfContained
from sagebridge.model.code_steps import RETURN_VALUE, CarriedStep, without
from sagebridge.model.conditions import equals
from sagebridge.model.display import free_name, shown
from sagebridge.model.expressions import Get, parameter, references
from sagebridge.model.losses import AT_THE_END, ON_ITS_OWN, Loss, Severity
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import (
    ConditionStep,
    Parallelism,
    Pipeline,
    Step,
    step_references,
    walk,
)
from sagebridge.model.values import ABSENT, EMPTY, Object, Value

TARGET = "pipeline"
_MAX_ACTIVE_TASKS = 16
"""Airflow's own default."""
_BRANCHES = frozenset(("BaseBranchOperator", "BranchMixIn", "ShortCircuitOperator"))


class LineNumbers(Protocol):
    def line(self, item: object) -> int: ...


def read_dag(dag: Any, places: LineNumbers) -> tuple[Pipeline, tuple[Loss, ...], dict[str, int]]:
    """The pipeline of a DAG, what reading it lost, and the line of each step."""
    return _DagReader(dag, places).result()


@dataclass(frozen=True, slots=True)
class _RunTimeParameter:
    """A parameter that stands for what only Airflow knows, and the loss that says so."""

    parameter: Parameter
    loss: Loss | None


class _DagReader:
    def __init__(self, dag: Any, places: LineNumbers) -> None:
        self.dag, self.places = dag, places
        self.tasks: dict[str, Any] = {task.task_id: task for task in dag.tasks}
        self.losses: dict[Loss, None] = {}
        self.asked: dict[tuple[str, str], _RunTimeParameter] = {}
        types = {
            name: TYPES[type_]
            for name in dag.params
            if (type_ := param_type(dag.params.get_param(name))) is not None
        }
        self.values = Values(dag, types)
        self.names = dict(self._names())
        self.jobs: list[tuple[str, Any]] = []
        self.owners: dict[str, str] = {}
        self.made: dict[tuple[str, str], Get] = {}
        self.roles: dict[str, TaskSteps] = {}
        self.dropped: dict[str, str] = {}

    def result(self) -> tuple[Pipeline, tuple[Loss, ...], dict[str, int]]:
        for lost in dag_options.of_dag(self.dag):
            self._lose(self.dag, *lost)
        self._outputs()
        for task_id in in_order(self.tasks):
            self.roles[task_id] = self._role(self.tasks[task_id])
        tree = TaskTree(self.tasks, self.roles)
        for task_id, code, severity, what in tree.losses:
            self._lose(self.tasks[task_id], code, severity, what)
        steps = tree.steps()
        pipeline = self._pipeline(steps)
        dropped = [step for step in walk(pipeline) if step.name in self.dropped]
        pipeline, asked = without(pipeline, dropped)
        for one in asked:
            if one.code == "asked-value":
                self.losses[replace(one, place=self.dropped[one.place])] = None
        lines = {
            step.name: self.places.line(role.operator)
            for role in self.roles.values()
            for one in role.steps
            for step in walk((one,))
        }
        ordered = sorted(self.losses, key=lambda loss: int(loss.place))
        return pipeline, tuple(ordered), lines

    def _pipeline(self, steps: Sequence[Step]) -> Pipeline:
        base = pipeline_of(self.dag)
        used = {one.name for step in walk(steps) for one in step_references(step)}
        asked = [one for one in self.asked.values() if one.parameter.name in used]
        self.losses.update(dict.fromkeys(one.loss for one in asked if one.loss is not None))
        parameters = base.parameters
        if asked:
            parameters = (*base.declared, *(one.parameter for one in asked))
        order = dict(self.dag.default_args.get("definition") or EMPTY).get("Steps", ())
        rank = {name: position for position, name in enumerate(order)}
        limit, count = self.dag.max_active_tasks, len(list(walk(steps)))
        if limit not in (_MAX_ACTIVE_TASKS, count):
            base = replace(base, parallelism=Parallelism(limit))
        if base.description is ABSENT and self.dag.doc_md:
            base = replace(base, description=self.dag.doc_md)
        return replace(
            base,
            steps=tuple(sorted(steps, key=lambda step: rank.get(step.name, len(rank)))),
            parameters=parameters,
        )

    # Names and what tasks hand on

    def _names(self) -> Iterator[tuple[str, str]]:
        """A step name for each task: its id without its group where that is free."""
        taken = {task.step.name for task in self.tasks.values() if _is_ours(task)}
        counts = Counter(map(_label, self.tasks.values()))
        for task_id, task in self.tasks.items():
            if _is_ours(task):
                yield task_id, task.step.name
                continue
            label = _label(task)
            wanted = label if counts[label] == 1 else task_id
            name = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in wanted)
            name = free_name(name[:64], taken, wanted[:60], "-")
            taken.add(name)
            if name != label:
                what = f"its step is called {shown(name)}"
                self._lose(task, "step-name", "info", what)
            yield task_id, name

    def _outputs(self) -> None:
        for task_id, task in self.tasks.items():
            kind = kind_of(task)
            if kind is None or _is_after_failure(task):
                continue
            name = self.names[task_id]
            self.jobs += [(task_id, job) for job in job_names(task)]
            self.owners.update(dict.fromkeys(kind.steps(task, name), task_id))
            if kind.outputs is not None:
                self.values.outputs[task_id] = kind.outputs(task, name)
            if kind.names is not None:
                for member, text, get in kind.names(task, name):
                    self.made.setdefault((member, text), get)

    def _forget(self, task: Any) -> None:
        """What a task that is left out would hand on is known to Airflow alone."""
        self.values.outputs.pop(task.task_id, None)
        name = self.names[task.task_id]
        self.made = {key: get for key, get in self.made.items() if get.name != name}

    # Roles

    def _role(self, task: Any) -> TaskSteps:
        reads: Iterable[str] = ()
        role = TaskSteps(task)
        if hasattr(task, "watched"):
            return role
        if _is_after_failure(task):
            rule = trigger_rule(task)
            what = f"trigger rule {rule}: a step never runs after what did not succeed"
            advice = AT_THE_END
            self._leave_out(task, "trigger-rule", what, advice)
            return role
        if _is_ours(task):
            reads = dag_options.arguments_of_ours(task)
            step = _documented(task.step, task)
            role = TaskSteps(task, [step], list(self._own_gate(task)), ours=True)
            if not type(task).execute.__module__.startswith("sagebridge_operators."):
                what = f"{type(task).__name__} runs code of its own, which its step does not"
                self._lose(task, "operator", "changed", what, "make that a step")
            if isinstance(task.step, CarriedStep):
                self._carry(role, "python-task", own_step)
        elif hasattr(task, "partial_kwargs"):
            what = "it is mapped: Airflow makes its tasks when the DAG runs"
            self._leave_out(task, "mapped-task", what, "make it a loop of the DAG file")
        elif (kind := kind_of(task)) is not None:
            reads = (*kind.reads, *dag_options.own_arguments(task))
            self._build(role, kind.build)
        elif class_of(task, {provider.CONDITION}) is not None:
            reads = ("conditions", "condition_type", "left_value", "right_value")
            reads = (*reads, "if_task_ids", "else_task_ids")
            self._build_condition(role)
        else:
            reads = ("python_callable", "op_args", "op_kwargs")
            reads = (*reads, "bash_command", "env", "append_env", "skip_on_exit_code")
            self._own_code(role)
        if role.steps:
            for lost in dag_options.of_task(task, frozenset(reads)):
                if lost.code != "no-wait" or not self._is_awaited(task):
                    self._lose(task, *lost)
        return role

    def _build(self, role: TaskSteps, build: Builder) -> None:
        task = role.operator
        try:
            role.steps = build(self._task(task))
        except UnreadableTask as why:
            self._leave_out(task, "run-time-argument", str(why), "say it in the DAG file")
            self._forget(task)
            return
        role.steps[-1] = _documented(role.steps[-1], task)

    def _task(self, task: Any) -> Task:
        def report(code: str, severity: Severity, what: str, advice: str = "") -> None:
            self._lose(task, code, severity, what, advice)

        def ask(unknown: RunTimeValue) -> Value:
            return self._ask(task, unknown)

        return Task(task, self.names[task.task_id], self.values, ask, report, self.made)

    def _own_gate(self, task: Any) -> Iterator[BranchGate]:
        if isinstance(task.step, ConditionStep):
            yes, no = (
                tuple(one.task_id for one in branch or ())
                for branch in (task.if_steps, task.else_steps)
            )
            yield BranchGate(task.step.name, yes, no, fixed=True)

    def _build_condition(self, role: TaskSteps) -> None:
        task = role.operator
        try:
            if not all(map(_are_ids, (task.if_task_ids, task.else_task_ids))):
                raise UnreadableTask("its branches are known only when the DAG runs")
            step = condition_step(self._task(task))
        except UnreadableTask as why:
            self._build_choice(role, f"a condition that cannot be read: {why}")
            return
        yes, no = (self._reached(task, ids) for ids in (task.if_task_ids, task.else_task_ids))
        if not task.else_task_ids:
            message = f"Condition check failed in task {task.task_id!r}"
            arguments = Object({"ErrorMessage": message})
            fail = Step(f"{step.name[:59]}-Fail", "Fail", arguments=arguments)
            step = replace(step, else_steps=(fail,))
        role.steps, role.gates = [step], [BranchGate(step.name, yes, no)]

    def _reached(self, task: Any, chosen: Sequence[str]) -> tuple[str, ...]:
        """The direct followers of a branch that run when those ids are chosen."""
        kept, pending = set(chosen), [one for one in chosen if one in self.tasks]
        while pending:
            for after in self.tasks[pending.pop()].downstream_task_ids - kept:
                kept.add(after)
                pending.append(after)
        return tuple(one for one in self.tasks if one in kept & task.downstream_task_ids)

    def _build_choice(self, role: TaskSteps, what: str) -> None:
        """A branch that Python decides: a Condition for each way, on a parameter to be given."""
        task, name = role.operator, self.names[role.operator.task_id]
        ways = [one for one in self.tasks if one in task.downstream_task_ids]
        single = "ShortCircuitOperator" in classes(task)
        asked = []
        for way in [ways] if single else [[one] for one in ways]:
            own = name if single else f"{name[:31]}-{self.names[way[0]][:32]}"
            unknown = RunTimeValue("branch-callable", what, own)
            unknown.type = "Boolean"
            choice = self._ask(task, unknown, lost=False)
            asked.append(choice.name)
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
            role.gates.append(BranchGate(own, tuple(way), ()))
        text = f"{what}: parameters say which way to go ({', '.join(asked) or 'none'})"
        self._lose(task, "branch-callable", "changed", text, "write a Condition")

    def _own_code(self, role: TaskSteps) -> None:
        """Tasks that are no step of SageMaker's: carried, passed over or left out."""
        task, names = role.operator, classes(role.operator)
        name, kind = self.names[task.task_id], type(task).__name__
        if "LatestOnlyOperator" in names:
            what = "it stands for nothing: a pipeline has no runs of the past"
            self._lose(task, "empty-task", "info", what)
        elif names & _BRANCHES:
            self._build_choice(role, f"{task.operator_name} decides in Python")
        elif "EmptyOperator" in names:
            what = "it stands for nothing: what follows it waits for what it waits for"
            self._lose(task, "empty-task", "info", what)
        elif "BaseSensorOperator" in names:
            self._sensor(task)
        elif kind in ("PythonOperator", "_PythonDecoratedOperator"):
            self._carry(role, "python-task", python_step)
            if role.steps:
                keys = bool(getattr(task, "multiple_outputs", False))
                output = under(name, RETURN_VALUE, keys=keys)
                self.values.outputs[task.task_id] = output
        elif kind == "BashOperator":
            self._carry(role, "shell-task", shell_step)
            if role.steps and skipping(task):
                asked = "skip_on_exit_code" in dag_options.given(task) or "99" in task.bash_command
                what = "a command that ends with 99 fails its step: Airflow skips it"
                advice = "end it with 0 where what follows may run"
                self._lose(task, "exit-code", "changed" if asked else "info", what, advice)
            if role.steps:
                self.values.outputs[task.task_id] = under(name, RETURN_VALUE)
        else:
            code = "python-task" if "PythonOperator" in names else "operator"
            what = f"{task.operator_name} is no step type of SageMaker's"
            cls: Any = type(task)
            whole, changed = known(cls)
            if changed:
                what = f"{task.operator_name} has its own {changed}, other than {whole}"
            self._leave_out(task, code, what, "")

    def _carry(self, role: TaskSteps, code: str, build: Any) -> None:
        task = role.operator
        origin = str(self.places.line(task))
        try:
            step = build(task, self.names[task.task_id], self.values, origin)
            # Airflow documents a @task by its docstring, which the function has.
            decorated = hasattr(task, "custom_operator_name")
            role.steps = [step if decorated else _documented(step, task)]
        except NotSelfContained as why:
            advice = ON_ITS_OWN
            self._leave_out(task, code, f"it {why}, so its code cannot be carried", advice)
            self.dropped.update({step.name: origin for step in role.steps})

    def _sensor(self, task: Any) -> None:
        if self._sensed(task):
            self._lose(
                task, "sensor", "info", "it is not needed: the step itself waits for its job"
            )
            return
        what = f"{type(task).__name__} waits for what a pipeline does not see"
        advice = "start the pipeline when that is there"
        self._leave_out(task, "sensor", what, advice)

    def _sensed(self, sensor: Any) -> set[str]:
        """The tasks whose job a sensor waits for."""
        waits_for = getattr(sensor, SENSED.get(type(sensor).__name__, ""), None)
        if waits_for is None:
            return set()
        found = {task_id for task_id, name in self.jobs if waits_for == name}
        try:
            steps = {get.name for get in references(self.values.of(waits_for)) if get.step}
        except RunTimeValue:
            return found
        return found | {self.owners[step] for step in steps if step in self.owners}

    def _is_awaited(self, task: Any) -> bool:
        """Whether all that follows a task waits for its job, so that nobody misses a wait."""
        after = [self.tasks[one] for one in task.downstream_task_ids]
        return bool(after) and all(task.task_id in self._sensed(one) for one in after)

    # Losses

    def _lose(self, item: Any, code: str, severity: Severity, what: str, advice: str = "") -> None:
        self.losses[self._loss(item, code, severity, what, advice)] = None

    def _loss(self, item: Any, code: str, severity: Severity, what: str, advice: str = "") -> Loss:
        name = "the DAG" if item is self.dag else f"task {item.task_id}"
        place = str(self.places.line(item))
        return Loss(code, severity, place, f"{name}: {what}", TARGET, advice)

    def _leave_out(self, task: Any, code: str, what: str, advice: str) -> None:
        self._lose(task, code, "dropped", what, advice)

    def _ask(self, task: Any, unknown: RunTimeValue, *, lost: bool = True) -> Get:
        key = (unknown.text, unknown.type)
        if key not in self.asked:
            taken = {one.parameter.name for one in self.asked.values()} | set(self.values.types)
            wanted = identifier(unknown.text)
            name = free_name(wanted, taken, wanted[:60])
            description = f"Asked for: {unknown.what} ({unknown.text})"
            asked = Parameter(name, unknown.type, description=description)
            what = f"{unknown.what} ({unknown.text}): the parameter {name} asks for it"
            loss = self._loss(task, unknown.code, "changed", what, "give it at the start")
            self.asked[key] = _RunTimeParameter(asked, loss if lost else None)
        return parameter(self.asked[key].parameter.name)


def _label(task: Any) -> str:
    """A task's id without that of its group."""
    group = getattr(task.task_group, "node_id", None)
    return str(task.task_id.removeprefix(f"{group}."))


def _is_ours(task: Any) -> bool:
    return isinstance(getattr(task, "step", None), Step)


def _documented(step: Step, task: Any) -> Step:
    """The step with what Airflow shows of its task, where it does not say so itself."""
    if task.doc_md and step.description is ABSENT:
        step = replace(step, description=task.doc_md)
    if task.task_display_name != task.task_id and step.display_name is ABSENT:
        step = replace(step, display_name=task.task_display_name)
    return step


def _are_ids(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


def _is_after_failure(task: Any) -> bool:
    """Whether a task runs only where one before it did not succeed."""
    return bool(task.upstream_task_ids) and trigger_rule(task) in AFTER_FAILURE
