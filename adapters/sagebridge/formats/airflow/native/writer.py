"""Write a DAG file without sagebridge: operators of the Amazon provider and standard operators.

What these cannot do is a loss. The provider reader reads the file back.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from sagebridge.authoring.schedule_rules import starter_losses
from sagebridge.formats.airflow.native.functions import FUNCTIONS
from sagebridge.formats.airflow.native.operators import Operator, operator_of, stub
from sagebridge.formats.airflow.native.templates import Templates, Unsayable
from sagebridge.formats.airflow.writer import DagFileWriter
from sagebridge.formats.python.blocks import Block, indented
from sagebridge.formats.python.source_code import array, call, source
from sagebridge.formats.python.step_calls import file_text, import_from
from sagebridge.model.conditions import Condition, In, Not, Or
from sagebridge.model.connections import for_airflow, shared_connection
from sagebridge.model.graph import graph, in_order
from sagebridge.model.losses import OWN_SCHEDULE, Loss, Severity
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, walk
from sagebridge.model.pointers import step_pointers
from sagebridge.model.values import ABSENT, EMPTY, Value, thaw

_EMPTY = ("EmptyOperator", "airflow.providers.standard.operators.empty")
CODE = "native-style"
"""The code of all losses of this style."""


def write(pipeline: Pipeline, reading: Sequence[Loss] = ()) -> tuple[str, tuple[Loss, ...]]:
    """The source of a DAG file, and what it cannot express."""
    operators, losses = _operators(pipeline)
    return NativeWriter(pipeline, operators, (*reading, *losses)).text(), losses


def _operators(pipeline: Pipeline) -> tuple[dict[str, Operator], tuple[Loss, ...]]:
    """The operator of each step, and the losses."""
    steps = {step.name: step for step in walk(pipeline)}
    ids = DagFileWriter(pipeline).task_ids
    declared = {one.name: one for one in pipeline.declared}
    found: dict[str, Operator] = {}
    losses = list(_losses(pipeline))
    for pointer, step in step_pointers(pipeline.steps):
        templates = Templates(steps, ids, declared)
        title = f"step {step.name}"
        try:
            found[step.name] = operator_of(step, templates)
        except Unsayable as unsayable:
            reason = f"no operator of the Amazon provider has {unsayable}"
            found[step.name] = stub(f"{title}: {reason}")
            advice = "write a task for it, or use --style sagebridge"
            losses.append(_loss(pointer, "dropped", f"{title}: {reason}", advice, step.name))
        for field, name in templates.fixed.items():
            what = f"{title}: {field} has the default of {name}, since a template is not a number"
            losses.append(_loss(pointer, "changed", what, "set it in the file", step.name))
        losses += _lost_settings(step, pointer)
    return found, tuple(losses)


def _losses(pipeline: Pipeline) -> Iterator[Loss]:
    yield from starter_losses(pipeline, "airflow")
    if pipeline.starters:
        what = "its schedules and event triggers are left out"
        yield _loss("", "dropped", what, OWN_SCHEDULE)
    what = "the id of an execution is the run id; a retried task starts a new job"
    yield _loss("", "changed", what)
    for words, value in (
        ("experiment configuration", pipeline.experiment_config),
        ("MLflow configuration", pipeline.mlflow_config),
        ("role", pipeline.role_arn),
        ("tags", pipeline.tags),
        ("metadata", pipeline.metadata),
    ):
        if value:
            yield _loss("", "dropped", f"a DAG without sagebridge has no {words}")


def _lost_settings(step: Step, pointer: str) -> Iterator[Loss]:
    title = f"step {step.name}"
    if step.retry_policies:
        what = f"{title}: the operator has no retry policies"
        yield _loss(pointer, "changed", what, "set retries of the task", step.name)
    if step.cache_config is not ABSENT:
        yield _loss(pointer, "dropped", f"{title}: the operator has no cache", "", step.name)
    if isinstance(step, ConditionStep) and any(map(_is_spelled, step.conditions or ())):
        what = f"{title}: conditions have one spelling, such as Not for NotEquals"
        yield _loss(pointer, "info", what, "", step.name)


def _is_spelled(condition: Condition) -> bool:
    match condition:
        case Not(inner, spelling):
            return bool(spelling) or _is_spelled(inner)
        case In(spelling=spelling):
            return bool(spelling)
        case Or(several):
            return any(map(_is_spelled, several))
    return False


def _loss(place: str, severity: Severity, what: str, advice: str = "", step: str = "") -> Loss:
    return Loss(CODE, severity, place, what, "airflow", advice, step)


class NativeWriter(DagFileWriter):
    """The source of one DAG file with these ``operators``, by step."""

    def __init__(
        self, pipeline: Pipeline, operators: dict[str, Operator], losses: Sequence[Loss] = ()
    ) -> None:
        super().__init__(pipeline, losses)
        self.operators = operators
        self.modules: dict[str, set[str]] = {}
        self.used: dict[str, None] = {}
        self.skipped: dict[str, str] = {}
        """The task that takes the place of an empty branch, by condition."""

    def text(self) -> str:
        opening = source(ast.With([ast.withitem(self._native_dag())], [ast.Pass()]))
        blocks = [self._task(step) for step in in_order(list(walk(self.pipeline)))]
        blocks += self._ends()
        body = "\n\n".join(indented(block) for block in blocks)
        edges = "\n".join(indented(line) for line in self._edges())
        dag = opening.removesuffix("pass") + "\n" + "\n\n".join(filter(None, (body, edges)))
        dag = "\n".join((*self.comments.get("", ()), dag if blocks else opening))
        functions = [FUNCTIONS[name].text for name in self.used]
        whole = "\n\n\n".join((*functions, dag))
        return file_text(
            "an Airflow DAG", self.pipeline, self._all_imports(), self.functions, whole
        )

    def _all_imports(self) -> Iterator[str]:
        for module, names in sorted(self.modules.items()):
            yield import_from(module, sorted(names))

    def _name(self, name: str, module: str) -> ast.Name:
        self.modules.setdefault(module, set()).add(name)
        return ast.Name(name, ast.Load())

    def _native_dag(self) -> ast.expr:
        pipeline = self.pipeline
        keywords: dict[str, ast.expr] = {
            "dag_id": ast.Constant(self.dag_id),
            "schedule": ast.Constant(None),
        }
        if isinstance(pipeline.description, str):
            keywords["description"] = ast.Constant(pipeline.description)
        if pipeline.declared:
            self._name("Param", "airflow.sdk")
            names: list[ast.expr | None] = [ast.Constant(one.name) for one in pipeline.declared]
            keywords["params"] = ast.Dict(names, [self._param(one) for one in pipeline.declared])
        if pipeline.parallelism is not ABSENT:
            limit = pipeline.parallelism.max_parallel_execution_steps
            keywords["max_active_tasks"] = ast.Constant(limit)
        if shared := for_airflow(shared_connection(pipeline)):
            keywords["default_args"] = self.expressions.value(thaw(shared))
        return call(self._name("DAG", "airflow.sdk"), **keywords)

    def _task(self, step: Step) -> str:
        operator = self.operators[step.name]
        keywords: dict[str, ast.expr] = {"task_id": ast.Constant(self.task_ids[step.name])}
        if operator.function:
            self._use(operator.function)
            keywords["python_callable"] = ast.Name(operator.function, ast.Load())
        arguments = {**operator.arguments, **self._branches(step), **self._documentation(step)}
        own = thaw(for_airflow(self.pipeline.connections.get(step.name, EMPTY)))
        if operator.function and own:
            arguments["op_kwargs"] = {**operator.arguments["op_kwargs"], "connection": own}
        elif step.name in self.connections:
            arguments |= own
        keywords |= {name: self.expressions.value(one) for name, one in arguments.items()}
        variable = ast.Name(self.names.variable(step.name), ast.Store())
        built = call(self._name(operator.name, operator.module), **keywords)
        node = ast.Assign([variable], built, lineno=0)
        return Block(node, self.comments.get(step.name, ())).text()

    def _use(self, function: str) -> None:
        self.used[function] = None
        for name, module in FUNCTIONS[function].imports.items():
            self._name(name, module)

    def _documentation(self, step: Step) -> dict[str, Value]:
        found: dict[str, Value] = {}
        if isinstance(step.description, str):
            found["doc_md"] = step.description
        if isinstance(step.display_name, str):
            found["task_display_name"] = step.display_name
        return found

    def _branches(self, step: Step) -> dict[str, Value]:
        """The tasks after a condition, in both branches if they only depend on it."""
        if not isinstance(step, ConditionStep) or self.operators[step.name].function:
            return {}
        after = graph(self.pipeline).succ[step.name]
        inner = {one.name for one in step.branches}
        both = [self.task_ids[name] for name in after if name not in inner]
        branches: dict[str, Value] = {}
        for argument, branch in (
            ("if_task_ids", step.if_steps),
            ("else_task_ids", step.else_steps),
        ):
            ids = [self.task_ids[one.name] for one in branch or ()] + both
            if not ids:
                # The operator fails if the branch that it chooses has no task.
                name = self.skipped.setdefault(step.name, f"{self.task_ids[step.name]}_done")
                ids = [name]
            branches[argument] = ids
        return branches

    def _ends(self) -> Iterator[str]:
        for task_id in self.skipped.values():
            operator = call(self._name(*_EMPTY), task_id=ast.Constant(task_id))
            variable = ast.Name(self.names.variable(task_id), ast.Store())
            yield source(ast.Assign([variable], operator, lineno=0))

    def _edges(self) -> Iterator[str]:
        """``a >> [b, c]``: the tasks after each task, also those that its XCom orders."""
        after = graph(self.pipeline)
        for step in in_order(list(walk(self.pipeline))):
            names = [self.names.variable(name) for name in after.succ[step.name]]
            if step.name in self.skipped:
                names.append(self.names.variable(self.skipped[step.name]))
            if names:
                many: ast.expr = array(ast.Name(one, ast.Load()) for one in names)
                right = many if len(names) > 1 else ast.Name(names[0], ast.Load())
                left = ast.Name(self.names.variable(step.name), ast.Load())
                yield source(ast.BinOp(left, ast.RShift(), right))
