"""The runs of a pipeline, each condition with both outcomes, and the values that lead there.

Everything follows from the definition: parameters, properties and files get values that make a
condition true or false. If no value can, the outcome is forced.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sagebridge.model.conditions import Condition, Not, Or, UnknownCondition, operands
from sagebridge.model.expressions import Get, Index, Join, JsonGet, Member, Token
from sagebridge.model.expressions import parameter as to_parameter
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.graph import graph
from sagebridge.model.parameters import Parameter, ParameterValueError, coerce_one
from sagebridge.model.pipeline import ConditionStep, Pipeline, walk
from sagebridge.model.values import ABSENT, Value
from sagebridge.model.visit import nodes
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.condition import Operand, evaluate_all
from tests.faulty_aws.job_scripts import merged

_MOST = 5_000
"""Combinations of values that are tried for one condition."""
_TYPES = {"String": (str,), "Integer": (int,), "Float": (int, float), "Boolean": (bool,)}
_POOL: tuple[Any, ...] = (0.5, 1, "text", True, False)
FAILING = 1
"""The iteration of a ForEach that a scenario lets fail."""
GIVEN = {"String": "given", "Integer": 1, "Float": 0.5, "Boolean": True}
"""A value of each type, for parameters without a default and for outputs."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run of a pipeline.

    Args:
        outcomes: the wanted outcome of each condition that is reached.
        parameters: the values that the run is started with.
        values: the values of properties and files, by :func:`source_of`.
        forced: the conditions whose outcome no value leads to.
        undecided: the conditions that no one can evaluate.
        ends: the end of jobs that do not complete, ``Failed`` or ``Stopped``, by the name of the
            step; ``Train-1`` for one iteration.
    """

    outcomes: Mapping[str, bool]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    forced: frozenset[str] = frozenset()
    undecided: frozenset[str] = frozenset()
    ends: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Such as ``Check`` or ``not-Check-Train-Failed``; may be empty."""
        outcomes = [one if holds else f"not-{one}" for one, holds in self.outcomes.items()]
        return "-".join([*outcomes, *(f"{name}-{end}" for name, end in self.ends.items())])


def scenarios(pipeline: Pipeline) -> list[Scenario]:
    """The fewest runs in which each condition has each outcome, if it can be reached.

    Then, for each trigger, a run in which the job that it waits for ends so.
    """
    conditions = {one.name: one for one in walk(pipeline) if isinstance(one, ConditionStep)}
    wanted = [dict[str, bool]()]
    if conditions:
        wanted = [
            {**_needed(pipeline, name), name: holds}
            for name in conditions
            for holds in (True, False)
        ]
    found: list[dict[str, bool]] = []
    for one in sorted(wanted, key=len, reverse=True):  # a longer one may include a shorter one
        if not any(one.items() <= other.items() for other in found):
            found.append(one)
    completed = [_completed(pipeline, conditions, one) for one in found]
    distinct = {tuple(sorted(one.items())): one for one in completed}
    chosen = [_scenario(pipeline, conditions, one) for one in distinct.values()]
    return [*chosen, *(replace(chosen[0], ends=dict([one])) for one in _ends(pipeline))]


def _ends(pipeline: Pipeline) -> list[tuple[str, str]]:
    """The ends of jobs, other than success, that triggers wait for."""
    found: dict[tuple[str, str], None] = {}
    for step in walk(pipeline):
        for item in step.depends_on or ():
            trigger = "" if isinstance(item, str) else item.trigger
            source = None if isinstance(item, str) else pipeline.step(item.step)
            if source is not None and trigger in ("Failed", "Stopped", "Any"):
                jobs = [f"{inner.name}-{FAILING}" for inner in source.inner[-1:]]
                end = "Stopped" if trigger == "Stopped" else "Failed"
                found[(jobs or [source.name])[0], end] = None
    return [one for one in found if _can_end(pipeline, *one)]


def _can_end(pipeline: Pipeline, name: str, end: str) -> bool:
    """Whether a step has a job that can fail, or be stopped."""
    step = pipeline.step(name.removesuffix(f"-{FAILING}"))
    job = JOB_TYPES.get(step.type) if step is not None else None
    return job is not None and (end == "Failed" or job.stop is not None)


def source_of(value: Value) -> str | None:
    """The name of a value that a run can choose; None for any other."""
    match value:
        case Get(root="Parameters" | "Steps") if value.property_file is None:
            return Get(value.root, value.tokens).text
        case JsonGet(path=str(path), property_file=file):
            return f"{'' if file is ABSENT else file.text} {path}"
    return None


