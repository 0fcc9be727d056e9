"""What Airflow knows about a DAG run, for the code of its steps.

The code gets Airflow's own context. Only its task instance also finds the results of steps, which
are in the records, where those of a flow are too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sagebridge.model.airflow2_context import with_old_dates
from sagebridge.model.code_steps import RETURN_VALUE, CarriedStep
from sagebridge.model.pipeline import walk
from sagebridge_operators.airflow.dag_runs import DagRuns
from sagebridge_operators.airflow.run_time_values import rendered, resolve_run_time_value
from sagebridge_operators.lifecycle.step_task import EngineRun
from sagebridge_operators.lifecycle.user_code.roles import named_steps
from sagebridge_operators.lifecycle.user_code.run_context import RunContext, current_run

if TYPE_CHECKING:
    from sagebridge_operators.airflow._compat import Context
    from sagebridge_operators.airflow.step_operators import StepOperator


def engine_run(operator: StepOperator, context: Context) -> EngineRun:
    """The DAG run of a step's code."""
    dag_run: Any = context["dag_run"]
    return EngineRun(
        run_id=dag_run.run_id,
        scheduled=dag_run.logical_date,
        context=lambda run: code_context(context, run),
        render=lambda text: _rendered(operator, context, text),
        runs=DagRuns(),
        secret=_secret,
    )


def _secret(reference: Sequence[str]) -> Any:
    # Imported here: only code that was written for Prefect needs it.
    from sagebridge_operators.airflow.prefect_names.stores import secret

    return secret(reference)


def _rendered(operator: StepOperator, context: Context, text: str) -> Any:
    if text in operator.run_time_values:
        value, is_code = operator.run_time_values[text], isinstance(operator.step, CarriedStep)
        return resolve_run_time_value(value, text, context, is_code=is_code)
    return rendered(operator, text, context)


def code_context(context: Context, run: RunContext) -> Mapping[str, Any]:
    """Airflow's context with a task instance that finds the results of steps."""
    ti = CodeTaskInstance(context["ti"], run)
    return {**with_old_dates(context), "ti": ti, "task_instance": ti}


class CodeTaskInstance:
    """Airflow's task instance; steps' results and values come from the records."""

    def __init__(self, ti: Any, run: RunContext | None = None) -> None:
        self._ti, self._given = ti, run

    @property
    def _run(self) -> RunContext:
        return current_run() if self._given is None else self._given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ti, name)

    @property
    def try_number(self) -> int:
        """The number of the try, without those of lost workers."""
        return self._run.try_number

    @property
    def execution_date(self) -> Any:
        """The logical date, by its name in Airflow 2."""
        return self._ti.get_template_context()["dag_run"].logical_date

    def xcom_push(self, key: str, value: Any, **more: Any) -> None:
        """Keeps a value for later steps."""
        self._run.push(key, value)

    def xcom_pull(
        self,
        task_ids: str | Sequence[str] | None = None,
        dag_id: str | None = None,
        key: str = RETURN_VALUE,
        **more: Any,
    ) -> Any:
        """A value of a step, or of another task of Airflow."""
        own = dag_id in (None, self._ti.dag_id)
        known = {step.name for step in walk(self._run.pipeline)}
        names = [self._run.step] if task_ids is None else task_ids
        names = [names] if isinstance(names, str) else list(names)
        steps = [next(named_steps(self._run.pipeline, one), "") for one in names]
        if not own or not set(steps) & known:
            return self._ti.xcom_pull(task_ids=task_ids, dag_id=dag_id, key=key, **more)
        index = more.get("map_indexes")
        index = index if isinstance(index, int) and index >= 0 else None
        found = [
            self._run.pull(step, key, index) if step else self._ti.xcom_pull(task_ids=one, key=key)
            for one, step in zip(names, steps, strict=True)
        ]
        if task_ids is None or isinstance(task_ids, str):
            return more.get("default") if found[0] is None else found[0]
        return found


@contextmanager
def in_code_context(context: Context) -> Iterator[None]:
    """Makes get_current_context() return the context of a step's code."""
    from sagebridge_operators.airflow._compat import set_current_context

    ti = CodeTaskInstance(context["ti"])
    given: Any = {**with_old_dates(context), "ti": ti, "task_instance": ti}
    with set_current_context(given):
        yield
