"""Python functions and shell commands, carried between Airflow and Prefect as steps, and stubs.

A stub stands for a task that is dropped: it fails when it runs. SageMaker has no such step types:
a Fail step takes the place of each. Only the readers of Python files create these classes: a
definition is data, so no ``Type`` in a definition can turn it into code. The result of a code step
is ``Steps.NAME.return_value``.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sagebridge.model.conditions import Comparison, In, operands
from sagebridge.model.dependencies import COMPLETED, Dependency, with_trigger
from sagebridge.model.display import free_name
from sagebridge.model.expressions import Get, parameter
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import PYTHON_TYPES, Parameter
from sagebridge.model.pipeline import (
    ConditionStep,
    Pipeline,
    Step,
    Steps,
    step_references,
    walk,
)
from sagebridge.model.values import ABSENT, Object, Strict, Value
from sagebridge.model.visit import nodes

PYTHON, SHELL, STUB = "sagebridge.PythonCallable", "sagebridge.ShellCommand", "sagebridge.Stub"
"""The displayed types of these steps. A step of that type in a definition is not one of them."""
RETURN_VALUE = "return_value"
_PYTHON_LOSS, _SHELL_LOSS = ("python-task", "a Python function"), ("shell-task", "a shell command")
_SOURCE_LINES, _SOURCE_COLUMNS = 12, 160
"""The most of a dropped task's source that its stub quotes."""
_TYPES = {bool: "Boolean", int: "Float", float: "Float", str: "String"}


@dataclass(frozen=True, slots=True, eq=False)
class Function(Strict):
    """A function that uses nothing else of its module.

    Attributes:
        name: its name.
        code: its source, normalized by ``ast.unparse``.
        text: its original source with comments; empty if unknown.
        returns: the parameter type of its result; empty if unknown.
    """

    name: str
    code: str
    text: str = field(default="", compare=False)
    returns: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class CarriedStep(Step):
    """A step of user code; ``origin`` is the location it was read from."""

    origin: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class PythonStep(CarriedStep):
    """A call of a Python function; its arguments are ``{"args": […], "kwargs": {…}}``."""

    function: Function = field(kw_only=True)

    @classmethod
    def of(cls, step: Step, function: Function, origin: str = "") -> PythonStep:
        """A step with the arguments of a call, turned into a call of ``function``."""
        return cls(**_common(step), function=function, origin=origin)


@dataclass(frozen=True, slots=True, eq=False)
class ShellStep(CarriedStep):
    """A bash command; its arguments are ``command``, ``env`` and ``append_env``."""

    @classmethod
    def of(cls, step: Step, origin: str = "") -> ShellStep:
        """A step with the arguments of a command, turned into a shell step."""
        return cls(**_common(step), origin=origin)


@dataclass(frozen=True, slots=True, eq=False)
class StubStep(CarriedStep):
    """A dropped task; its arguments are ``reason``, ``dropped_from`` and ``source``.

    ``returns`` is the parameter type of the task's result; empty if unknown.
    """

    returns: str = field(default="", compare=False)

    @classmethod
    def of(cls, step: Step, origin: str = "", returns: str = "") -> StubStep:
        """A step with the arguments of a stub, turned into one."""
        return cls(**_common(step), origin=origin, returns=returns)

    @property
    def message(self) -> str:
        """Why the step fails when it runs."""
        given = self.arguments
        place = f" ({given['dropped_from']})" if given["dropped_from"] else ""
        return (
            f"step {self.name!r} is a stub: {given['reason']}{place}; "
            "replace it, or translate with --no-stubs to leave it out"
        )


def stub_arguments(
    reason: Value, dropped_from: Value = "", source: Sequence[Value] = ()
) -> dict[str, Any]:
    """The arguments of a stub.

    Args:
        reason: why the task is dropped.
        dropped_from: where it was, as ``file:line``.
        source: lines of its source.
    """
    return {"reason": reason, "dropped_from": dropped_from, "source": list(source)}


def quoted_source(text: str) -> list[str]:
    """The first lines of the source of a dropped task, for its stub."""
    lines = [
        line.rstrip()[:_SOURCE_COLUMNS] for line in textwrap.dedent(text).strip("\n").splitlines()
    ]
    return [*lines[:_SOURCE_LINES], *(["..."] if len(lines) > _SOURCE_LINES else [])]


