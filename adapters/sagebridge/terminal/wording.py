"""The wording of values, expressions, conditions and findings in every command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from sagebridge.findings import Finding
from sagebridge.model.conditions import Comparison, Condition, In, Not, Or
from sagebridge.model.display import printable
from sagebridge.model.expressions import Get, Join, JsonGet
from sagebridge.model.pipeline import CacheConfig, RetryPolicy
from sagebridge.model.values import ABSENT, Value

_STYLE = {"error": "bold red", "warning": "yellow"}
_SIGNS = {
    "Equals": "=",
    "GreaterThan": ">",
    "GreaterThanOrEqualTo": ">=",
    "LessThan": "<",
    "LessThanOrEqualTo": "<=",
}


def value_words(value: Value) -> str:
    """A value as JSON, the expressions in it as ``Parameters.Name`` or ``join('/', ...)``."""
    match value:
        case Get():
            return value.text
        case Join(values=values, on=on):
            parts = ", ".join(value_words(item) for item in values)
            return f"join({json.dumps('' if on is ABSENT else on)}, {parts})"
        case JsonGet(path=path, property_file=Get() as file):
            return f"{file.name}.{file.property_file}[{value_words(path)}]"
        case JsonGet(path=path, s3_uri=uri):
            return f"json({value_words(uri)})[{value_words(path)}]"
        case Mapping():
            members = (f"{json.dumps(name)}: {value_words(item)}" for name, item in value.items())
            return f"{{{', '.join(members)}}}"
        case list() | tuple():
            return f"[{', '.join(value_words(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)


def condition_words(condition: Condition) -> str:
    match condition:
        case Comparison(type=type_, left=left, right=right):
            return f"{value_words(left)} {_SIGNS[type_]} {value_words(right)}"
        case In(query=query, values=values):
            return f"{value_words(query)} in {value_words(values)}"
        case Not(condition=Comparison(type="Equals", left=left, right=right)):
            return f"{value_words(left)} != {value_words(right)}"
        case Not(condition=In(query=query, values=values)):
            return f"{value_words(query)} not in {value_words(values)}"
        case Not(condition=Or() as inner):
            return f"not {condition_words(inner)}"
        case Not(condition=inner):
            return f"not ({condition_words(inner)})"
        case Or(conditions=inner_all):
            return f"({' or '.join(condition_words(inner) for inner in inner_all)})"
    return value_words(condition.raw)


def retry_words(policy: RetryPolicy) -> str:
    """``retry on Step.THROTTLING: at most 3 times, after 1 s, then x2.0``, as far as it is said."""
    said: tuple[tuple[Any, str], ...] = (
        (policy.max_attempts, "at most {} times"),
        (policy.expire_after_min, "for {} min"),
        (policy.interval_seconds, "after {} s"),
        (policy.backoff_rate, "then x{}"),
    )
    parts = [form.format(value_words(value)) for value, form in said if value is not ABSENT]
    return f"retry on {', '.join(policy.exception_types)}: {', '.join(parts) or 'as by default'}"


def cache_words(cache: CacheConfig) -> str:
    if cache.enabled is not True:
        return "cache off"
    after = cache.expire_after
    return "cache" if after is ABSENT else f"cache for {value_words(after).strip(chr(34))}"


def finding_line(source: str, finding: Finding) -> Text:
    """``file:12: error: step A … [unknown-step] /Steps/0/…``, as compilers write it."""
    return Text.assemble(
        (f"{printable(source)}:{finding.line}: ", "bold"),
        (f"{finding.severity}: ", _STYLE[finding.severity]),
        printable(finding.message),
        (f" [{finding.code}] {printable(finding.pointer)}".rstrip(), "dim"),
    )
