"""The flow that a Prefect server runs: one written for a pipeline, or a person's own file."""

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
from sagebridge.model.code_steps import without
from sagebridge.model.pipeline import Pipeline, walk


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as Prefect names it.

    ``entry`` is what its file calls it, ``arguments`` what it takes for the parameters that
    ``pipeline`` declares. ``file`` is a person's own; where there is none, ``text`` is to be one.
    """

    name: str
    entry: str
    arguments: tuple[str, ...]
    pipeline: Pipeline
    file: Path | None = None
    text: str = ""
    own_tasks: tuple[str, ...] = ()

    @classmethod
    def written(cls, pipeline: Pipeline) -> Flow:
        """The flow that sagebridge writes for a pipeline."""
        text, _ = sagebridge.write(pipeline, "prefect")
        (function,) = flow_functions(ast.parse(text))
        taken = (*function.args.args, *function.args.kwonlyargs)
        arguments = tuple(argument.arg for argument in taken)
        name = legal_name(pipeline.name or "pipeline")
        return cls(name, function.name, arguments, pipeline, text=text)

    @classmethod
    def of_file(cls, source: str, pipeline: Pipeline) -> Flow:
        """The flow of a flow file, which runs as it is; ``pipeline`` is what was read of it.

        Its own tasks are Prefect's alone: they run, and are no steps. Raises UsageError where it
        has no others.
        """
        found = sagebridge.read_flow(source)
        own = found.own_tasks
        steps, _ = without(pipeline, [step for step in walk(pipeline) if step.name in own])
        if own and not steps.steps:
            raise UsageError(
                f"{source}: flow {found.name!r} has tasks of its own and no steps of sagebridge: "
                "Prefect runs it without us"
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
        """The values of parameters by the names of the flow's arguments."""
        pairs = zip(self.arguments, self.pipeline.declared, strict=True)
        return {
            argument: parameters[parameter.name]
            for argument, parameter in pairs
            if parameter.name in parameters
        }
