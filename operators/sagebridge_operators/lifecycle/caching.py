"""The cache of a step: its key, and the earlier run whose job is reused.

As the page "Caching pipeline steps" of the SageMaker guide describes: a step reuses the newest
successful run of the same step of the same pipeline whose key attributes were equal, if it is not
older than ``ExpireAfter``. Only values are compared, not the objects behind S3 URIs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sagebridge.model.durations import parse_duration
from sagebridge.model.pipeline import Step
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import ABSENT, Value
from sagebridge_operators.lifecycle.objects import key_part


@dataclass(frozen=True, slots=True)
class StepCache:
    """The enabled cache of a step.

    Args:
        backend: the backend's name, since jobs of one backend do not exist on another.
        resolve: resolves the expressions in the step's own keys.
    """

    pipeline: str
    step: Step
    backend: str
    resolve: Callable[[Value], Any]

    def key(self, request: Mapping[str, Any]) -> str:
        """``<pipeline>/<step>/<digest>`` for the key attributes of a create request.

        The digest is a hash, so that no value of the request can be read from it.
        """
        paths = STEP_TYPES[self.step.type].cached_by
        own = {
            name: self.resolve(self.step.extra[name]) for name in paths if name in self.step.extra
        }
        parts = {path: _at({**request, **own}, path) for path in paths}
        whole = (self.pipeline, self.step.name, self.step.type, self.backend, parts)
        text = json.dumps(whole, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return f"{key_part(self.pipeline)}/{key_part(self.step.name)}/{digest}"

    def covers(self, ended: str, present: datetime) -> bool:
        """Whether a run that ended at an ISO time is still valid."""
        config = self.step.cache_config
        expiry = config.expire_after if config is not ABSENT else ABSENT
        if expiry is ABSENT or expiry is None:
            return True
        age = parse_duration(str(expiry)) or timedelta()
        return present - datetime.fromisoformat(ended) <= age


def cache_of(
    step: Step, pipeline: str, backend: str, resolve: Callable[[Value], Any]
) -> StepCache | None:
    """The cache of a step; None if it is not enabled or its type has no key attributes."""
    config = step.cache_config
    row = STEP_TYPES.get(step.type)
    if config is ABSENT or config.enabled is not True or not (row and row.cached_by):
        return None
    return StepCache(pipeline, step, backend, resolve)


def _at(value: Any, path: str) -> Any:
    """The value at a dotted path; None without a value."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
