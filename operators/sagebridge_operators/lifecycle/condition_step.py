"""Runs a Condition step: evaluates its conditions and reports the values and their sources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sagebridge.model.display import printable
from sagebridge.model.expressions import Get, Key, Member, references
from sagebridge.model.pipeline import ConditionStep, Pipeline
from sagebridge.model.values import Value
from sagebridge_operators.lifecycle.masking import looks_secret
from sagebridge_operators.lifecycle.outputs import outputs_of
from sagebridge_operators.lifecycle.resolve import Resolver
from sagebridge_operators.lifecycle.step_states import branch_steps
from sagebridge_operators.lifecycle.step_task import Log, StepTask
from sagebridge_operators.run_errors import ObjectNotFound, Unresolvable
from sagebridge_operators.steps.condition import Operand, Result, evaluate_all

_LARGEST_REPORT = 16 * 1024
"""Bytes of JSON. Larger reports contain only the outcome of each condition."""
_MOST_NAMES = 50


def run(step: ConditionStep, task: StepTask, resolve: Resolver, log: Log) -> dict[str, Any]:
    """The outputs of a Condition step.

    They are ``outcome``, ``conditions`` with the compared values and their sources, and the steps
    that run or are skipped (``runs``, ``skipped``). The same is logged and shown as the request of
    the task. Raises StepFailed if a needed condition cannot be evaluated.
    """
    results = evaluate_all(step.conditions or (), lambda value: _operand(value, resolve))
    holds = all(result.holds for result in results)
    pipeline = task.pipeline or Pipeline(steps=(step,))
    runs, skipped = branch_steps(pipeline, step, holds=holds)
    lines = [line for result in results for line in result.lines("  ")]
    lines += _branch_lines(step, holds=holds, runs=runs, skipped=skipped)
    text = [printable(line) for line in (f"condition {step.name}: {holds}", *lines)]
    log.info("%s", "\n".join(text))
    report = _report(results, holds=holds, runs=runs, skipped=skipped)
    task.on_request(report)
    return report | outputs_of(step, {"Outcome": str(holds)}, task.references)


def _operand(value: Value, resolve: Resolver) -> Operand:
    """The value of one side of a comparison. Raises on an outage."""
    secret = any(_is_secret(reference) for reference in references(value))
    try:
        return Operand(resolve(value), resolve.source_of(value), secret=secret)
    except (Unresolvable, ObjectNotFound) as missing:
        return Operand(None, problem=str(missing))


def _is_secret(reference: Get) -> bool:
    """Whether a reference reads the environment of a job, or a value whose name looks secret."""
    names = [token.name for token in reference.tokens if isinstance(token, Member | Key)]
    below = names[1:] if reference.root == "Steps" else []
    return "Environment" in below or any(looks_secret(name) for name in below)


def _branch_lines(
    step: ConditionStep, *, holds: bool, runs: Sequence[str], skipped: Sequence[str]
) -> list[str]:
    """The log lines about the branches; none for a condition without steps."""
    if not step.branches:
        return []
    branch = "if" if holds else "else"
    lines = [f"  runs ({branch} branch): {', '.join(_few(runs)) or 'no step'}"]
    return [*lines, f"  skipped: {', '.join(_few(skipped))}"] if skipped else lines


def _report(
    results: Sequence[Result], *, holds: bool, runs: Sequence[str], skipped: Sequence[str]
) -> dict[str, Any]:
    """The results as small JSON."""
    report: dict[str, Any] = {"outcome": holds}
    if results:
        report["conditions"] = _small([result.as_json() for result in results])
    branches = {"runs": _few(runs), "skipped": _few(skipped)}
    return report | {name: names for name, names in branches.items() if names}


def _small(conditions: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    if len(json.dumps(conditions).encode()) <= _LARGEST_REPORT:
        return list(conditions)
    return [{name: one[name] for name in ("type", "holds")} for one in conditions[:_MOST_NAMES]]


def _few(names: Sequence[str]) -> list[str]:
    more = len(names) - _MOST_NAMES
    return [*names[:_MOST_NAMES], *([f"and {more} more"] if more > 0 else [])]
