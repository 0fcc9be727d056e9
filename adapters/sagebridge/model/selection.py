"""Selected steps of a pipeline: a smaller pipeline, with values in place of other steps' outputs.

The rules are those of SelectiveExecutionConfig in the SageMaker API reference: every step on a path
between two selected steps is selected too, and no other step runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from sagebridge.errors import SelectionError
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.expressions import Get, Index, JsonGet, get, plain
from sagebridge.model.for_each import body_owners
from sagebridge.model.graph import edges
from sagebridge.model.pipeline import Pipeline, Step, Steps, step_references, walk
from sagebridge.model.values import ABSENT, EMPTY, Value
from sagebridge.model.visit import rebuild

Path: TypeAlias = tuple[str | int, ...]
Find: TypeAlias = Callable[[Get | JsonGet], Value]
"""Returns what takes the place of a property, or of a value in a property file."""


def select(
    pipeline: Pipeline, steps: Sequence[str], values: Mapping[str, Value] = EMPTY
) -> Pipeline:
    """A pipeline of only the given steps.

    A step in a branch whose condition is not selected runs always. ``DependsOn`` keeps the selected
    steps.

    Args:
        pipeline: read or built.
        steps: the names of the steps. Every step on a path between two of them must be included.
            A ForEach includes its body.
        values: what the steps refer to of other steps, by reference:
            ``{"Steps.Train.ModelArtifacts.S3ModelArtifacts": "s3://bucket/model.tar.gz"}``. The
            value of a property file is its S3 URI:
            ``{"Steps.Eval.PropertyFiles.Report": "s3://bucket/evaluation.json"}``.

    Raises:
        SelectionError: unknown steps, a step on a path that is not included, or missing values.
    """
    names = closed(pipeline, steps)
    given = {path_of(get(text)): plain(value) for text, value in values.items()}
    missing = [one for one in needed(pipeline, names) if path_of(one) not in given]
    if missing:
        raise SelectionError(
            [f"{one.text} has no value, as step {one.name!r} is not selected" for one in missing]
        )

    def find(expression: Get | JsonGet) -> Value:
        if isinstance(expression, Get):
            return given[path_of(expression)]
        return JsonGet(expression.path, s3_uri=given[path_of(file_of(expression))])

    return selected(pipeline, names, find)


def closed(pipeline: Pipeline, steps: Sequence[str]) -> tuple[str, ...]:
    """The given names in the order of the definition, each once; a ForEach with its body.

    Raises :class:`SelectionError` for unknown names, and if a step on a path between two of them is
    missing; also for a body step without its ForEach.
    """
    names = [step.name for step in walk(pipeline)]
    unknown = [name for name in dict.fromkeys(steps) if name not in names]
    if unknown:
        raise SelectionError([f"no step {shown(name)}{_hint(name, names)}" for name in unknown])
    if not steps:
        raise SelectionError(["no step is selected"])
    owners = body_owners(pipeline)
    if alone := [name for name in dict.fromkeys(steps) if owners.get(name, name) not in steps]:
        raise SelectionError(
            [
                f"step {shown(name)} cannot be selected, as it is in the body of ForEach step "
                f"{shown(owners[name])}; select {shown(owners[name])}, which runs its whole body"
                for name in alone
            ]
        )
    steps = [*steps, *(inner for inner, owner in owners.items() if owner in steps)]
    after: dict[str, set[str]] = {}
    before: dict[str, set[str]] = {}
    for source, target, _ in edges(pipeline.steps):
        after.setdefault(source, set()).add(target)
        before.setdefault(target, set()).add(source)
    between = _reached(steps, after) & _reached(steps, before)
    wanted = [name for name in names if name in between.union(steps)]
    if missing := [name for name in wanted if name not in steps and name not in owners]:
        what = "step" if len(missing) == 1 else "steps"
        listed = ", ".join(map(shown, missing))
        why = "must be selected too, on a path between selected steps"
        use = ",".join(name for name in wanted if name not in owners)
        raise SelectionError([f"{what} {listed} {why}; use: --steps {use}"])
    return tuple(wanted)


def needed(pipeline: Pipeline, names: Iterable[str]) -> tuple[Get, ...]:
    """What the named steps refer to of other steps, each property and property file once."""
    names = frozenset(names)
    found: dict[Path, Get] = {}
    for step in walk(pipeline):
        for one in step_references(step) if step.name in names else ():
            if one.step is not None and one.step not in names:
                found.setdefault(path_of(one), one)
    return tuple(found.values())


def selected(pipeline: Pipeline, names: Iterable[str], find: Find) -> Pipeline:
    """The pipeline of the named steps. ``find`` is called for what :func:`needed` lists."""
    return _Selection(frozenset(names), find).of(pipeline)


def path_of(reference: Get) -> Path:
    """A reference without its spelling: ``Steps.A['x']`` and ``Steps.A.x`` have the same path."""
    tokens = reference.tokens
    return (reference.root, *(t.position if isinstance(t, Index) else t.name for t in tokens))


def file_of(expression: JsonGet) -> Get:
    """The reference to the property file that an expression reads."""
    assert isinstance(expression.property_file, Get)
    return expression.property_file


class _Selection:
    def __init__(self, names: frozenset[str], find: Find) -> None:
        self.names, self.find = names, find

    def of(self, pipeline: Pipeline) -> Pipeline:
        other = [name for name in pipeline.connections if name not in self.names]
        connections = pipeline.connections.without(*other)
        return replace(pipeline, steps=self._kept(pipeline.steps), connections=connections)

    def _kept(self, steps: Sequence[Step]) -> Steps:
        kept: list[Step] = []
        for step in steps:
            if step.name in self.names:
                kept.append(self._step(step))
            else:
                kept += self._kept(step.inner)
        return tuple(kept)

    def _step(self, step: Step) -> Step:
        pairs = zip(step.depends_on or (), step.dependencies, strict=True)
        left = tuple(one for one, name in pairs if name in self.names)
        depends_on = step.depends_on if left == step.depends_on else left or ABSENT
        step = replace(step, depends_on=depends_on)
        return step.replaced(self._change).with_inner(self._kept)

    def _change(self, value: Value) -> Value:
        if isinstance(value, Get) and self._is_other(value):
            return self.find(value)
        is_file = isinstance(value, JsonGet) and value.property_file is not ABSENT
        if is_file and self._is_other(file_of(value)):
            return self.find(replace(value, path=rebuild(value.path, self._change)))
        return value

    def _is_other(self, reference: Get) -> bool:
        return reference.step is not None and reference.step not in self.names


def _reached(steps: Iterable[str], neighbours: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = list(steps)
    while left:
        for name in neighbours.get(left.pop(), ()):
            if name not in found:
                found.add(name)
                left.append(name)
    return found


def _hint(name: str, names: Sequence[str]) -> str:
    there = f" (the pipeline has {', '.join(names)})" if names else " (the pipeline has no steps)"
    return did_you_mean(name, names) or there
