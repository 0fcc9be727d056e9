"""Retry policies and cache settings, after "Retry policy" and "Caching" of the guide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sagebridge.authoring.json_document import kind
from sagebridge.formats.sagemaker.rules.definition import (
    Definition,
    LocatedStep,
    Problem,
    is_number,
    wrong_option,
    wrong_type,
)
from sagebridge.formats.sagemaker.rules.known_members import CACHE, RETRY_POLICY, unknown_members
from sagebridge.model.display import did_you_mean, shown
from sagebridge.model.durations import parse_duration
from sagebridge.model.step_types import STEP_TYPES

EXCEPTION_TYPES = (
    "Step.SERVICE_FAULT",
    "Step.THROTTLING",
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
    "Emr.RESOURCE_LIMIT",
)
_NO_JOB = frozenset(
    row.name for row in STEP_TYPES.values() if row.makes != "job" and "RetryPolicies" in row.takes
)
_LIMITS: tuple[tuple[str, float | None, bool], ...] = (
    ("IntervalSeconds", 43200, False),
    ("BackoffRate", None, False),
    ("MaxAttempts", 20, True),
    ("ExpireAfterMin", 14400, True),
)


def check_retries(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        policies = step.raw.get("RetryPolicies", [])
        if not isinstance(policies, list):
            what = f"RetryPolicies of step {step.label}"
            yield wrong_option(step.at("RetryPolicies"), what, "an array", policies)
            continue
        for position, policy in enumerate(policies):
            pointer = step.at("RetryPolicies", position)
            if isinstance(policy, dict):
                yield from _check_policy(step, policy, pointer)
            else:
                what = f"a retry policy of step {step.label}"
                yield wrong_type(pointer, what, "an object", policy)


def _check_policy(step: LocatedStep, raw: dict[str, Any], pointer: str) -> Iterator[Problem]:
    what = f"retry policy of step {step.label}"
    yield from unknown_members(raw, RETRY_POLICY, pointer, f"a {what}")
    if "MaxAttempts" in raw and "ExpireAfterMin" in raw:
        yield Problem("retry-policy", pointer, f"{what} has both MaxAttempts and ExpireAfterMin")
    for name, most, whole in _LIMITS:
        if name not in raw:
            continue
        value = raw[name]
        fits = is_number(value) and value >= 0 and (most is None or value <= most)
        if not fits or (whole and not isinstance(value, int)):
            upper = "a number from 0" if most is None else f"from 0 to {most:g}"
            if whole:
                upper = f"a whole number {upper}"
            yield Problem(
                "retry-policy",
                f"{pointer}/{name}",
                f"{name} of {what} is {kind(value)} ({upper} expected)",
            )
    yield from _check_exceptions(step, raw, pointer, what)


def _check_exceptions(
    step: LocatedStep, raw: dict[str, Any], pointer: str, what: str
) -> Iterator[Problem]:
    here = f"{pointer}/ExceptionType"
    found = raw.get("ExceptionType")
    if isinstance(found, str):
        types: list[tuple[str, Any]] = [(here, found)]
    elif isinstance(found, list) and found:
        types = [(f"{here}/{position}", item) for position, item in enumerate(found)]
    else:
        there = "ExceptionType" in raw
        yield Problem(
            "retry-policy",
            here if there else pointer,
            f"{what} has {kind(found) + ' as' if there else 'no'} ExceptionType "
            "(an array such as ['Step.THROTTLING'] expected)",
        )
        return
    for place, name in types:
        if name not in EXCEPTION_TYPES:
            hint = did_you_mean(name, EXCEPTION_TYPES) if isinstance(name, str) else ""
            yield Problem(
                "retry-policy",
                place,
                f"{what} names an unknown ExceptionType: {kind(name)}"
                + (hint or f" ({', '.join(EXCEPTION_TYPES)} expected)"),
            )
        elif step.type in _NO_JOB and not name.startswith("Step."):
            yield Problem(
                "retry-policy",
                place,
                f"{what} names {name}, which a {step.type} step never meets (it starts no job)",
                "warning",
            )


def check_caches(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        if "CacheConfig" not in step.raw:
            continue
        raw, pointer = step.raw["CacheConfig"], step.at("CacheConfig")
        if not isinstance(raw, dict):
            yield wrong_option(pointer, f"CacheConfig of step {step.label}", "an object", raw)
            continue
        yield from unknown_members(raw, CACHE, pointer, f"CacheConfig of step {step.label}")
        if "Enabled" not in raw:
            yield Problem(
                "missing-member",
                pointer,
                f"CacheConfig of step {step.label} has no Enabled (true or false expected)",
            )
        elif not isinstance(raw["Enabled"], bool):
            what = f"CacheConfig.Enabled of step {step.label}"
            yield wrong_type(f"{pointer}/Enabled", what, "true or false", raw["Enabled"])
        expire = raw.get("ExpireAfter", "1d")
        if not isinstance(expire, str) or parse_duration(expire) is None:
            text = shown(expire) if isinstance(expire, str) else kind(expire)
            yield Problem(
                "cache-expiry",
                f"{pointer}/ExpireAfter",
                f"CacheConfig.ExpireAfter {text} of step {step.label} is no duration "
                "(ISO 8601 such as P30D or PT12H, or loosely 30d, T12H, 30dT5h expected)",
            )
