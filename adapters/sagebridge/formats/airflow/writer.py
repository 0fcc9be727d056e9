"""Write a pipeline as an Airflow DAG file that reads like hand-written code.

The file has the parameters first, then one block per step in dependency order, with references as
``step.properties.A["b"]``. What Airflow cannot express is kept in arguments of sagebridge
operators or, for the pipeline as a whole, in the DAG's default argument ``definition``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from sagebridge.authoring.dag_pipeline import (
    default_arguments,
    legal_id,
    param_schema,
    shown_default,
    task_ids,
    watch_id,
)
from sagebridge.formats.python.engine_losses import losses_by_step
from sagebridge.formats.python.source_code import Names, array, call, layout, source
from sagebridge.formats.python.step_calls import (
    AIRFLOW_NAMES,
    Functions,
    StepSource,
    commented,
    file_text,
    import_from,
    indented,
)
from sagebridge.model.code_steps import CarriedStep, PythonStep
from sagebridge.model.connections import for_airflow, own_connections
from sagebridge.model.graph import hidden_failures, in_order
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.step_types import OPERATOR_TYPES
from sagebridge.model.values import ABSENT, EMPTY

PACKAGE = "sagebridge_operators.airflow"
_DAG, _PARAM = "DAG", "Param"


def write(pipeline: Pipeline) -> tuple[str, tuple[Loss, ...]]:
    """The source of a DAG file, and what Airflow cannot express."""
    file = DagFileWriter(pipeline)
    return layout(file.text()), tuple(loss for lost in file.losses.values() for loss in lost)


class DagFileWriter:
    """The source of one DAG file."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.losses = losses_by_step(pipeline, "airflow")
        self.task_ids = task_ids(pipeline)
        self.connections = own_connections(pipeline)
        operators = (row.operator for row in OPERATOR_TYPES.values())
        self.functions = Functions(pipeline)
        self.names = Names(reserved=self.functions.names.union(operators, AIRFLOW_NAMES))
        self.steps = StepSource(self.names)
        self.expressions = self.steps.expressions

    def text(self) -> str:
        """The source before formatting."""
        opening = source(ast.With([ast.withitem(self._dag())], [ast.Pass()]))
        blocks = [
            commented(node, self.losses.get(name, ()))
            for name, node in self._steps(self.pipeline.steps)
        ]
        blocks += [source(node) for node in self._watch()]
        body = "\n\n".join(indented(block) for block in blocks)
        dag = opening.removesuffix("pass") + "\n" + body if blocks else opening
        return file_text("an Airflow DAG", self.pipeline, self._imports(), self.functions, dag)

    def _imports(self) -> Iterator[str]:
        yield import_from("airflow.sdk", [_DAG, _PARAM] if self.pipeline.declared else [_DAG])
        if self.names.imported:
            yield import_from(PACKAGE, sorted(self.names.imported))

    def _dag(self) -> ast.expr:
        pipeline, name = self.pipeline, self.pipeline.name or "pipeline"
        keywords: dict[str, ast.expr] = {
            "dag_id": ast.Constant(legal_id(name)),
            "schedule": ast.Constant(None),
        }
        if isinstance(pipeline.description, str):
            keywords["description"] = ast.Constant(pipeline.description)
        if params := {one.name: self._param(one) for one in pipeline.declared}:
            names: list[ast.expr | None] = [ast.Constant(name) for name in params]
            keywords["params"] = ast.Dict(names, list(params.values()))
        if pipeline.parallelism is not ABSENT:
            limit = pipeline.parallelism.max_parallel_execution_steps
            keywords["max_active_tasks"] = ast.Constant(limit)
        if arguments := default_arguments(pipeline, legal_id(name)):
            keywords["default_args"] = self.expressions.value(arguments)
        keywords["tags"] = array([ast.Constant("sagebridge")])
        return call(ast.Name(_DAG, ast.Load()), **keywords)

    def _param(self, parameter: Parameter) -> ast.expr:
        schema = param_schema(parameter)
        keywords = {name: self.expressions.value(value) for name, value in schema.items()}
        if isinstance(parameter.description, str):
            keywords["description"] = ast.Constant(parameter.description)
        default = () if parameter.default is ABSENT else (shown_default(parameter),)
        return call(ast.Name(_PARAM, ast.Load()), *map(self.expressions.value, default), **keywords)

    def _steps(self, steps: Sequence[Step]) -> Iterator[tuple[str, ast.stmt]]:
        """One assignment per step, if possible after the steps that it refers to."""
        for step in in_order(steps):
            yield from self._step(step)

    def _step(self, step: Step) -> Iterator[tuple[str, ast.stmt]]:
        if isinstance(step, ConditionStep):
            for branch in step.branches:
                yield from self._step(branch)
        built = self._operator(step)
        variable = self.names.variable(step.name)
        self.expressions.defined.add(step.name)
        yield step.name, ast.Assign([ast.Name(variable, ast.Store())], built, lineno=0)

    def _operator(self, step: Step) -> ast.expr:
        row = None if isinstance(step, CarriedStep) else OPERATOR_TYPES.get(step.type)
        task_id = self.task_ids[step.name]
        keywords: dict[str, ast.expr] = {"task_id": ast.Constant(task_id)}
        if task_id != step.name or "." in task_id:
            keywords["step_name"] = ast.Constant(step.name)
        name = row.operator if row else "StepOperator"
        if isinstance(step, CarriedStep):
            name = "PythonStepOperator" if isinstance(step, PythonStep) else "ShellStepOperator"
            keywords.update(self._carried(step))
        elif row is None:
            keywords["step_type"] = ast.Constant(step.type)
        branches = dict(self._branches(step)) if isinstance(step, ConditionStep) else {}
        keywords.update(self.steps.arguments(step, branches))
        connection = for_airflow(self.connections.get(step.name, EMPTY))
        keywords.update({one: self.expressions.value(connection[one]) for one in connection})
        return call(self.names.use(name), **keywords)

    def _carried(self, step: CarriedStep) -> dict[str, ast.expr]:
        """Code and arguments, named as in Airflow's PythonOperator and BashOperator."""
        code, arguments = self.steps.carried(step, self.functions)
        if isinstance(step, PythonStep):
            return {"python_callable": code} | {f"op_{one}": arguments[one] for one in arguments}
        return {"bash_command": code, **arguments}

    def _watch(self) -> Iterator[ast.stmt]:
        """The WatchOperator, if the DAG run could succeed although a step failed."""
        if hidden := hidden_failures(self.pipeline):
            watched = array(ast.Name(self.names.variable(name), ast.Load()) for name in hidden)
            task_id = ast.Constant(watch_id(self.pipeline))
            operator = self.names.use("WatchOperator")
            yield ast.Expr(call(operator, task_id=task_id, watched=watched))

    def _branches(self, step: ConditionStep) -> Iterator[tuple[str, ast.expr]]:
        for argument, branch in (("if_steps", step.if_steps), ("else_steps", step.else_steps)):
            if branch is not ABSENT:
                variables = (self.names.variable(inner.name) for inner in branch)
                yield argument, array(ast.Name(variable, ast.Load()) for variable in variables)
