"""Values, expressions, conditions and findings as commands print them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from sagebridge.findings import Finding
from sagebridge.model.conditions import Comparison, Condition, In, Not, Or
from sagebridge.model.display import printable
from sagebridge.model.expressions import Get, Join, JsonGet
from sagebridge.model.step_settings import CacheConfig, RetryPolicy
from sagebridge.model.values import ABSENT, Value

_STYLE = {"error": "bold red", "warning": "yellow"}
_SIGNS = {
    "Equals": "=",
    "GreaterThan": ">",
    "GreaterThanOrEqualTo": ">=",
    "LessThan": "<",
    "LessThanOrEqualTo": "<=",
}


def format_value(value: Value) -> str:
    """A value as JSON, with expressions such as ``Parameters.Name`` or ``join("/", ...)``."""
    match value:
        case Get():
            return value.text
        case Join(values=values, on=on):
            parts = ", ".join(format_value(item) for item in values)
            return f"join({json.dumps('' if on is ABSENT else on)}, {parts})"
        case JsonGet(path=path, property_file=Get() as file):
            return f"{file.name}.{file.property_file}[{format_value(path)}]"
        case JsonGet(path=path, s3_uri=uri):
            return f"json({format_value(uri)})[{format_value(path)}]"
        case Mapping():
            items = (f"{json.dumps(name)}: {format_value(item)}" for name, item in value.items())
            return f"{{{', '.join(items)}}}"
        case list() | tuple():
            return f"[{', '.join(format_value(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)


def format_condition(condition: Condition) -> str:
    match condition:
        case Comparison(type=type_, left=left, right=right):
            return f"{format_value(left)} {_SIGNS[type_]} {format_value(right)}"
        case In(query=query, values=values):
            return f"{format_value(query)} in {format_value(values)}"
        case Not(condition=Comparison(type="Equals", left=left, right=right)):
            return f"{format_value(left)} != {format_value(right)}"
        case Not(condition=In(query=query, values=values)):
            return f"{format_value(query)} not in {format_value(values)}"
        case Not(condition=Or() as inner):
            return f"not {format_condition(inner)}"
        case Not(condition=inner):
            return f"not ({format_condition(inner)})"
        case Or(conditions=inner_all):
            return f"({' or '.join(format_condition(inner) for inner in inner_all)})"
    return format_value(condition.raw)


def format_retry(policy: RetryPolicy) -> str:
    """``retry on Step.THROTTLING: at most 3 times, after 1 s, then x2.0``; absent parts omitted."""
    settings: tuple[tuple[Any, str], ...] = (
        (policy.max_attempts, "at most {} times"),
        (policy.expire_after_min, "for {} min"),
        (policy.interval_seconds, "after {} s"),
        (policy.backoff_rate, "then x{}"),
    )
    parts = [form.format(format_value(value)) for value, form in settings if value is not ABSENT]
    return f"retry on {', '.join(policy.exception_types)}: {', '.join(parts) or 'defaults'}"


def format_cache(cache: CacheConfig) -> str:
    if cache.enabled is not True:
        return "cache off"
    after = cache.expire_after
    return "cache" if after is ABSENT else f"cache for {format_value(after).strip(chr(34))}"


def finding_line(source: str, finding: Finding) -> Text:
    """One line in the style of compilers: ``file:12: error: message [code] /pointer``."""
    return Text.assemble(
        (f"{printable(source)}:{finding.line}: ", "bold"),
        (f"{finding.severity}: ", _STYLE[finding.severity]),
        printable(finding.message),
        (f" [{finding.code}] {printable(finding.pointer)}".rstrip(), "dim"),
    )
