"""Settings of a step: retry policies, its cache, property files and output parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from sagebridge.errors import ModelTypeError
from sagebridge.model.converters import Converter, convert, each, object_, string_
from sagebridge.model.expressions import json_value
from sagebridge.model.values import ABSENT, EMPTY, Object, Strict, Value


@dataclass(frozen=True, slots=True, eq=False)
class RetryPolicy(Strict):
    """One item of ``RetryPolicies``. ``one_type``: ``ExceptionType`` is a string, not a list."""

    exception_types: tuple[str, ...]
    interval_seconds: Value = ABSENT
    backoff_rate: Value = ABSENT
    max_attempts: Value = ABSENT
    expire_after_min: Value = ABSENT
    one_type: bool = False
    extra: Object = EMPTY

    if TYPE_CHECKING:

        def __init__(
            self,
            exception_types: Sequence[str],
            interval_seconds: Value = ABSENT,
            backoff_rate: Value = ABSENT,
            max_attempts: Value = ABSENT,
            expire_after_min: Value = ABSENT,
            one_type: bool = False,
            extra: Mapping[str, Value] = EMPTY,
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, "retry policy", _RETRY_FIELDS)
        if self.one_type and len(self.exception_types) != 1:
            problem = f"expected one type with one_type, got {len(self.exception_types)}"
            raise ModelTypeError([f"retry policy: exception_types: {problem}"])


@dataclass(frozen=True, slots=True, eq=False)
class CacheConfig(Strict):
    """The cache of a step: ``CacheConfig(True, "PT1H")``."""

    enabled: Value = ABSENT
    expire_after: Value = ABSENT
    extra: Object = EMPTY

    if TYPE_CHECKING:

        def __init__(
            self,
            enabled: Value = ABSENT,
            expire_after: Value = ABSENT,
            extra: Mapping[str, Value] = EMPTY,
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, "cache config", _CACHE_FIELDS)


@dataclass(frozen=True, slots=True, eq=False)
class PropertyFile(Strict):
    """A JSON file that :func:`json_get` can read.

    ``file_path`` is relative to the step's output ``output_name``.
    """

    name: str
    output_name: str
    file_path: str
    extra: Object = EMPTY

    if TYPE_CHECKING:

        def __init__(
            self, name: str, output_name: str, file_path: str, extra: Mapping[str, Value] = EMPTY
        ) -> None: ...

    def __post_init__(self) -> None:
        strings = dict.fromkeys(("name", "output_name", "file_path"), string_)
        convert(self, "property file", {**strings, **_EXTRA})


@dataclass(frozen=True, slots=True, eq=False)
class OutputParameter(Strict):
    """A named value that a Lambda or Callback step returns."""

    name: str
    type: Value = ABSENT
    extra: Object = EMPTY

    if TYPE_CHECKING:

        def __init__(
            self, name: str, type: Value = ABSENT, extra: Mapping[str, Value] = EMPTY
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, "output parameter", _OUTPUT_FIELDS)


_EXTRA: Mapping[str, Converter] = MappingProxyType({"extra": object_})
_RETRY_FIELDS: Mapping[str, Converter] = MappingProxyType(
    {
        "exception_types": each(string_),
        "interval_seconds": json_value,
        "backoff_rate": json_value,
        "max_attempts": json_value,
        "expire_after_min": json_value,
        **_EXTRA,
    }
)
_CACHE_FIELDS: Mapping[str, Converter] = MappingProxyType(
    {"enabled": json_value, "expire_after": json_value, **_EXTRA}
)
_OUTPUT_FIELDS: Mapping[str, Converter] = MappingProxyType(
    {"name": string_, "type": json_value, **_EXTRA}
)
