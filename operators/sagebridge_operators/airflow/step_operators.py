"""Operators of steps that run one job, create one resource or fail the execution.

Jinja renders no argument, since the strings of a definition are data. References are resolved in
``execute``. The rendered view shows the request that was sent, with environment values masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

from sagebridge.authoring.declared_names import unknown_arguments
from sagebridge.authoring.step_arguments import (
    STEP_ARGUMENTS,
    own_arguments,
    read_arguments,
    show_arguments,
)
from sagebridge.authoring.task_settings import read_own_settings
from sagebridge.model.expressions import Properties, properties_of
from sagebridge.model.pipeline import Step
from sagebridge.model.step_types import OPERATOR_TYPES, StepType
from sagebridge.model.values import ABSENT, EMPTY, Value
from sagebridge_operators.airflow import (
    step_callbacks,
    task_dependencies,
    task_retries,
    trigger_gates,
)
from sagebridge_operators.airflow._compat import BaseOperator, Context
from sagebridge_operators.airflow.driven_task import DrivenTask
from sagebridge_operators.airflow.job_links import links_of
from sagebridge_operators.airflow.run_time_values import take_run_time_values
from sagebridge_operators.lifecycle.trigger_rules import SETUP_RULE

_TASK_ARGUMENTS = frozenset(signature(BaseOperator.__init__).parameters)
task_retries.register_policy()

if TYPE_CHECKING:
    from sagebridge_operators.lifecycle.drive import StepDriver


class StepOperator(DrivenTask, BaseOperator):
    """One step of a SageMaker pipeline.

    Args:
        step_type: the ``Type`` in the definition; subclasses set it.
        arguments: the step's ``Arguments``, which follow the request of the SageMaker API operation
            (for example CreateTrainingJob). They may contain ``parameter("X")``, ``join(…)``,
            ``json_get(…)`` and ``other.properties.A.B["c"]``, the output of a ``@task`` or another
            XCom, and ``template("s3://bucket/{{ ds }}")``, which Airflow renders. Each reference
            makes the other step or task an upstream task.
        step_name: the step's name; default: the task id without its task group.
        depends_on: step names or operators that must succeed first; ``failed(op)``,
            ``stopped(op)`` and ``ended(op)`` wait for another outcome, by a trigger rule or by
            gate tasks.
        backend: ``aws`` or ``local``; default: SAGEBRIDGE_BACKEND, otherwise ``aws``.
        aws_conn_id, region_name, verify, botocore_config: as in the Amazon provider's operators.
        role_arn: the role of jobs whose arguments have none.
        deferrable: whether Airflow's triggerer looks at the job while no worker waits for it;
            default: ``[operators] default_deferrable``. Only jobs on AWS, from Airflow 3.3 on.
        output_assets: make the S3 data that the job writes outlets of the task, as assets.

    Keys of a definition next to its steps and parameters are a default argument of the DAG,
    ``definition``: ``{"Metadata": {…}, "PipelineExperimentConfig": {…}}``. A pipeline name that is
    not a valid DAG id is the default argument ``pipeline_name``.

    ``retries``, 0 by default, is how often a failed job or function is started again, after
    ``retry_delay``. Airflow shows two more, for lost workers: such a retry finds the job that the
    lost worker started. A step that was stopped, or whose request was rejected, is not retried.
    Raises DuplicateStep if the DAG already has a step with this name.
    """

    step_type: ClassVar[str] = ""
    retries_for_lost_workers: ClassVar[int] = 2
    template_fields: Sequence[str] = ("request",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"request": "json"}
    # Stores ``request`` for the rendered view again after execute(), which sets it (finalize() in
    # airflow/sdk/execution_time/task_runner.py).
    overwrite_rtif_after_execution = True
    ui_color = "#e8f4f0"

    @show_arguments(*STEP_ARGUMENTS[1:])
    def __init__(
        self,
        *,
        step_type: str | None = None,
        step_name: str | None = None,
        backend: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        role_arn: str | None = None,
        deferrable: bool | None = None,
        output_assets: bool = False,
        retry_delay: timedelta | float = timedelta(seconds=10),
        **kwargs: Any,
    ) -> None:
        for given in ("arguments", "extra"):
            if given in kwargs:
                kwargs[given] = self._without_run_time_values(kwargs[given])
        fields = read_arguments(kwargs)
        kwargs = step_callbacks.with_callbacks(kwargs)
        settings, live_hooks = read_own_settings(kwargs)
        if problem := unknown_arguments(
            _label(self, kwargs), kwargs, _TASK_ARGUMENTS, _shown(self)
        ):
            raise TypeError(problem)
        if fields["display_name"] is not ABSENT:
            kwargs.setdefault("task_display_name", fields["display_name"])
        if fields["description"] is not ABSENT:
            kwargs.setdefault("doc_md", fields["description"])
        kwargs.setdefault("multiple_outputs", True)  # so that op.output["job_name"] works
        super().__init__(retry_delay=retry_delay, **kwargs)
        self.backend = backend
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self.role_arn = role_arn
        self.deferrable = deferrable
        self.request: Mapping[str, Any] | None = None
        name = own_id(self) if step_name is None else step_name
        rule = trigger_gates.rule_of(self.entry)
        rule = "" if rule == trigger_gates.ALL_SUCCESS else rule
        settings = replace(settings, trigger_rule=rule, group=tuple(_groups(self)))
        self._step = Step(name, step_type or self.step_type, engine=settings, **fields)
        self.own_hooks = live_hooks
        self.output_assets = output_assets
        if output_assets:
            # Imported here: few DAGs use assets.
            from sagebridge_operators.airflow.output_assets import outlets_of

            self.outlets = [*self.outlets, *outlets_of(self.dag_id, self.task_id, self._step)]
        self.follows_triggers = False
        if settings.setup:
            self.as_setup()  # type: ignore[no-untyped-call]
        if settings.trigger_rule == SETUP_RULE:
            self.as_teardown()
        trigger_gates.set_rule(self)
        task_dependencies.connect(self)

    def _without_run_time_values(self, value: Any) -> Any:
        """A value with templates in place of XComs, which the operator keeps for its run."""
        return take_run_time_values(value, self.run_time_values)

    @property
    def run_time_values(self) -> dict[str, Any]:
        """The XComs in the arguments, by the template in their place in the step."""
        found: dict[str, Any] = vars(self).setdefault("_run_time_values", {})
        return found

    @property
    def step(self) -> Step:
        """The step of this task in the pipeline model."""
        return self._step

    @property
    def entry(self) -> BaseOperator:
        """The task that starts the step: it waits for everything that the step needs."""
        return self

    @property
    def arguments(self) -> Value:
        """The step's arguments. Read-only: pass them to the constructor."""
        return self._step.arguments

    @property
    def properties(self) -> Properties:
        """References to the step's run-time properties, such as ``properties.A.B["c"]``."""
        return properties_of(self._step.name)

    def execute(self, context: Context) -> dict[str, Any]:
        """Runs the step; returns its job, status, main results and referenced properties.

        Each key is also a separate XCom: a later ``@task`` can use ``op.output["job_name"]``,
        ``["job_arn"]``, ``["status"]``, ``["model_artifact"]`` (Training), ``["outputs"]``
        (Processing: S3 URI by output name), ``["output"]`` (Transform), ``["model_name"]``,
        ``["model_package_arn"]``, ``["outcome"]`` (Condition) or ``["return_value"]`` (code).

        Raises AirflowFailException if the step failed or was stopped; another exception if Airflow
        is to retry it.
        """
        return self.run_step(context)

    def run_step(self, context: Context) -> dict[str, Any]:
        """As ``execute``, which subclasses extend.

        Airflow 2 warns if they call ``super().execute`` (ExecutorSafeguard in
        airflow/models/baseoperator.py).
        """
        trigger_gates.check(self, context)
        return self._with_events(context, self._run(context))

    def resume(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Goes on after a trigger's event. Returns or raises as ``execute`` does."""
        return self._with_events(context, self._run(context, event))

    def _with_events(self, context: Context, outputs: dict[str, Any]) -> dict[str, Any]:
        if self.output_assets:
            from sagebridge_operators.airflow.output_assets import add_events

            add_events(self, context, outputs)
        return outputs

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """As in Airflow, but a trigger that failed says nothing about the job."""
        if next_method == "__fail__":  # TRIGGER_FAIL_REPR in airflow/sdk/bases/operator.py
            return self._run(context, {"status": "error", "code": "the trigger failed"})
        return super().resume_execution(next_method, next_kwargs, context)

    def _prepare(self, context: Context, *, resumes: bool) -> StepDriver:
        from sagebridge_operators.airflow import task_runtime

        return task_runtime.prepare(self, context, resumes=resumes)

    def _drive(
        self, driver: StepDriver, context: Context, event: Mapping[str, Any]
    ) -> dict[str, Any]:
        from sagebridge_operators.airflow import task_runtime

        return task_runtime.run(driver, self, context, event)

    def resolve_template_files(self) -> None:
        """Checks the names in the whole DAG. Raises InvalidDag, an import error of the file.

        DagBag.bag_dag (airflow/dag_processing/dagbag.py) calls this for each task, after the DAG
        file has run. ``with DAG`` has no such hook: DAG.__exit__ only restores the context.
        """
        super().resolve_template_files()
        task_dependencies.complete(self.dag)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """The S3 data that the job read and wrote, as OpenLineage's OperatorLineage."""
        from sagebridge_operators.airflow.lineage import lineage_of

        return lineage_of(self._driver)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """The S3 data that the job read."""
        from sagebridge_operators.airflow.lineage import lineage_of

        return lineage_of(self._driver, failed=True)


OPERATOR_ARGUMENTS = (frozenset(signature(StepOperator.__init__).parameters) | _TASK_ARGUMENTS) - {
    "self",
    "args",
    "kwargs",
    "task_id",
    "dag",
    "task_group",
    "default_args",
}
"""The arguments that can be set for all operators of a DAG."""


def _label(operator: StepOperator, given: Mapping[str, Any]) -> str:
    return f"{type(operator).__name__} {given.get('task_id')!r}"


def _shown(operator: StepOperator) -> list[str]:
    """The arguments in the signatures of an operator's classes."""
    own = [one for one in type(operator).__mro__ if issubclass(one, StepOperator)]
    return [name for one in own for name in signature(one.__init__).parameters]


def _groups(operator: StepOperator) -> list[str]:
    """The names of the task groups around a task, outermost first, without those of a ForEach."""
    names: list[str] = []
    group: Any = operator.task_group
    while group is not None and group.node_id:
        if not hasattr(group, "for_each"):
            names.insert(0, group.label)
        group = group.parent_group
    return names


def own_id(operator: StepOperator) -> str:
    """The id of a task without the prefix of its task group."""
    group: Any = operator.task_group
    return operator.task_id if group is None else operator.task_id.removeprefix(group.child_id(""))


class FailOperator(StepOperator):
    """A Fail step: fails the execution with ``error_message``. Never retried."""

    step_type = "Fail"
    retries_for_lost_workers = 0

    def __init__(self, *, error_message: Value = ABSENT, **kwargs: Any) -> None:
        if error_message is not ABSENT:
            kwargs["arguments"] = {"ErrorMessage": error_message}
        kwargs.setdefault("retries", 0)
        super().__init__(**kwargs)


def _operator(row: StepType) -> type[StepOperator]:
    """Creates the operator of a step type, with an argument for each key of that type."""

    class Operator(StepOperator):
        __doc__ = row.summary
        step_type = row.name
        operator_extra_links = links_of(row)

        if row.members:

            @show_arguments(*own_arguments(row.members))
            def __init__(self, **kwargs: Any) -> None:
                extra = dict(kwargs.get("extra", EMPTY))
                for name, member in row.members.items():
                    if (given := kwargs.pop(name, ABSENT)) is not ABSENT:
                        extra[member] = given
                super().__init__(**{**kwargs, "extra": extra})

    Operator.__name__ = Operator.__qualname__ = row.operator
    return Operator


OPERATORS: dict[str, type[StepOperator]] = {
    row.name: FailOperator if row.name == "Fail" else _operator(row)
    for row in OPERATOR_TYPES.values()
    if row.name not in ("Condition", "ForEach")
}
globals().update({operator.__name__: operator for operator in OPERATORS.values()})
