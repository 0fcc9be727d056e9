"""Secrets that user code reads from its engine: results have references in their place.

The stores of :mod:`~sagebridge_operators.airflow.prefect_names` and
:mod:`~sagebridge_operators.prefect.airflow_names` report what they read. A result with such a value
is kept as ``{"__sagebridge__": "secret", "value": ["Bearer ", ["Secret", "shop"]]}``: strings, and
references with a store, a name and keys. The step that receives it reads the secret again. XComs,
records and logs therefore have no values of secrets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

from sagebridge_operators.lifecycle.masking import MASK, looks_secret, mask_line
from sagebridge_operators.lifecycle.user_code.run_context import CURRENT
from sagebridge_operators.lifecycle.user_code.values import REFERENCES, TAG, has_references, is_leaf
from sagebridge_operators.run_errors import StepFailed

Reference: TypeAlias = tuple[str, ...]
"""A store, a name in it, and the keys of a part of the value."""
Known: TypeAlias = Mapping[str, Reference]
_SHORT = 4
"""Shorter secrets are only found if they are the whole string."""


def report_secret(value: Any, *reference: str, every: bool = True) -> None:
    """Report a secret that the code of the current step has read; outside of a step, do nothing.

    With ``every``, all strings in the value are secret, otherwise those whose keys look secret.
    """
    if (context := CURRENT.get()) is not None:
        context.secrets.update(_strings(value, reference, every))


def _strings(value: Any, reference: Reference, every: bool) -> Iterator[tuple[str, Reference]]:
    match value:
        case str() if value and every:
            yield value, reference
        case Mapping():
            for name, one in value.items():
                if isinstance(name, str):
                    yield from _strings(one, (*reference, name), every or looks_secret(name))


def part_of(value: Any, keys: Sequence[str]) -> Any:
    """The part of a value at some keys."""
    for key in keys:
        value = value[key]
    return value


def without_secrets(step: str, value: Any, known: Known) -> Any:
    """Tagged JSON with references in the place of secrets.

    Raises StepFailed for a secret in a place that cannot have a reference, such as a path.
    """
    match value:
        case str():
            return _with_references(value, known)
        case list():
            return [without_secrets(step, one, known) for one in value]
        case dict() if (TAG in value and is_leaf(value)) or any(
            _with_references(name, known) != name for name in value
        ):
            for secret, (store, name, *_) in known.items():
                if len(secret) >= _SHORT and json.dumps(secret)[1:-1] in json.dumps(value):
                    raise StepFailed(
                        f"step {step!r} returned a value that contains the secret {name!r} "
                        f"({store}); read it in the step that uses it",
                        kind="code",
                    )
        case dict():
            return {name: without_secrets(step, one, known) for name, one in value.items()}
    return value


def _with_references(text: str, known: Known) -> Any:
    if text in known:
        return {TAG: REFERENCES, "value": [list(known[text])]}
    found = [one for one in sorted(known, key=len, reverse=True) if len(one) >= _SHORT]
    parts = re.split(f"({'|'.join(map(re.escape, found))})", text) if found else [text]
    if len(parts) == 1:
        return text
    return {TAG: REFERENCES, "value": [list(known[one]) if one in known else one for one in parts]}


def with_secrets(
    value: Any,
    load: Callable[[Sequence[str]], Any] | None,
    known: MutableMapping[str, Reference],
) -> Any:
    """Tagged JSON with secrets in the place of their references; ``known`` gets them."""
    match value:
        case list():
            return [with_secrets(one, load, known) for one in value]
        case dict() if has_references(value):
            return "".join(_loaded(one, load, known) for one in value["value"])
        case dict():
            return {name: with_secrets(one, load, known) for name, one in value.items()}
    return value


def _loaded(
    part: Any,
    load: Callable[[Sequence[str]], Any] | None,
    known: MutableMapping[str, Reference],
) -> str:
    if isinstance(part, str):
        return part
    store, name, *_ = part
    try:
        found = None if load is None else load(part)
    except (LookupError, TypeError, ValueError):
        found = None
    if not isinstance(found, str):
        raise StepFailed(f"the secret {name!r} ({store}) does not exist any more", kind="code")
    known[found] = tuple(part)
    return found


def masked(value: Any) -> Any:
    """Tagged JSON with ``***`` in the place of references, to be shown."""
    match value:
        case list():
            return [masked(one) for one in value]
        case dict() if has_references(value):
            return "".join(one if isinstance(one, str) else MASK for one in value["value"])
        case dict():
            return {name: masked(one) for name, one in value.items()}
    return value


def masked_text(text: str, known: Known) -> str:
    """A message or a line of a log with the secrets in it masked."""
    return mask_line(text, [one for one in known if len(one) >= _SHORT])
