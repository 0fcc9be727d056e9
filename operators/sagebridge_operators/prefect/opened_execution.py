"""Where and as what an execution of a flow run happens: its records and backends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sagebridge.authoring.definition_writer import definition
from sagebridge.errors import FlowError
from sagebridge.model.expressions import Get
from sagebridge.model.graph import graph
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.backends import open_records
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.backend import Backend
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.opening import (
    complete_execution,
    open_execution,
    reopen_execution,
    started,
)
from sagebridge_operators.lifecycle.outputs import json_safe, outputs_of, path_text
from sagebridge_operators.prefect.flow_backends import backend_of, described, place_of
from sagebridge_operators.steps import JOB_TYPES


class OpenedExecution:
    """Making it opens the execution, or goes on with that of an earlier try of the flow run.

    Args:
        defaults: settings of steps that say none.
        settings: those of each step, as a record may have them.
        again: whether the flow run ran before, and is tried again.
        resumed: whether it goes on, since its process was killed. What had ended stays so.
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
        backend = self.backend(defaults)
        self.read = backend.read_object
        self.records = open_records(backend)
        self._before = self.records.steps(execution.id) if again or resumed else {}
        self._resumed = resumed
        if again and not resumed:
            reopen_execution(self.records, execution.id)
        body = {
            **execution.described(backend.name),
            **place_of(backend),
            "settings": {name: dict(one) for name, one in settings.items()},
        }
        begun = open_execution(self.records, execution.id, body, dict)
        # The command that started the flow run could not know the settings of its steps.
        complete_execution(self.records, execution.id, body)
        self.execution = replace(execution, started=started(begun))

    def describe(self, pipeline: Pipeline) -> None:
        """Records the definition, which a plain ``if`` lets grow while the flow runs."""
        self.records.describe(self.execution.id, definition(pipeline))

    def backend(self, settings: Mapping[str, Any]) -> Backend:
        """The backend of a step, shared by all that have the same settings."""
        key = json.dumps([described(settings), id(settings.get("aws_credentials"))])
        if key not in self._backends:
            self._backends[key] = backend_of(settings)
        return self._backends[key]

    def generation(self, step: str) -> int:
        """Grows where an earlier try of the flow run failed; a lost worker's job is found again."""
        before = self._before.get(step)
        if before is None:
            return 0
        return before.generation + (before.state in ("Failed", "Stopped"))

    def ended(self, step: str) -> Attempt | None:
        """The attempt of a step that had ended before this process went on."""
        before = self._before.get(step)
        return before if self._resumed and before is not None and not before.running else None


def completed(
    step: Step, outputs: dict[str, Any], references: Sequence[Get], backend: Backend
) -> dict[str, Any]:
    """Outputs with the properties that a plain ``if`` let steps refer to after the step ended."""
    known = {**outputs.get("properties", {}), **outputs.get("missing", {})}
    job_type = JOB_TYPES.get(step.type)
    if job_type is None or all(path_text(reference) in known for reference in references):
        return outputs
    client = backend.client(job_type.service)
    description = job_type.find(client, outputs["job"]["name"])
    return {**outputs, **json_safe(outputs_of(step, description or {}, references))}


def waits_for(flow: str, pipeline: Pipeline) -> dict[str, list[str]]:
    """The steps before each step. Raises FlowError where steps wait for one another."""
    import networkx as nx

    edges = graph(pipeline)
    if not nx.is_directed_acyclic_graph(edges):
        circle = " -> ".join(source for source, _ in nx.find_cycle(edges))
        raise FlowError(flow, f"steps wait for one another: {circle}")
    return {name: list(edges.predecessors(name)) for name in edges}
