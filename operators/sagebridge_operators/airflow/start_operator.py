"""The task of a small DAG, which starts a run of a pipeline's DAG for one slot or event."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from zlib import crc32

from sagebridge.authoring.dag_pipeline import own_arguments, parameters_of
from sagebridge.errors import ModelTypeError, ParameterError
from sagebridge.model.converters import object_
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.parameters import Parameter, coerce
from sagebridge.model.schedules import at_slot
from sagebridge.model.values import EMPTY, Object, Value
from sagebridge_operators.airflow._compat import (
    IS_AIRFLOW_2,
    AirflowSkipException,
    BaseOperator,
    Context,
)
from sagebridge_operators.airflow.dag_runs import start_dag_run
from sagebridge_operators.airflow.task_log import failure

if TYPE_CHECKING:
    from sagebridge_operators.airflow._compat import DAG


class StartPipelineOperator(BaseOperator):
    """Starts a run of another DAG, for example for a schedule with its own parameters.

    The id of the started run consists of this DAG's id and the slot. If that run exists, the task
    is skipped, so a task that runs again starts nothing. If Airflow's API does not respond, the
    task is retried. No value is a template.

    Args:
        pipeline: the DAG to start. With the DAG itself, the values are converted to the types of
            its Params and checked first; with its id, Airflow checks them.
        parameters: Params of the run; others have their defaults. The text
            ``<aws.scheduler.scheduled-time>`` becomes the slot, as ``2026-12-01T04:00:00Z``.
        event_trigger: starts one run per event that it matches, with the parameters of the event.
    """

    def __init__(
        self,
        *,
        pipeline: DAG | str,
        parameters: Mapping[str, Value] = EMPTY,
        event_trigger: EventTrigger | None = None,
        **kwargs: Any,
    ) -> None:
        # A slot must not be lost when the API server restarts.
        kwargs = {"retries": 5, "retry_delay": timedelta(seconds=20), **kwargs}
        super().__init__(**kwargs)
        try:
            self.parameters: Object = object_(parameters)
        except TypeError as error:
            raise ModelTypeError([f"StartPipelineOperator: parameters: {error}"]) from None
        self.event_trigger = event_trigger
        self.trigger_dag_id = pipeline if isinstance(pipeline, str) else pipeline.dag_id
        self.declared: tuple[Parameter, ...] | None = None
        if not isinstance(pipeline, str):
            definition, _ = own_arguments(pipeline.default_args)
            self.declared = parameters_of(pipeline, definition.get("Parameters") or EMPTY)

    def execute(self, context: Context) -> list[str]:
        """Returns the ids of the runs that it started.

        For a slot, Airflow 3 starts the run after DagRunTriggerException was raised. Raises
        AirflowFailException for wrong parameters.
        """
        ti, dag_run = context["ti"], context["dag_run"]
        if self.event_trigger is not None:
            from sagebridge_operators.airflow.event_starts import start_event_runs

            new_id = partial(run_id, ti.dag_id)
            return start_event_runs(
                self.event_trigger, context, self.trigger_dag_id, new_id, self.conf
            )
        given = at_slot(self.parameters, dag_run.logical_date or dag_run.run_after)
        self.check_is_active(ti)
        new_run = run_id(ti.dag_id, ti.run_id.removeprefix("scheduled__"))
        if IS_AIRFLOW_2:
            if not start_dag_run(self.trigger_dag_id, new_run, self.conf(given)):
                raise AirflowSkipException(f"run {new_run} exists already")
            return [new_run]
        from sagebridge_operators.airflow._compat import DagRunTriggerException

        raise DagRunTriggerException(
            trigger_dag_id=self.trigger_dag_id,
            dag_run_id=new_run,
            conf=self.conf(given),
            logical_date=None,  # two schedules may have the same slot
            reset_dag_run=False,
            skip_when_already_exists=True,
            wait_for_completion=False,
            allowed_states=[],
            failed_states=[],
            poke_interval=0,
            deferrable=False,
        )

    def check_is_active(self, ti: Any) -> None:
        """Fails if the DAG is paused: its runs would wait, and all start when it is unpaused."""
        # get_dag is new in Airflow 3.2 (airflow/sdk/execution_time/task_runner.py).
        if hasattr(ti, "get_dag") and ti.get_dag(self.trigger_dag_id).is_paused:
            raise failure(f"the DAG {self.trigger_dag_id!r} is paused; unpause it")

    def conf(self, given: Mapping[str, Value]) -> dict[str, Any]:
        """The given values in the declared types. Fails for wrong, unknown and missing ones."""
        if self.declared is None:
            return dict(given)
        try:
            values = coerce(self.declared, given)
        except ParameterError as error:
            raise failure(str(error)) from None
        return {name: values[name] for name in given}


def run_id(starter: str, what: str) -> str:
    """The id of the run that a small DAG starts for a slot or event; 250 characters at most."""
    # As allowed_run_id_pattern, in the section scheduler of the default configuration.
    legal = re.sub(r"[^A-Za-z0-9_.~:+-]", "_", f"{starter}__{what}")
    legal = re.sub(r"\.{2,}", ".", legal)
    # Without the sum, all slots of a DAG with a very long id would have the same run.
    return legal if len(legal) <= 250 else f"{legal[:241]}-{crc32(legal.encode()):08x}"
