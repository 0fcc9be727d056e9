"""Odd names and strings under Prefect are neither executed, formatted nor rendered."""

from __future__ import annotations

import pytest

import sagebridge
from tests import odd
from tests.fakes import FakeSageMaker
from tests.prefect.conftest import Run, flow_of

pytestmark = pytest.mark.prefect


@pytest.mark.parametrize("failing", [False, True])
def test_odd_values_reach_aws_unchanged(failing: bool, play: Run, aws: FakeSageMaker) -> None:
    pipeline = sagebridge.read(odd.request(failing=failing)).pipeline
    flow = flow_of(sagebridge.write(pipeline, "prefect").text)
    assert flow.name == pipeline.name
    assert flow.description == pipeline.description
    played = play(flow)
    names = {step: one.job.name for step, one in played.steps.items() if one.job}
    odd.check_requests(aws.called("create_model"), names)
    done = set(odd.NAMES[:-1]) if failing else set(odd.NAMES)
    assert set(names) == done
    assert {one for one, state in played.states.items() if state == "Completed"} >= done
    if failing:
        assert played.state.is_failed()
        assert odd.FAILING in played.run.state.message
    else:
        assert played.state.is_completed(), played.run.state.message
