"""A thousand definitions with mistakes: structural errors, or a translation that comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sagebridge
from sagebridge.checked_reading import SHAPE, STRUCTURAL
from sagebridge.errors import SourceError, TranslationError
from sagebridge.registry import FORMATS
from tests.conftest import find_corpus
from tests.strategies import canonical, mutated

SOUND = [json.loads(file.read_text()) for file in sorted(find_corpus()[0].glob("*.json"))]


@pytest.mark.slow
@settings(
    max_examples=1000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(mutated(st.sampled_from(SOUND)))
def test_mutated_definition_is_rejected_or_translated(definition: Any) -> None:
    text = json.dumps(definition)
    found = sagebridge.validate(text)
    try:
        written = {to: sagebridge.translate(text, to).text for to in FORMATS}
    except SourceError:
        stops = found
        allowed = frozenset(("not-a-pipeline",))
    except TranslationError as error:
        stops = error.findings
        allowed = STRUCTURAL | SHAPE
    else:
        stops = ()
    if stops:
        assert set(stops) <= set(found)
        assert {one.code for one in stops} <= allowed
        return
    (checked,) = sagebridge.read_checked(text)
    assert checked.findings == found
    assert canonical(json.loads(written["sagemaker"])) == canonical(json.loads(text))
    for to, file in written.items():
        if FORMATS[to].suffix == ".py":
            compile(file, to, "exec")
