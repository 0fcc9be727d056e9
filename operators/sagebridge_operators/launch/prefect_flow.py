"""The flow that a Prefect server runs: generated for a pipeline, or in an existing flow file."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sagebridge
from sagebridge.authoring.pipeline_builder import legal_name
from sagebridge.authoring.python_files import flow_functions, split_source
from sagebridge.errors import UsageError
from sagebridge.model.code_removal import without
from sagebridge.model.pipeline import Pipeline, walk


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow and its pipeline.

    ``name`` is its Prefect name, ``entry`` its function name, ``arguments`` its arguments in the
    order of the pipeline's parameters. ``file`` is an existing flow file; if None, ``text`` is the
    content of a generated one. ``own_tasks`` are plain Prefect tasks.
    """

    name: str
    entry: str
    arguments: tuple[str, ...]
    pipeline: Pipeline
    file: Path | None = None
    text: str = ""
    own_tasks: tuple[str, ...] = ()

    @classmethod
    def generated(cls, pipeline: Pipeline) -> Flow:
        """The flow that sagebridge generates for a pipeline."""
        text, _ = sagebridge.write(pipeline, "prefect")
        (function,) = flow_functions(ast.parse(text))
        signature = (*function.args.args, *function.args.kwonlyargs)
        arguments = tuple(argument.arg for argument in signature)
        name = legal_name(pipeline.name or "pipeline")
        return cls(name, function.name, arguments, pipeline, text=text)

    @classmethod
    def of_file(cls, source: str, pipeline: Pipeline) -> Flow:
        """The flow of an existing flow file; ``pipeline`` was read from it.

        Plain Prefect tasks run but are not steps. Raises UsageError if there are no steps.
        """
        found = sagebridge.read_flow(source)
        own = found.own_tasks
        steps, _ = without(pipeline, [step for step in walk(pipeline) if step.name in own])
        if own and not steps.steps:
            raise UsageError(
                f"{source}: flow {found.name!r} has only plain Prefect tasks and no sagebridge "
                "steps; run it with Prefect"
            )
        declared = pipeline.declared[: len(found.arguments)]
        return cls(
            found.name,
            found.entry,
            found.arguments,
            replace(steps, parameters=declared),
            file=Path(split_source(source)[0]).absolute(),
            own_tasks=own,
        )

    def given(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Parameter values by the flow's argument names."""
        pairs = zip(self.arguments, self.pipeline.declared, strict=True)
        return {
            argument: parameters[parameter.name]
            for argument, parameter in pairs
            if parameter.name in parameters
        }
