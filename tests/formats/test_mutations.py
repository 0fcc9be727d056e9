"""A thousand definitions with mistakes: structural errors, or a translation that comes back.

``python -m tests.formats.test_mutations 6000`` checks as many as you like.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import sagebridge
from sagebridge.checked_reading import SHAPE, STRUCTURAL
from sagebridge.errors import SourceError, TranslationError
from sagebridge.registry import FORMATS
from tests.conftest import find_corpus
from tests.strategies import called, canonical, mutated

SOUND = [json.loads(file.read_text()) for file in sorted(find_corpus()[0].glob("*.json"))]
MUTATED = mutated(st.sampled_from(SOUND))
COMMON = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
LONGEST = 60.0
"""Seconds for one definition; a second is usual, on a busy machine several."""


@pytest.mark.slow
@settings(COMMON, max_examples=1000)
@given(MUTATED)
def test_mutated_definition_is_rejected_or_translated(definition: Any) -> None:
    check(definition)


def check(definition: Any) -> str:
    """``rejected`` or ``translated``; raises AssertionError, or the error of a fault."""
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
        return "rejected"
    (checked,) = sagebridge.read_checked(text)
    assert checked.findings == found
    assert canonical(json.loads(written["sagemaker"])) == canonical(json.loads(text))
    for to, file in written.items():
        if FORMATS[to].suffix == ".py":
            compile(file, to, "exec")
            assert not called(file), to
    return "translated"


def main() -> None:
    parser = argparse.ArgumentParser(description="Check mutated definitions.")
    parser.add_argument("count", type=int, help="number of definitions")
    parser.add_argument("--seed", type=int, default=0, help="start of the random numbers")
    options = parser.parse_args()
    results: Counter[str] = Counter()
    slowest = 0.0

    @seed(options.seed)
    @settings(COMMON, max_examples=options.count, database=None, phases=[Phase.generate])
    @given(MUTATED)
    def every(definition: Any) -> None:
        nonlocal slowest
        began = time.monotonic()
        results[check(definition)] += 1
        seconds = time.monotonic() - began
        slowest = max(slowest, seconds)
        assert seconds < LONGEST, f"{seconds:.0f} s: {definition}"

    every()
    listed = ", ".join(f"{count} {result}" for result, count in sorted(results.items()))
    print(f"{results.total()} definitions: {listed}; slowest {slowest:.1f} s")


if __name__ == "__main__":
    main()
