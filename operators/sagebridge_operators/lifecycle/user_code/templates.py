"""Renders templates as Airflow does, in the sandbox of Jinja.

Their text comes from a DAG or flow file, never from a definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sagebridge_operators.run_errors import StepFailed

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

_FILTERS = {
    "ds": "%Y-%m-%d",
    "ds_nodash": "%Y%m%d",
    "ts_nodash": "%Y%m%dT%H%M%S",
    "ts_nodash_with_tz": "%Y%m%dT%H%M%S%z",
}
"""Airflow's filters of dates (airflow/sdk/definitions/_internal/templater.py)."""


def render(text: str, context: Mapping[str, Any]) -> str:
    """The text of a template. Raises StepFailed for an unknown name or a syntax error."""
    from jinja2 import TemplateError

    try:
        return _environment().from_string(text).render(context)
    except TemplateError as problem:
        raise StepFailed(f"template {text!r}: {problem}", kind="unresolvable") from None
    except Exception as error:
        text = f"template {text!r}: {type(error).__name__}: {error}"
        raise StepFailed(text, kind="unresolvable") from error


@cache
def _environment() -> SandboxedEnvironment:
    # Imported here: few steps have templates.
    import jinja2
    from jinja2.sandbox import SandboxedEnvironment, is_internal_attribute

    class Environment(SandboxedEnvironment):
        """Allows names with one underscore, as Airflow's environment does."""

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return not is_internal_attribute(obj, attr)

    made = Environment(undefined=jinja2.StrictUndefined, cache_size=0)
    for name, layout in _FILTERS.items():
        made.filters[name] = _date_filter(layout)
    made.filters["ts"] = lambda moment: None if moment is None else moment.isoformat()
    return made


def _date_filter(layout: str) -> Any:
    def shown(moment: datetime | None) -> str | None:
        return None if moment is None else moment.strftime(layout)

    return shown
