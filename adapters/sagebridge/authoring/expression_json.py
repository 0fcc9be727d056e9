"""Read expressions from definition JSON, and write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge.model.expressions import Get, Join, JsonGet, Template
from sagebridge.model.values import ABSENT, Object, Value


def read_value(raw: Any, *, bare_joins: bool = False) -> Value:
    """Plain JSON as a value of the model. A malformed expression stays an object.

    ``bare_joins`` also reads ``{"On": …, "Values": […]}``, which the SDK writes in
    PipelineExperimentConfig.
    """
    if isinstance(raw, str):
        return raw
    if isinstance(raw, Mapping):
        expression = _read_expression(raw) if len(raw) == 1 else None
        if bare_joins and set(raw) == {"On", "Values"} and isinstance(raw["Values"], list):
            expression = _join(raw["Values"], {"On": raw["On"]}, bare=True)
        if expression is not None:
            return expression
        return Object({name: read_value(item, bare_joins=bare_joins) for name, item in raw.items()})
    if isinstance(raw, list | tuple):
        return tuple(read_value(item, bare_joins=bare_joins) for item in raw)
    return raw


def _read_expression(raw: Mapping[str, Any]) -> Get | Join | JsonGet | None:
    match dict(raw):
        case {"Get": str(text)}:
            return Get.parse(text)
        case {"Std:Join": {"Values": list(values), **rest}}:
            return _join(values, rest, bare=False)
        case {"Std:JsonGet": {"Path": path, "PropertyFile": file, **rest}} if not rest:
            reference = read_value(file)
            if isinstance(reference, Get) and reference.property_file is not None:
                return JsonGet(read_value(path), property_file=reference)
        case {"Std:JsonGet": {"Path": path, "S3Uri": uri, **rest}} if not rest:
            return JsonGet(read_value(path), s3_uri=read_value(uri))
    return None


def _join(values: list[Any], rest: Mapping[Any, Any], *, bare: bool) -> Join | None:
    parts = tuple(read_value(value) for value in values)
    if not rest:
        return Join(parts)
    if set(rest) == {"On"} and isinstance(rest["On"], str):
        return Join(parts, rest["On"], bare=bare)
    return None


def write_value(value: Value) -> Any:
    """A value of the model as plain JSON."""
    if type(value) is str:  # most values, and the patterns below are slow
        return value
    if type(value) is Object:
        return {name: write_value(item) for name, item in value.items()}
    match value:
        case Get():
            return {"Get": value.text}
        case Join(values=values, on=on, bare=bare):
            body: dict[str, Any] = {} if on is ABSENT else {"On": on}
            body["Values"] = [write_value(item) for item in values]
            return body if bare else {"Std:Join": body}
        case JsonGet(path=path, property_file=file, s3_uri=uri):
            source = {"S3Uri": uri} if file is ABSENT else {"PropertyFile": file}
            return {"Std:JsonGet": write_value({**source, "Path": path})}
        case Template(text=text):
            # Nothing may take it for a string: no definition contains templates.
            raise TypeError(f"a template in a definition: {text!r}")
        case Mapping():
            return {name: write_value(item) for name, item in value.items()}
        case list() | tuple():
            return [write_value(item) for item in value]
    return value
