"""Rules for retry policies and caching, from the pages of these names in the guide."""

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
from sagebridge.formats.sagemaker.rules.known_keys import CACHE, RETRY_POLICY, unknown_keys
from sagebridge.model.display import did_you_mean
from sagebridge.model.durations import parse_duration
from sagebridge.model.step_types import EXCEPTION_TYPES, STEP_TYPES

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
                what = f"retry policy of step {step.label}"
                yield wrong_type(pointer, what, "an object", policy)


def _check_policy(step: LocatedStep, raw: dict[str, Any], pointer: str) -> Iterator[Problem]:
    what = f"retry policy of step {step.label}"
    yield from unknown_keys(raw, RETRY_POLICY, pointer, what)
    if "MaxAttempts" in raw and "ExpireAfterMin" in raw:
        message = f"{what}: expected either MaxAttempts or ExpireAfterMin, got both"
        yield Problem("retry-policy", pointer, message)
    for name, most, whole in _LIMITS:
        if name not in raw:
            continue
        value = raw[name]
        fits = is_number(value) and value >= 0 and (most is None or value <= most)
        if not fits or (whole and not isinstance(value, int)):
            expected = "an integer" if whole else "a number"
            expected += " from 0" if most is None else f" from 0 to {most:g}"
            yield Problem(
                "retry-policy",
                f"{pointer}/{name}",
                f"{what}: {name} expects {expected}, got {kind(value)}",
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
        exists = "ExceptionType" in raw
        problem = f"got {'an empty array' if found == [] else kind(found)}"
        problem = problem if exists else "the key is missing"
        yield Problem(
            "retry-policy",
            here if exists else pointer,
            f"{what}: ExceptionType expects an array such as ['Step.THROTTLING'], {problem}",
        )
        return
    for location, name in types:
        if name not in EXCEPTION_TYPES:
            hint = did_you_mean(name, EXCEPTION_TYPES) if isinstance(name, str) else ""
            yield Problem(
                "retry-policy",
                location,
                f"{what}: unknown ExceptionType {kind(name)}"
                + (hint or f"; expected one of {', '.join(EXCEPTION_TYPES)}"),
            )
        elif (row := STEP_TYPES.get(step.type)) and row.retried and name not in row.retried:
            problem = f"{what}: {name} has no effect for {step.type} steps"
            yield Problem("retry-policy", location, problem, "warning")


def check_caches(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        if "CacheConfig" not in step.raw:
            continue
        raw, pointer = step.raw["CacheConfig"], step.at("CacheConfig")
        if not isinstance(raw, dict):
            yield wrong_option(pointer, f"CacheConfig of step {step.label}", "an object", raw)
            continue
        yield from unknown_keys(raw, CACHE, pointer, f"CacheConfig of step {step.label}")
        if "Enabled" not in raw:
            yield Problem(
                "missing-member",
                pointer,
                f"CacheConfig of step {step.label}: missing key 'Enabled'; expected true or false",
            )
        elif not isinstance(raw["Enabled"], bool):
            what = f"Enabled in CacheConfig of step {step.label}"
            yield wrong_type(f"{pointer}/Enabled", what, "true or false", raw["Enabled"])
        expire = raw.get("ExpireAfter", "1d")
        if not isinstance(expire, str) or parse_duration(expire) is None:
            yield Problem(
                "cache-expiry",
                f"{pointer}/ExpireAfter",
                f"CacheConfig of step {step.label}: ExpireAfter expects a duration such as P30D, "
                f"PT12H or 30d, got {kind(expire)}",
            )