def call_arguments(args: Iterable[Value], kwargs: Mapping[str, Value]) -> dict[str, Any]:
    """The arguments of a Python step."""
    return {"args": list(args), "kwargs": dict(kwargs)}


def shell_arguments(
    command: Value, env: Mapping[str, Value] | None, append_env: bool
) -> dict[str, Any]:
    """The arguments of a shell step.

    Without ``env`` the command has the environment of the worker. ``append_env`` adds ``env`` to
    it; otherwise ``env`` replaces it.
    """
    arguments: dict[str, Any] = {"command": command}
    if env is not None:
        arguments["env"] = dict(env)
        if append_env:
            arguments["append_env"] = True
    return arguments


def _common(step: Step) -> dict[str, Any]:
    return {one.name: getattr(step, one.name) for one in fields(Step)}


_PARTS = fields(Function)


def code_of(pipeline: Pipeline) -> list[dict[str, str] | None]:
    """The code of each step as JSON, in the order of ``walk``; None for other steps."""
    return [_code(step) for step in walk(pipeline)]


def _code(step: Step) -> dict[str, str] | None:
    if not isinstance(step, CarriedStep):
        return None
    part = {"origin": step.origin}
    if isinstance(step, PythonStep):
        part |= {one.name: getattr(step.function, one.name) for one in _PARTS}
    elif isinstance(step, StubStep):
        part["returns"] = step.returns
    return part


def with_code(pipeline: Pipeline, parts: Iterable[Mapping[str, str] | None], file: str) -> Pipeline:
    """The pipeline with the code from :func:`code_of`; the origins become lines of ``file``."""
    following = iter(parts)

    def of(steps: Steps) -> Steps:
        return tuple(map(restored, steps))

    def restored(step: Step) -> Step:
        part = next(following)
        if step.inner_fields:
            return step.with_inner(of)
        if part is None:
            return step
        origin = f"{file}:{part['origin']}"
        called = {one: part[one] for one in part if one != "origin"}
        if step.type == PYTHON:
            return PythonStep.of(step, Function(**called), origin)
        if step.type == STUB:
            return StubStep.of(step, origin, **called)
        return ShellStep.of(step, origin)

    return replace(pipeline, steps=of(pipeline.steps))


def only_code(pipeline: Pipeline) -> bool:
    """Whether all steps of a pipeline are code, so that nothing is left for SageMaker."""
    return bool(pipeline.steps) and all(map(_is_code, pipeline.steps))


def _is_code(step: Step) -> bool:
    """Whether a step is code, or a ForEach over nothing else."""
    if isinstance(step, ForEachStep):
        return bool(step.inner) and all(map(_is_code, step.inner))
    return isinstance(step, CarriedStep)


def without_carried(pipeline: Pipeline) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline for SageMaker, without code steps, and a loss for each of them.

    The dependants of a code step depend on its dependencies. References to its result become a
    parameter without a default, which an execution must set.
    """
    return without(pipeline, [step for step in walk(pipeline) if _is_code(step)])


def without(pipeline: Pipeline, steps: Sequence[Step]) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The same as :func:`without_carried`, for the given code steps."""
    if not steps:
        return pipeline, ()
    return _CodeRemoval(pipeline, {step.name: step for step in steps}).result()


def with_fail_steps(pipeline: Pipeline) -> tuple[Pipeline, tuple[Loss, ...]]:
    """As :func:`without_carried`, but a Fail step takes the place of each code step and stub.

    Nothing can depend on a Fail step, so the dependants do not wait for it. The body of a ForEach
    cannot contain one, so it comes after the ForEach, or in its place if nothing else is left.
    """
    carried = {step.name: step for step in walk(pipeline) if _is_code(step)}
    return _CodeRemoval(pipeline, carried, fail=True).result() if carried else (pipeline, ())


def without_stubs(pipeline: Pipeline) -> tuple[Pipeline, tuple[Loss, ...]]:
    """As :func:`without`, for the stubs."""
    return without(pipeline, [step for step in walk(pipeline) if isinstance(step, StubStep)])


