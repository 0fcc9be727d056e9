"""Settings of a step: retry policies, its cache, property files and output parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from sagebridge.errors import ModelTypeError
from sagebridge.model.converters import convert
from sagebridge.model.values import ABSENT, EMPTY, Object, Strict, Value


class StepSetting(Strict):
    """An object in a step of a definition; ``keys`` has the key of each of its fields."""

    __slots__ = ()
    keys: ClassVar[Mapping[str, str]]
    extra: Object


@dataclass(frozen=True, slots=True, eq=False)
class RetryPolicy(StepSetting):
    """One item of ``RetryPolicies``. ``one_type``: ``ExceptionType`` is a string, not a list."""

    keys: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "interval_seconds": "IntervalSeconds",
            "backoff_rate": "BackoffRate",
            "max_attempts": "MaxAttempts",
            "expire_after_min": "ExpireAfterMin",
        }
    )

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
        convert(self, "retry policy")
        if self.one_type and len(self.exception_types) != 1:
            problem = f"expected one type with one_type, got {len(self.exception_types)}"
            raise ModelTypeError([f"retry policy: exception_types: {problem}"])


@dataclass(frozen=True, slots=True, eq=False)
class CacheConfig(StepSetting):
    """The cache of a step: ``CacheConfig(True, "PT1H")``."""

    keys: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"enabled": "Enabled", "expire_after": "ExpireAfter"}
    )

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
        convert(self, "cache config")


@dataclass(frozen=True, slots=True, eq=False)
class PropertyFile(StepSetting):
    """A JSON file that :func:`json_get` can read.

    ``file_path`` is relative to the step's output ``output_name``.
    """

    keys: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"name": "PropertyFileName", "output_name": "OutputName", "file_path": "FilePath"}
    )

    name: str
    output_name: str
    file_path: str
    extra: Object = EMPTY

    if TYPE_CHECKING:

        def __init__(
            self, name: str, output_name: str, file_path: str, extra: Mapping[str, Value] = EMPTY
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, "property file")


@dataclass(frozen=True, slots=True, eq=False)
class OutputParameter(StepSetting):
    """A named value that a Lambda or Callback step returns."""

    keys: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"name": "OutputName", "type": "OutputType"}
    )

    name: str
    type: Value = ABSENT
    extra: Object = EMPTY

    if TYPE_CHECKING:

        def __init__(
            self, name: str, type: Value = ABSENT, extra: Mapping[str, Value] = EMPTY
        ) -> None: ...

    def __post_init__(self) -> None:
        convert(self, "output parameter")
