"""Names of the steps that compute values and tests of a flow."""

from __future__ import annotations

import ast

import pytest

from sagebridge.formats.prefect.source.statements import test_name as name_of_test
from sagebridge.formats.prefect.source.statements import value_name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("day", "day"),
        ("kind.value", "kind"),
        ("settings.tags", "tags"),
        ("result['metrics']['auc']", "auc"),
        ("rows[0]", "rows"),
        ("result.get('auc', 0)", "auc"),
        ("text.split(',')", "text"),
        ("json.loads(text)", "text"),
        ("len(rows)", "rows_count"),
        ("sorted(names)", "names"),
        ("day or today()", "day"),
        ("pick(rows)", "pick"),
        ("f'{day}/{name}'", "day"),
        ("[row['id'] for row in rows]", "rows"),
        ("range(count)", ""),
        ("3", ""),
    ],
)
def test_value_is_named_after_what_it_starts_with(source: str, name: str) -> None:
    assert value_name(ast.parse(source, mode="eval").body) == name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("gaps", "has_gaps"),
        ("not gaps", "no_gaps"),
        ("not is_ready(x)", "not_is_ready"),
        ("day is None", "day_is_none"),
        ("settings.share >= 0.4", "share_at_least_0_4"),
        ("len(rows) > limit", "rows_count_above_limit"),
        ("name.startswith('a')", "name_startswith"),
        ("any(found)", "any_found"),
        ("gaps and day is None", "has_gaps_and_day_is_none"),
        ("3", ""),
    ],
)
def test_test_is_named_after_what_it_looks_at(source: str, name: str) -> None:
    assert name_of_test(ast.parse(source, mode="eval").body) == name
