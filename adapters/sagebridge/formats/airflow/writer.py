"""The model to an Airflow DAG file that reads as if a person had written it.

Parameters first, then a block a step in dependency order, references as ``step.properties.A["b"]``.
What Airflow has no word for is an argument of ours or, for the pipeline as a whole, the DAG's
default argument ``definition``; so nothing of a definition is lost.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from typing import Any

from sagebridge.formats.airflow.live import beside, legal_id, schema_type, task_ids
from sagebridge.formats.orchestrators import MEANINGS, losses_by_step
from sagebridge.formats.python import Expressions, Names, array, call, layout, source
from sagebridge.formats.step_forms import FORMS
from sagebridge.model.graph import in_order
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step
from sagebridge.model.values import ABSENT, EMPTY, Object, Value, key_of

PACKAGE = "sagebridge_operators.airflow"
_DAG, _PARAM = "DAG", "Param"


def write(pipeline: Pipeline) -> tuple[str, tuple[Loss, ...]]:
    """The text of a DAG file and what Airflow cannot say of the pipeline."""
    file = DagFile(pipeline)
    return layout(file.text()), tuple(loss for lost in file.losses.values() for loss in lost)


class DagFile:
    """One DAG file in the making."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.losses = losses_by_step(pipeline, "airflow")
        self.task_ids = task_ids(pipeline)
        operators = (form.operator for form in FORMS.values())
        self.names = Names(reserved=frozenset((*operators, *_WORDS)))
        self.expressions = Expressions(self.names)

    def text(self) -> str:
        """The file before it is laid out."""
        opening = source(ast.With([ast.withitem(self._dag())], [ast.Pass()]))
        blocks = [self._commented(name, node) for name, node in self._steps(self.pipeline.steps)]
        body = "\n\n".join(_indent(block) for block in blocks)
        parts = [
            source(ast.Module([ast.Expr(ast.Constant(self._docstring()))], [])),
            "\n".join(source(node) for node in self._imports()),
            opening.removesuffix("pass") + "\n" + body if blocks else opening,
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _imports(self) -> Iterator[ast.stmt]:
        yield _import("airflow.sdk", sorted({_DAG, *self._sdk_names()}))
        if self.names.imported:
            yield _import(PACKAGE, sorted(self.names.imported, key=_import_order))

    def _docstring(self) -> str:
        name = self.pipeline.name or "pipeline"
        return f"{name}: an Airflow DAG that sagebridge wrote from a SageMaker pipeline definition."

    def _sdk_names(self) -> Iterator[str]:
        if self.pipeline.declared:
            yield _PARAM

    def _dag(self) -> ast.expr:
        pipeline, name = self.pipeline, self.pipeline.name or "pipeline"
        keywords: dict[str, ast.expr] = {
            "dag_id": ast.Constant(legal_id(name)),
            "schedule": ast.Constant(None),
        }
        if isinstance(pipeline.description, str):
            keywords["description"] = ast.Constant(pipeline.description)
        if pipeline.declared:
            keywords["params"] = ast.Dict(
                keys=[ast.Constant(parameter.name) for parameter in pipeline.declared],
                values=[self._param(parameter) for parameter in pipeline.declared],
            )
        if pipeline.parallelism is not ABSENT:
            limit = pipeline.parallelism.max_parallel_execution_steps
            keywords["max_active_tasks"] = ast.Constant(limit)
        if arguments := beside(pipeline, legal_id(name)):
            keywords["default_args"] = self.expressions.value(arguments)
        keywords["tags"] = array([ast.Constant("sagebridge")])
        return call(ast.Name(_DAG, ast.Load()), **keywords)

    def _param(self, parameter: Parameter) -> ast.expr:
        keywords: dict[str, ast.expr] = {"type": ast.Constant(schema_type(parameter))}
        if parameter.enum_values:
            keywords["enum"] = self.expressions.value(parameter.enum_values)
        if isinstance(parameter.description, str):
            keywords["description"] = ast.Constant(parameter.description)
        default = () if parameter.default is ABSENT else (self._literal(parameter.default),)
        return call(ast.Name(_PARAM, ast.Load()), *default, **keywords)

    def _literal(self, value: Value) -> ast.expr:
        return self.expressions.value(value)

    def _commented(self, step: str, node: ast.stmt) -> str:
        codes = dict.fromkeys(loss.code for loss in self.losses.get(step, ()))
        comments = [f"# sagebridge: {code}: {MEANINGS[code]}" for code in codes]
        return "\n".join((*comments, source(node)))

    def _steps(self, steps: Sequence[Step]) -> Iterator[tuple[str, ast.stmt]]:
        """One assignment a step, each after the steps that it refers to where that is possible."""
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
        value = self.expressions.value
        form = FORMS.get(step.type)
        task_id = self.task_ids[step.name]
        keywords: dict[str, ast.expr] = {"task_id": ast.Constant(task_id)}
        if task_id != step.name:
            keywords["step_name"] = ast.Constant(step.name)
        if form is None:
            keywords["step_type"] = ast.Constant(step.type)
        extra = dict(step.extra)
        for argument, member in (form.members if form else {}).items():
            if member in extra:
                keywords[argument] = value(extra.pop(member))
        if isinstance(step, ConditionStep):
            keywords.update(self._branches(step))
        elif step.type == "Fail" and key_of(list(step.arguments or ())) == key_of(["ErrorMessage"]):
            keywords["error_message"] = value(step.arguments["ErrorMessage"])
        elif step.arguments is not ABSENT:
            keywords["arguments"] = value(step.arguments)
        keywords.update(self._common(step))
        if extra:
            keywords["extra"] = value(extra)
        name = form.operator if form else "StepOperator"
        return call(self.names.use(name), **keywords)

    def _branches(self, step: ConditionStep) -> Iterator[tuple[str, ast.expr]]:
        if step.conditions is not ABSENT:
            yield "conditions", array(map(self.expressions.condition, step.conditions))
        for argument, branch in (("if_steps", step.if_steps), ("else_steps", step.else_steps)):
            if branch is not ABSENT:
                variables = (self.names.variable(inner.name) for inner in branch)
                yield argument, array(ast.Name(variable, ast.Load()) for variable in variables)
        if step.arguments is ABSENT or step.arguments != EMPTY:
            yield "arguments", self._arguments_of(step)

    def _arguments_of(self, step: ConditionStep) -> ast.expr:
        if step.arguments is ABSENT:
            return self.names.use("ABSENT")
        return self.expressions.value(step.arguments)

    def _common(self, step: Step) -> Iterator[tuple[str, ast.expr]]:
        value = self.expressions.value
        if step.depends_on is not ABSENT:
            yield "depends_on", array(map(self._dependency, step.depends_on))
        if step.retry_policies is not ABSENT:
            yield "retry_policies", array(map(self._record, step.retry_policies))
        if step.cache is not ABSENT:
            yield "cache_config", self._record(step.cache)
        if step.property_files is not ABSENT:
            yield "property_files", array(map(self._record, step.property_files))
        if step.output_parameters is not ABSENT:
            yield "output_parameters", array(map(self._record, step.output_parameters))
        if step.display_name is not ABSENT:
            yield "display_name", value(step.display_name)
        if step.description is not ABSENT:
            yield "description", value(step.description)

    def _dependency(self, name: str | Object) -> ast.expr:
        if not isinstance(name, str):
            return self.expressions.value(name)
        if name in self.expressions.defined:
            return ast.Name(self.names.variable(name), ast.Load())
        return ast.Constant(name)

    def _record(self, record: Any) -> ast.expr:
        """A small dataclass of the model as a call with its members that are there."""
        keywords = {}
        for field in fields(record):
            value = getattr(record, field.name)
            if value is ABSENT or (field.default is not MISSING and value == field.default):
                continue
            keywords[field.name] = self.expressions.value(value)
        return call(self.names.use(type(record).__name__), **keywords)


_WORDS = (
    "DAG",
    "Param",
    "StepOperator",
    "ABSENT",
    "JsonGet",
    "other_condition",
    "equals",
    "execution",
    "get",
    "greater_than",
    "greater_than_or_equal_to",
    "is_in",
    "join",
    "json_get",
    "json_get_s3",
    "less_than",
    "less_than_or_equal_to",
    "not_",
    "or_",
    "parameter",
)


def _import_order(name: str) -> tuple[bool, bool, str]:
    """As ruff sorts imported names: constants, classes, functions."""
    return not name.isupper(), not name[0].isupper(), name


def _import(module: str, names: Sequence[str]) -> ast.stmt:
    return ast.ImportFrom(module, [ast.alias(name) for name in names], 0)


def _indent(block: str) -> str:
    return "\n".join(f"    {line}" for line in block.splitlines())
