"""The names that describe a step in Python: expressions, conditions and small records.

This list is the only one. The three packages that export these names, the writers, which reserve
and import them, and the reader of flow source all use it.
"""

from sagebridge.model.conditions import (
    equals,
    greater_than,
    greater_than_or_equal_to,
    is_in,
    less_than,
    less_than_or_equal_to,
    not_,
    or_,
    other_condition,
)
from sagebridge.model.dependencies import ended, failed, stopped
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.expressions import (
    JsonGet,
    current_item,
    execution,
    get,
    iteration_output,
    join,
    json_get,
    json_get_s3,
    parameter,
    template,
)
from sagebridge.model.for_each import Selector, max_by, min_by
from sagebridge.model.schedules import Schedule
from sagebridge.model.step_settings import CacheConfig, OutputParameter, PropertyFile, RetryPolicy
from sagebridge.model.values import ABSENT

__all__ = [
    "ABSENT",
    "CacheConfig",
    "EventTrigger",
    "JsonGet",
    "OutputParameter",
    "PropertyFile",
    "RetryPolicy",
    "Schedule",
    "Selector",
    "current_item",
    "ended",
    "equals",
    "execution",
    "failed",
    "get",
    "greater_than",
    "greater_than_or_equal_to",
    "is_in",
    "iteration_output",
    "join",
    "json_get",
    "json_get_s3",
    "less_than",
    "less_than_or_equal_to",
    "max_by",
    "min_by",
    "not_",
    "or_",
    "other_condition",
    "parameter",
    "stopped",
    "template",
]
