"""Branches that user code decides, as conditions on parameters: SageMaker cannot call the code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sagebridge.model.branches import Branch, BranchGate, place_tasks
from sagebridge.model.code_steps import BRANCH, DIRECT_GATE, GATE, RETURN_VALUE, PythonStep
from sagebridge.model.conditions import equals
from sagebridge.model.dependencies import COMPLETED, Dependency
from sagebridge.model.display import free_name
from sagebridge.model.expressions import Get, Member, parameter
from sagebridge.model.functions import is_empty
from sagebridge.model.graph import in_order, needed_steps
from sagebridge.model.losses import Loss
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, Steps, walk
from sagebridge.model.values import ABSENT, EMPTY, Absent, Value


def with_parameter_branches(pipeline: Pipeline) -> tuple[Pipeline, tuple[Loss, ...]]:
    """The pipeline with Condition steps in the place of functions that decide.

    Each is on a Boolean parameter without default, and the dependants that it decides on are in its
    branch.
    """
    if not any(_decides(step) for step in pipeline.steps):
        return pipeline, ()
    return _ParameterBranches(pipeline).result()


def _decides(step: Step) -> bool:
    if not isinstance(step, PythonStep) or is_empty(step.function):
        return False
    return step.role in (BRANCH, GATE, DIRECT_GATE)


@dataclass(slots=True)
class _ParameterBranches:
    pipeline: Pipeline
    gates: dict[str, list[BranchGate]] = field(default_factory=dict)
    choices: dict[str, Parameter] = field(default_factory=dict)
    inside: Mapping[str, Branch] = field(default_factory=dict)

    def result(self) -> tuple[Pipeline, tuple[Loss, ...]]:
        steps = in_order(self.pipeline.steps)
        owners = {inner.name: step.name for step in steps for inner in walk((step,))}
        upstream: dict[str, list[str]] = {}
        for step in steps:
            needed = (name for inner in walk((step,)) for name in needed_steps(inner))
            before = dict.fromkeys(owners[name] for name in needed if name in owners)
            upstream[step.name] = [name for name in before if name != step.name]
        taken = {one.name for one in self.pipeline.declared}
        for step in steps:
            followers = [name for name, before in upstream.items() if step.name in before]
            self.gates[step.name] = self._opened(step, followers, taken)
        rules = {step.name: step.engine.trigger_rule or "all_success" for step in steps}
        triggers = {step.name: _trigger(step) for step in steps}
        names = [step.name for step in steps]
        self.inside = place_tasks(names, upstream, self.gates, rules, triggers).inside
        parameters = (*self.pipeline.declared, *self.choices.values())
        found = replace(self.pipeline, steps=self._steps_in(None), parameters=parameters)
        return found, tuple(self._loss(step) for step in steps if _decides(step))

    def _opened(self, step: Step, followers: Sequence[str], taken: set[str]) -> list[BranchGate]:
        """The branches that a step opens, each with a parameter."""
        if not (isinstance(step, PythonStep) and _decides(step)):
            return []
        single = step.role != BRANCH
        gates = []
        for branch in [tuple(followers)] if single else [(name,) for name in followers]:
            name = step.name if single else f"{step.name[:31]}-{branch[0][:32]}"
            wanted = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
            added = free_name(wanted, taken, wanted[:60])
            taken.add(added)
            what = f"Replaces the decision of {step.name} ({name})"
            self.choices[name] = Parameter(added, "Boolean", description=what)
            gates.append(BranchGate(name, branch, ()))
        return gates

    def _steps_in(self, branch: Branch | None) -> Steps:
        return tuple(
            found
            for step in self.pipeline.steps
            if self.inside.get(step.name) == branch
            for found in self._replacement(step)
        )

    def _replacement(self, step: Step) -> Steps:
        if not _decides(step):
            return (replace(self._decided(step), depends_on=self._dependencies(step)),)
        values = [name for name in needed_steps(step) if name not in step.dependencies]
        before = replace(step, depends_on=(*(step.depends_on or ()), *values))
        return tuple(
            ConditionStep(
                gate.step,
                "Condition",
                arguments=EMPTY,
                depends_on=self._dependencies(before),
                conditions=(equals(parameter(self.choices[gate.step].name), True),),
                if_steps=self._steps_in((gate.step, "if")),
                else_steps=(),
            )
            for gate in self.gates[step.name]
        )

    def _dependencies(self, step: Step) -> tuple[str | Dependency, ...] | Absent:
        """The dependencies of a step, without those that its branch implies."""
        around = self.inside.get(step.name, ("", ""))[0]
        found: dict[str, str | Dependency] = {}
        for name, item in zip(step.dependencies, step.depends_on or (), strict=True):
            gates = [gate.step for gate in self.gates.get(name, ())]
            if around not in gates:
                found |= dict(zip(gates, gates, strict=True)) if gates else {name: item}
        return tuple(found.values()) or ABSENT

    def _decided(self, step: Step) -> Step:
        """The step with parameters in the place of results of functions that decide."""

        def change(node: Value) -> Value:
            is_result = isinstance(node, Get) and node.tokens[1:] == (Member(RETURN_VALUE),)
            if is_result and node.step in self.choices:
                return parameter(self.choices[node.step].name)
            return node

        return step.replaced(change)

    def _loss(self, step: Step) -> Loss:
        names = [self.choices[gate.step].name for gate in self.gates[step.name]]
        what = (
            f"{step.name}: the decision of a function becomes one Boolean parameter per branch: "
            f"{', '.join(names) or 'none'}"
        )
        origin = getattr(step, "origin", "") or step.name
        advice = "set the parameters, or use a condition step"
        return Loss("branch-callable", "changed", origin, what, "sagemaker", advice, step.name)


def _trigger(step: Step) -> str:
    triggers = {trigger for _, trigger in step.triggers}
    return triggers.pop() if len(triggers) == 1 else COMPLETED
