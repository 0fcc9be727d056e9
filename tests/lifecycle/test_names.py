"""Ids of executions and names of jobs: stable, valid on AWS and unique."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebridge_operators.lifecycle.execution import (
    airflow_execution_id,
    execution_id,
    job_name,
    job_token,
)
from sagebridge_operators.steps import JOB_TYPES
from tests.fakes import input_shape

STEPS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
EXECUTIONS = st.builds(execution_id, st.just("airflow"), st.text(), st.text())
COUNTS = st.integers(0, 99999)
INDEXES = st.lists(st.integers(0, 999), max_size=3).map(tuple)


def test_execution_id_is_twelve_hex_characters() -> None:
    made = execution_id("prefect", "abalone", "3f0e1c2a")
    assert re.fullmatch("[0-9a-f]{12}", made)
    assert made == execution_id("prefect", "abalone", "3f0e1c2a")
    assert made != execution_id("prefect", "abalone", "3f0e1c2b")
    assert execution_id("prefect", "a", "bc") != execution_id("prefect", "ab", "c")


def test_airflow_execution_id_depends_on_run_start_and_installation() -> None:
    start = datetime(2026, 11, 21, 5, 43, tzinfo=UTC)
    made = airflow_execution_id("abalone", "manual", start, "")
    elsewhere = start.astimezone(timezone(timedelta(hours=9)))
    assert re.fullmatch("[0-9a-f]{12}", made)
    assert made == airflow_execution_id("abalone", "manual", elsewhere, "")
    others = {
        airflow_execution_id("abalone2", "manual", start, ""),
        airflow_execution_id("abalone", "manual2", start, ""),
        airflow_execution_id("abalone", "manual", start + timedelta(microseconds=1), ""),
        airflow_execution_id("abalone", "manual", start, "test"),
    }
    assert len({made, *others}) == 5


@given(step=STEPS, one=INDEXES, other=INDEXES)
def test_each_map_index_has_its_own_job(
    step: str, one: tuple[int, ...], other: tuple[int, ...]
) -> None:
    for limit in (63, 32):
        first, second = (
            job_name("0123456789ab", 0, step, 0, index=index, limit=limit) for index in (one, other)
        )
        assert (first == second) == (one == other)


def test_job_name_contains_execution_and_step() -> None:
    name = job_name("0123456789ab", 0, "Abalone_Train", 0)
    token = job_token("0123456789ab", 0, "Abalone_Train")
    assert name == f"pipelines-0123456789ab-Abalone-Train-{token}-0"


@cache
def patterns_of_aws(limit: int) -> set[str]:
    """The API's patterns for names of jobs and models; a model package has no such name."""
    jobs = [
        job
        for job in JOB_TYPES.values()
        if job.service == "sagemaker" and job.described and job.name_limit >= limit
    ]
    shapes = [input_shape(job.create).members[job.name_key] for job in jobs]
    return {shape.metadata["pattern"] for shape in shapes}


@pytest.mark.parametrize("limit", [63, 32])
@given(execution=EXECUTIONS, generation=COUNTS, step=STEPS, attempt=COUNTS)
def test_job_name_is_valid_and_unique(
    limit: int, execution: str, generation: int, step: str, attempt: int
) -> None:
    name = job_name(execution, generation, step, attempt, limit=limit)
    assert name == job_name(execution, generation, step, attempt, limit=limit)
    assert len(name) <= limit
    assert all(re.fullmatch(pattern, name) for pattern in patterns_of_aws(limit))
    assert execution in name
    assert name.endswith(f"-{job_token(execution, generation, step)}-{attempt}")


@given(
    execution=EXECUTIONS,
    one=st.tuples(COUNTS, STEPS, COUNTS),
    other=st.tuples(COUNTS, STEPS, COUNTS),
)
def test_generation_step_and_number_change_the_name(
    execution: str, one: tuple[int, str, int], other: tuple[int, str, int]
) -> None:
    for limit in (63, 32):
        same = job_name(execution, *one, limit=limit) == job_name(execution, *other, limit=limit)
        assert same == (one == other)


@given(step=STEPS)
def test_long_name_shortens_only_the_step_part(step: str) -> None:
    name = job_name("0123456789ab", 0, step, 0)
    assert name.startswith(f"pipelines-0123456789ab-{step[:20].replace('_', '-')}"[:44])


@given(
    prefix=st.from_regex(r"[a-zA-Z0-9](-?[a-zA-Z0-9]){0,70}", fullmatch=True),
    number=COUNTS,
    limit=st.sampled_from((63, 40)),
)
def test_prefix_replaces_the_step_and_is_shortened_to_fit(
    prefix: str, number: int, limit: int
) -> None:
    name = job_name("0123456789ab", 2, "Train", number, limit=limit, prefix=prefix)
    end = f"-0123456789ab-{job_token('0123456789ab', 2, 'Train')}-{number}"
    assert len(name) <= limit
    assert name == prefix[: limit - len(end)] + end
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name)
