"""The execution of a flow run, with its records and backends."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_jsonable_python

from sagebridge.errors import FlowError
from sagebridge.model.code_steps import RETURN_VALUE
from sagebridge.model.expressions import Get
from sagebridge.model.graph import graph
from sagebridge.model.parameters import Parameter, coerce
from sagebridge.model.pipeline import Pipeline, Step, walk
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import ABSENT
from sagebridge_operators.backends import open_records, resumed
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.drive import PATIENCE
from sagebridge_operators.lifecycle.execution import Execution, execution_id, given_execution
from sagebridge_operators.lifecycle.opening import (
    complete_execution,
    is_retried,
    open_execution,
    retry_execution,
    start_time,
)
from sagebridge_operators.lifecycle.outages import patiently
from sagebridge_operators.lifecycle.outputs import (
    json_safe,
    outputs_of,
    path_text,
    properties_in,
)
from sagebridge_operators.lifecycle.recorded_pipeline import recorded_definition
from sagebridge_operators.lifecycle.retry import Retry
from sagebridge_operators.lifecycle.user_code.kept_secrets import masked
from sagebridge_operators.lifecycle.user_code.values import untagged
from sagebridge_operators.prefect.flow_backends import (
    backend_folders,
    backend_of,
    records_settings,
    settings_for_record,
)
from sagebridge_operators.prefect.step_keys import StepKey
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.output_parameters import OUTPUT_PARAMETERS

_SCALARS = (str, int, float, bool)


class OpenedExecution:
    """Opens an execution, or continues that of an earlier try of the flow run.

    Args:
        execution: the execution as this try of the flow run starts it.
        defaults: settings of steps without any.
        settings: the settings of each step, without secrets, for the record.
        again: whether an earlier try of the flow run exists.
        resumed: whether the flow run continues after its process was killed. Ended steps are not
            run again then.
    """

    def __init__(
        self,
        execution: Execution,
        defaults: Mapping[str, Any],
        settings: Mapping[str, Mapping[str, str]],
        *,
        again: bool,
        resumed: bool = False,
    ) -> None:
        self._backends: dict[str, Backend] = {}
        self._before: dict[StepKey, Attempt] = {}
        backend = self.backend(defaults)
        self.read = backend.read_object
        self.records = open_records(self.backend(records_settings()))
        if again and not resumed:
            retry_execution(self.records, execution.id)
        self._retry = Retry.of(self.records.execution(execution.id))
        if again or resumed or self._retry.number:
            latest = self.records.latest(execution.id)
            self._before = {StepKey(one.step, one.index): one for one in latest}
        self._resumed = resumed
        body = {
            **execution.described(backend.name),
            **backend_folders(backend),
            "settings": {name: dict(one) for name, one in settings.items()},
        }
        begun = open_execution(self.records, execution.id, body, dict)
        # The command that started the flow run did not know the settings of its steps.
        complete_execution(self.records, execution.id, body)
        self.execution = replace(execution, started=start_time(begun))

    def describe(self, pipeline: Pipeline) -> None:
        """Records the definition, which grows during the run if the flow has a plain ``if``."""
        self.records.describe(self.execution.id, recorded_definition(pipeline))

    def backend(self, settings: Mapping[str, Any]) -> Backend:
        """The backend for settings; steps with the same settings share it."""
        key = json.dumps([settings_for_record(settings), id(settings.get("aws_credentials"))])
        if key not in self._backends:
            self._backends[key] = backend_of(settings)
        return self._backends[key]

    def with_iterations(self, before: Attempt, pipeline: Pipeline) -> dict[StepKey, Attempt]:
        """An attempt of an earlier process; for a ForEach also those of its iterations."""
        step = pipeline.step(before.step)
        body = {inner.name for inner in step.inner} if step is not None else set()
        inner = {key: one for key, one in self._before.items() if key.index and key.step in body}
        return {StepKey(before.step, before.index): before, **inner}

    def generation(self, key: StepKey) -> int:
        """The generation of a step: one more than before if an earlier try of it failed.

        It stays the same after a lost worker, whose job is found again.
        """
        before = self._before.get(key)
        if before is None:
            return 0
        again = not self._resumed or self._retry.is_past(before)
        repeats = before.state == "Succeeded" and self._retry.is_past(before)
        return before.generation + (again and (before.state in ("Failed", "Stopped") or repeats))

    def engine_try(self, run_count: int) -> int:
        """The try of the steps of a flow run, which grows in a retried execution."""
        return self._retry.tries + run_count

    def ended(self, key: StepKey, retries: int) -> Attempt | None:
        """The attempt of a step that ended in an earlier process of a resumed flow run.

        None if the user's ``retries`` of the step are not used up.
        """
        before = self._before.get(key)
        if not self._resumed or before is None or before.running or is_retried(before, retries):
            return None
        if self._retry.is_past(before):
            return None
        return before


def open_flow_run(
    info: Any,
    flow: str,
    pipeline: Pipeline,
    parameters: Mapping[str, Parameter],
    given: Mapping[str, Any],
    with_validators: Collection[str],
    settings: Callable[[str | None], dict[str, Any]],
) -> OpenedExecution:
    """Opens the execution of a flow run. Waits through an outage; raises ParameterError.

    Args:
        info: Prefect's flow run.
        flow: the name of the flow.
        pipeline: its steps as far as they are declared.
        parameters: the pipeline's parameters, by the names of the flow's arguments.
        given: the values of these arguments.
        with_validators: the arguments with custom validators. The values of the others are
            also checked as the run was started with them: pydantic turns True, "nan" and other
            values that no other engine accepts into numbers.
        settings: returns the settings of a step, or for None the defaults.
    """
    # A required String that may be null in a definition is an argument without default.
    parameters = {
        name: one
        for name, one in parameters.items()
        if one.nullable or given.get(name, "") is not None
    }
    sent = {one: value for one, value in (info.parameters or {}).items() if one in parameters}
    unconverted = {
        one: value
        for one, value in sent.items()
        if one not in with_validators and isinstance(value, _SCALARS)
    }
    values = {
        parameter.name: to_jsonable_python(value)
        for name, parameter in parameters.items()
        if (value := given.get(name, ABSENT)) is not ABSENT
    }
    declared = tuple(parameters.values())
    coerce(declared, values | {parameters[one].name: unconverted[one] for one in unconverted})
    execution = Execution(
        id=given_execution(str(info.id)) or execution_id("prefect", flow, str(info.id)),
        pipeline=pipeline.name or flow,
        engine="prefect",
        run=f"{flow}/{info.id}",
        started=info.start_time or datetime.now(UTC),
        parameters=coerce(declared, values),
        experiment_config=pipeline.experiment_config,
    )
    recorded = {step.name: settings_for_record(settings(step.name)) for step in walk(pipeline)}
    again, defaults = info.run_count > 1, settings(None)
    return patiently(
        lambda: OpenedExecution(execution, defaults, recorded, again=again, resumed=resumed()),
        PATIENCE,
    )


def with_late_properties(
    step: Step, outputs: dict[str, Any], references: Sequence[Get], backend: Backend
) -> dict[str, Any]:
    """Adds properties to which steps refer that were declared after ``step`` had ended.

    This happens if the flow branches with a plain ``if``.
    """
    known = {**outputs.get("properties", {}), **outputs.get("missing", {})}
    late = [one for one in references if path_text(one) not in known]
    if step.type not in JOB_TYPES or RETURN_VALUE in outputs or not late:
        return outputs
    description = _described(step, backend, outputs, properties_in(late))
    found = json_safe(outputs_of(step, description, late))
    return {**outputs, **{key: {**outputs.get(key, {}), **found[key]} for key in found}}


def properties_of_ended(step: Step, outputs: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    """All properties of a step that has succeeded, as JSON."""
    if RETURN_VALUE in outputs:
        return {RETURN_VALUE: untagged(masked(outputs[RETURN_VALUE]))}
    if "outcome" in outputs:
        return {"Outcome": str(outputs["outcome"])}
    if OUTPUT_PARAMETERS in outputs:
        return {"OutputParameters": outputs[OUTPUT_PARAMETERS]}
    wanted = frozenset(STEP_TYPES[step.type].synthetic)
    return dict(json_safe(_described(step, backend, outputs, wanted)))


def _described(
    step: Step, backend: Backend, outputs: Mapping[str, Any], properties: frozenset[str]
) -> Mapping[str, Any]:
    """The properties of an ended step's job; empty if the job does not exist any more.

    Those of a type that the service does not describe are its outputs, such as ``action_arns``.
    """
    job_type = JOB_TYPES[step.type]
    if not job_type.described:
        return {name.title().replace("_", ""): value for name, value in outputs.items()}
    client = job_type.client(backend)
    if (found := job_type.find(client, outputs["job"]["name"])) is None:
        return {}
    return job_type.with_details(lambda: client, job_type.properties(step, found), properties)


def upstream_steps(flow: str, pipeline: Pipeline) -> dict[str, list[str]]:
    """The upstream steps of each step. Raises FlowError for a dependency cycle."""
    import networkx as nx  # slow to import

    edges = graph(pipeline)
    if not nx.is_directed_acyclic_graph(edges):
        circle = " -> ".join(source for source, _ in nx.find_cycle(edges))
        raise FlowError(flow, f"the steps have a dependency cycle: {circle}")
    return {name: list(edges.predecessors(name)) for name in edges}