def used_types(pipeline: Pipeline) -> dict[str, str]:
    """The parameter types that references of unknown type need, by the text of the reference.

    It is the type of the other side of a comparison (a literal number is a Float), otherwise that
    of the function's parameter which receives the value.
    """
    declared = {one.name: one.value_type for one in pipeline.declared}
    returns = {step.name: _returned_type(step) for step in walk(pipeline)}

    def type_of(value: Value) -> str:
        if not isinstance(value, Get):
            return _TYPES.get(type(value), "")
        if value.root == "Parameters":
            return declared.get(value.name, "")
        return returns.get(value.step or "", "") if len(value.tokens) == 2 else ""

    passed: dict[str, str] = {}
    compared: dict[str, str] = {}
    for step in walk(pipeline):
        if isinstance(step, PythonStep):
            for value, type_ in _received(step):
                passed.setdefault(value.text, type_)
        conditions = (step.conditions or ()) if isinstance(step, ConditionStep) else ()
        for node in (inner for one in conditions for inner in nodes(one)):
            if isinstance(node, Comparison | In):
                sides = tuple(operands(node))
                kinds = {type_of(one) for one in sides} - {""}
                unknown = [one for one in sides if isinstance(one, Get) and not type_of(one)]
                if len(kinds) == 1:
                    compared |= dict.fromkeys((one.text for one in unknown), kinds.pop())
    return {**passed, **compared}


def _received(step: PythonStep) -> Iterator[tuple[Get, str]]:
    """The references that a function receives as arguments with the annotation of a scalar."""
    body = ast.parse(step.function.code).body
    if not body or not isinstance(body[0], ast.FunctionDef):
        return
    given = body[0].args
    positional = [*given.posonlyargs, *given.args]
    annotations = {one.arg: one.annotation for one in (*positional, *given.kwonlyargs)}
    names = [one.arg for one in positional]
    arguments: Any = step.arguments
    pairs = [*zip(names, arguments["args"], strict=False), *arguments["kwargs"].items()]
    for name, value in pairs:
        type_ = _annotated_type(annotations.get(name))
        if isinstance(value, Get) and type_:
            yield value, type_


def _annotated_type(annotation: ast.expr | None) -> str:
    match annotation:
        case ast.Name(id=name):
            return PYTHON_TYPES.get(name, "")
        case ast.Constant(value=str() as text):
            return PYTHON_TYPES.get(text.removesuffix("| None").strip(), "")
        case ast.BinOp(left=kind, op=ast.BitOr(), right=ast.Constant(value=None)):
            return _annotated_type(kind)
    return ""


