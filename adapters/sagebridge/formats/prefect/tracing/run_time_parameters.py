"""Parameters that replace values which are only known when the flow runs."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from sagebridge.authoring.value_types import OBJECT
from sagebridge.formats.prefect.tracing.task_calls import TracedFile
from sagebridge.model.code_removal import used_types
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import Pipeline, step_references, walk
from sagebridge.model.values import ABSENT, Value


@dataclass(frozen=True, slots=True)
class RunTimeParameter:
    """``known`` is false if only the uses of the parameter show its type."""

    parameter: Parameter
    loss: Loss
    known: bool

    @classmethod
    def of(
        cls, what: str, type_: str, line: int, name: str, default: Value, file: TracedFile
    ) -> RunTimeParameter:
        description = f"Replaces {what} (line {line} of {file.name})"
        known = type_ not in ("", OBJECT)
        text = f"{what} is a run-time value; it becomes the parameter {name!r}"
        loss = Loss("computed-value", "changed", str(line), text, "pipeline", "set the parameter")
        declared = type_ if known else "String"
        return cls(Parameter(name, declared, default, description=description), loss, known)

    def of_type(self, types: Mapping[str, str]) -> Parameter:
        """The parameter with the type that its uses need, by the text of the reference."""
        needed = types.get(f"Parameters.{self.parameter.name}", "String")
        return self.parameter if self.known else replace(self.parameter, type=needed)


def with_parameters(pipeline: Pipeline, added: Collection[RunTimeParameter]) -> Pipeline:
    """Declare the parameters for run-time values, with the types that their uses need."""
    known = [one.parameter for one in added if one.known]
    types = used_types(replace(pipeline, parameters=(*pipeline.declared, *known)))
    declared = (*pipeline.declared, *(one.of_type(types) for one in added))
    return replace(pipeline, parameters=declared) if added else pipeline


def without_unused(
    pipeline: Pipeline, added: Collection[RunTimeParameter]
) -> tuple[Pipeline, list[Loss]]:
    """Remove the added parameters that no step uses; returns the losses of the others."""
    if not added:
        return pipeline, []
    used = {get.name for step in walk(pipeline) for get in step_references(step)}
    unused = {one.parameter.name for one in added} - used
    kept = [one for one in pipeline.declared if one.name not in unused]
    losses = [one.loss for one in added if one.parameter.name in used]
    return replace(pipeline, parameters=tuple(kept) or ABSENT), losses


def parameter_name(wanted: str, line: int) -> str:
    """A legal name: the wanted one, if any, otherwise one with the line."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", wanted).strip("_")[:60] or f"value_of_line_{line}"