def through(pipeline: Pipeline, reference: Get) -> Get:
    """For ``Steps.FAN.IterationOutputs[0].TRAIN.A`` and ``Steps.FAN.Selected.A``: TRAIN's A."""
    step = pipeline.step(reference.name)
    if not isinstance(step, ForEachStep):
        return reference
    match reference.tokens[1:]:
        case (Member("IterationOutputs"), Index(), inner, *rest):
            return Get("Steps", (inner, *rest))
        case (Member("Selected"), *rest) if step.selector is not ABSENT:
            field = step.selector.field
            return Get("Steps", (field.tokens[0], *rest)) if isinstance(field, Get) else reference
    return reference


def items_of(pipeline: Pipeline) -> dict[str, str]:
    """Items for each ForEach that reads them from a step or a parameter without a default."""
    found = {}
    for step in walk(pipeline):
        source = source_of(step.items) if isinstance(step, ForEachStep) else None
        if isinstance(step, ForEachStep) and source is not None:
            own = [one for inner in step.inner for value in inner.values() for one in nodes(value)]
            item: Any = "item"
            for one in own:
                if isinstance(one, Get) and one.root == "ForEach" and len(one.tokens) > 1:
                    given = nested(one.tokens[1:], "given", {})
                    item = merged(item if isinstance(item, dict) else {}, given)
            items = [f"{item}-{n}" if item == "item" else item | {"n": n} for n in range(3)]
            found[source] = json.dumps(items)
    return found


def is_natural(pipeline: Pipeline, reference: Get) -> bool:
    """Whether the service chooses a property itself: names, statuses, what the request has."""
    reference = through(pipeline, reference)
    step = pipeline.step(reference.name)
    first = str(reference.tokens[1]).strip(".") if len(reference.tokens) > 1 else ""
    if step is None or isinstance(step, ConditionStep | ForEachStep):
        return True
    own = step.arguments if isinstance(step.arguments, Mapping) else {}
    natural = first in own or first == "ModelArtifacts" or first.endswith(("Arn", "Status", "Name"))
    return natural and first != "OutputParameters"


def _needed(pipeline: Pipeline, name: str) -> dict[str, bool]:
    """The outcomes without which a step is not reached."""
    import networkx as nx

    before = nx.ancestors(graph(pipeline), name) | {name}
    return {
        step.name: holds
        for step in walk(pipeline)
        if isinstance(step, ConditionStep)
        for holds, branch in ((True, step.if_steps), (False, step.else_steps))
        if any(inner.name in before for inner in branch or ())
    }


def _completed(
    pipeline: Pipeline, conditions: Mapping[str, ConditionStep], wanted: Mapping[str, bool]
) -> dict[str, bool]:
    """Wanted outcomes, and true for every other condition that is reached, in definition order."""
    outcomes: dict[str, bool] = {}
    for name in conditions:
        choice = {**dict.fromkeys(conditions, True), **wanted}
        reached = all(choice[one] is holds for one, holds in _needed(pipeline, name).items())
        if reached:
            outcomes[name] = choice[name]
    return outcomes


def _scenario(
    pipeline: Pipeline, conditions: Mapping[str, ConditionStep], outcomes: Mapping[str, bool]
) -> Scenario:
    declared = {one.name: one for one in pipeline.declared}
    chosen: dict[str, Any] = {
        f"Parameters.{name}": _first(parameter)
        for name, parameter in declared.items()
        if parameter.default is ABSENT
    }
    defaults = {f"Parameters.{one.name}" for one in declared.values() if one.default is not ABSENT}
    chosen |= {name: one for name, one in items_of(pipeline).items() if name not in defaults}
    fixed = {f"Steps.{name}.Outcome": str(holds) for name, holds in outcomes.items()}
    forced, undecided = set[str](), set[str]()
    for name, holds in outcomes.items():
        found = _solved(pipeline, conditions[name], holds, {**chosen, **fixed})
        if found is not None:
            chosen |= found
        else:
            unknown = any(isinstance(one, UnknownCondition) for one in _each(conditions[name]))
            (undecided if unknown else forced).add(name)
    parameters = {name: chosen[key] for name in declared if (key := _parameter_key(name)) in chosen}
    values = {key: value for key, value in chosen.items() if not key.startswith("Parameters")}
    return Scenario(dict(outcomes), parameters, values, frozenset(forced), frozenset(undecided))


def _each(step: ConditionStep) -> Iterator[Condition]:
    left = list(step.conditions or ())
    while left:
        yield (one := left.pop())
        left += one.conditions if isinstance(one, Or) else ()
        left += [one.condition] if isinstance(one, Not) else []


def _parameter_key(name: str) -> str:
    return to_parameter(name).text


def _first(parameter: Parameter) -> Any:
    """A value for a parameter without a default."""
    if parameter.enum_values is not ABSENT and parameter.enum_values:
        return parameter.enum_values[0]
    return GIVEN.get(parameter.value_type, "given")