class _CodeRemoval:
    """Removes the ``carried`` steps; with ``fail``, a Fail step takes the place of each."""

    def __init__(
        self, pipeline: Pipeline, carried: Mapping[str, Step], *, fail: bool = False
    ) -> None:
        self.pipeline, self.carried, self.fail = pipeline, carried, fail
        self.types = used_types(pipeline)
        self.names = {one.name for one in pipeline.declared}
        self.added: dict[str, Parameter] = {}
        self.origins: dict[str, Step] = {}

    def result(self) -> tuple[Pipeline, tuple[Loss, ...]]:
        steps = self._kept(self.pipeline.steps)
        parameters = (*self.pipeline.declared, *self.added.values())
        return replace(self.pipeline, steps=steps, parameters=parameters), tuple(self._losses())

    def _losses(self) -> Iterator[Loss]:
        for step in self.carried.values():
            if isinstance(step, StubStep | ForEachStep):  # the reader has reported it, or its body
                continue
            code, what = _loss_of_code(step)
            text = f"{step.name} is {what}; SageMaker has no step type for it"
            advice = "make it a Processing or Lambda step"
            yield Loss(code, "dropped", _origin(step), text, "sagemaker", advice, step.name)
        for text, one in self.added.items():
            owner = self.origins[text]
            source = "a dropped task" if isinstance(owner, StubStep) else "user code"
            what = f"{text} is a run-time value of {source}; it becomes the parameter {one.name!r}"
            advice = "set the parameter for each execution"
            origin = _origin(owner)
            yield Loss("asked-value", "changed", origin, what, "sagemaker", advice)

    def _kept(self, steps: Sequence[Step]) -> Steps:
        return tuple(kept for step in steps for kept in self._replacement(step))

    def _replacement(self, step: Step) -> Iterator[Step]:
        """The step, or the Fail steps in its place or in that of steps of its body."""
        if step.name not in self.carried:
            yield self._step(step)
            if self.fail and isinstance(step, ForEachStep):
                inside = {one.name for one in step.inner}
                removed = (one for one in step.inner if one.name in self.carried)
                yield from (self._step(_fail_step(one, inside)) for one in removed)
        elif self.fail:
            yield self._step(_fail_step(step))

    def _step(self, step: Step) -> Step:
        before = {one.step for one in step_references(step) if one.step}
        referenced = ((name, COMPLETED) for name in sorted(before & self.carried.keys()))
        through: dict[str, str] = {}
        for name, trigger in (*step.triggers, *referenced):
            for one in self._through([name]):
                through[one] = trigger
        step = step.replaced(self._change)
        step = step.with_inner(self._body if isinstance(step, ForEachStep) else self._kept)
        if before.union(step.dependencies).isdisjoint(self.carried):
            return step
        own = [
            one
            for one, name in zip(step.depends_on or (), step.dependencies, strict=True)
            if name not in self.carried
        ]
        implied = {step.name, *step.dependencies, *(one.step for one in step_references(step))}
        added = [with_trigger(one, through[one]) for one in through if one not in implied]
        return replace(step, depends_on=(*own, *added) or ABSENT)

    def _body(self, steps: Steps) -> Steps:
        return tuple(self._step(step) for step in steps if step.name not in self.carried)

    def _change(self, node: Value) -> Value:
        is_value = isinstance(node, Get) and node.property_file is None
        return self._parameter_for(node) if is_value else node

    def _through(self, names: Sequence[str]) -> list[str]:
        """The dependencies that remain for dependencies on removed steps, in order."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        pending = [name for name in reversed(names) if name in self.carried]
        while pending:
            name = pending.pop()
            if name not in self.carried:
                found[name] = None
            elif name not in seen:
                seen.add(name)
                step = self.carried[name]
                pending += [one.step for one in step_references(step) if one.step]
                pending += step.dependencies
        return list(found)

    def _parameter_for(self, get: Get) -> Value:
        if get.step not in self.carried:
            return get
        text = get.text.removeprefix("Steps.")
        if text not in self.added:
            step = self.carried[get.name]
            name = re.sub(r"[^A-Za-z0-9]+", "_", text.replace(".return_value", "")).strip("_")[:64]
            name = free_name(name, self.names, name[:60])
            self.names.add(name)
            self.origins[text] = step
            type_ = self.types.get(get.text, "String")
            if text == f"{get.name}.{RETURN_VALUE}":
                type_ = _returned_type(step) or type_
            kind = "dropped task" if isinstance(step, StubStep) else "code step"
            description = f"The result of the {kind} {get.name}"
            self.added[text] = Parameter(name, type_, description=description)
        return parameter(self.added[text].name)


def _returned_type(step: Step) -> str:
    match step:
        case PythonStep(function=Function(returns=type_)) | StubStep(returns=type_):
            return type_
    return ""


def _loss_of_code(step: Step) -> tuple[str, str]:
    return _SHELL_LOSS if isinstance(step, ShellStep) else _PYTHON_LOSS


def _fail_step(step: Step, inside: Collection[str] = ()) -> Step:
    """The Fail step in the place of a code step, a stub, or a ForEach over nothing else.

    ``inside`` are the steps of the body around it, which it cannot depend on.
    """
    steps = list(walk((step,)))
    code = next(one for one in steps if isinstance(one, CarriedStep))
    if isinstance(code, StubStep):
        message = code.message
    else:
        message = (
            f"step {code.name!r} was {_loss_of_code(code)[1]}, and SageMaker has no step type for "
            "it; replace it, or translate with --no-stubs to leave it out"
        )
    own = {*inside, *(one.name for one in steps)}
    before: dict[str, str | Dependency] = {}
    for one in steps:
        before.update(zip(one.dependencies, one.depends_on or (), strict=True))
    for one in steps:
        for get in step_references(one):
            if get.step:
                before.setdefault(get.step, get.step)
    needed = tuple(item for name, item in before.items() if name not in own)
    return Step(
        step.name,
        "Fail",
        arguments=Object({"ErrorMessage": message}),
        depends_on=needed or ABSENT,
        display_name=step.display_name,
        description=step.description,
    )


def _origin(step: Step) -> str:
    return (step.origin if isinstance(step, CarriedStep) else "") or step.name