def _solved(
    pipeline: Pipeline, step: ConditionStep, holds: bool, chosen: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Values with which a condition has an outcome; None if none was found.

    For the outcome false, one of the conditions does not hold and those before it do.
    """
    conditions = step.conditions or ()
    found: dict[str, Any] = {}
    for one in conditions:
        known = {**chosen, **found}
        if not holds and (values := _holding(pipeline, one, False, known)) is not None:
            return {**found, **values}
        if (values := _holding(pipeline, one, True, known)) is None:
            return None
        found |= values
    return found if holds else None


def _holding(
    pipeline: Pipeline, condition: Condition, holds: bool, chosen: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Values with which one condition holds, or does not."""
    compared = list(operands(condition))
    literals = [one for one in compared if isinstance(one, str | int | float)]
    free: dict[str, Sequence[Any]] = {}
    for node in _sources(compared):
        name = source_of(node)
        if name is None or name in chosen or name in free:
            continue
        if (candidates := _candidates(pipeline, node, literals)) is not None:
            free[name] = candidates
    for values in itertools.islice(itertools.product(*free.values()), _MOST):
        trial = dict(zip(free, values, strict=True))
        if _outcome(pipeline, (condition,), {**chosen, **trial}) is holds:
            return trial
    return None


def _sources(values: Sequence[Value]) -> Iterator[Value]:
    for value in values:
        yield from nodes(value, lambda node: isinstance(node, JsonGet))


def _candidates(pipeline: Pipeline, source: Value, literals: Sequence[Any]) -> list[Any] | None:
    defaults = [one.default for one in pipeline.declared if one.default is not ABSENT]
    near = [one for value in (*literals, *defaults) for one in _near(value)]
    pool = list({(type(one), repr(one)): one for one in (*near, *_POOL)}.values())
    if isinstance(source, JsonGet):
        return pool
    assert isinstance(source, Get)
    if source.root == "Parameters":
        parameter = next((one for one in pipeline.declared if one.name == source.name), None)
        return None if parameter is None else _allowed(parameter, pool)
    if is_natural(pipeline, source):
        return None
    kinds = _TYPES.get(output_type(pipeline, source), (str, int, float, bool))
    return [one for one in pool if type(one) in kinds]


def _near(value: Any) -> tuple[Any, ...]:
    match value:
        case bool():
            return (value, not value)
        case int() | float():
            return (value, value + 1, value - 1)
        case str():
            return (value, f"{value}-other")
    return ()


def _allowed(parameter: Parameter, pool: Sequence[Any]) -> list[Any]:
    """The default first, then what else the parameter accepts."""
    found = [] if parameter.default is ABSENT else [parameter.default]
    for value in (*(parameter.enum_values or ()), *pool):
        try:
            found.append(coerce_one(parameter, value))
        except ParameterValueError:
            continue
    return found


def output_type(pipeline: Pipeline, reference: Get) -> str:
    """The declared type of an output parameter; empty for any other property."""
    reference = through(pipeline, reference)
    step = pipeline.step(reference.name)
    name = str(getattr(reference.tokens[-1], "name", ""))
    outputs = () if step is None else step.output_parameters or ()
    return next((str(one.type) for one in outputs if one.name == name), "")


def _outcome(
    pipeline: Pipeline, conditions: Sequence[Condition], chosen: Mapping[str, Any]
) -> bool | None:
    """The outcome of conditions with chosen values; None if they cannot be compared."""

    def find(value: Value) -> Operand:
        try:
            return Operand(_value(pipeline, value, chosen))
        except LookupError as missing:
            return Operand(None, problem=str(missing))

    try:
        return all(result.holds for result in evaluate_all(conditions, find))
    except Exception:  # noqa: BLE001 - the same error fails the step of a run
        return None


def _value(pipeline: Pipeline, value: Value, chosen: Mapping[str, Any]) -> Any:
    name = source_of(value)
    if name is not None and name in chosen:
        return chosen[name]
    match value:
        case Get(root="Parameters"):
            parameter = next(one for one in pipeline.declared if one.name == value.name)
            return coerce_one(parameter, parameter.default)
        case Join(values=values, on=on):
            parts = [_value(pipeline, one, chosen) for one in values]
            texts = [one if isinstance(one, str) else json.dumps(one) for one in parts]
            return ("" if on is ABSENT else on).join(texts)
        case Get() | JsonGet():
            raise LookupError(name)
    return value


def nested(tokens: Sequence[Token], value: Any, keys: Mapping[str, str], parent: str = "") -> Any:
    """A description in which ``tokens`` lead to ``value``; ``keys`` name the items of lists."""
    if not tokens:
        return value
    first, *rest = tokens
    if isinstance(first, Index):
        return [nested(rest, value, keys) for _ in range(first.position + 1)]
    below = nested(rest, value, keys, first.name)
    if parent in keys:
        item = below if isinstance(below, dict) else {"Value": below}
        return [{**item, keys[parent]: first.name}]
    return {first.name: below}
