"""Sixty values in Python, in a schedule and in an event: one function converts or rejects them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sagebridge.authoring.schedule_rules import require_startable
from sagebridge.errors import ParameterError, ScheduleError
from sagebridge.model.event_messages import event_starts
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.parameters import coerce
from sagebridge.model.schedules import Schedule
from tests.parameter_values import PARAMETERS, PIPELINE, RIGHT, ROWS, WRONG, Row, is_sent, text

TEXTS = {name: text(value) for name, value in RIGHT.items()}


def test_there_are_thirty_parameters_of_every_kind() -> None:
    assert len(RIGHT) == len(WRONG) == 30
    assert {row.type for row in ROWS} == {"String", "Integer", "Float", "Boolean"}


def test_right_values_and_texts_are_converted() -> None:
    assert is_sent(coerce(PARAMETERS, RIGHT))
    assert is_sent(coerce(PARAMETERS, TEXTS))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_wrong_values_and_texts_are_rejected(row: Row) -> None:
    for value in (WRONG[row.name], text(WRONG[row.name])):
        with pytest.raises(ParameterError) as error:
            coerce(PARAMETERS, {**RIGHT, row.name: value})
        (problem,) = error.value.problems
        assert problem.startswith(f"parameter {row.name!r} is {value!r}, expected ")


def test_all_wrong_values_of_a_schedule_are_rejected_together() -> None:
    right = Schedule("right", "rate(1 day)", parameters=TEXTS)
    wrong = Schedule("wrong", "rate(1 day)", parameters={one: text(WRONG[one]) for one in WRONG})
    require_startable(replace(PIPELINE, schedules=(right,)))
    with pytest.raises(ScheduleError) as error:
        require_startable(replace(PIPELINE, schedules=(right, wrong)))
    for name in WRONG:
        assert repr(name) in str(error.value)
    assert "'right'" not in str(error.value)


def test_values_of_an_event_are_converted_or_rejected() -> None:
    paths = {name: f"$.detail['{name}']" for name in RIGHT}
    trigger = EventTrigger("sent", parameters=paths)

    def values(detail: object) -> object:
        body = json.dumps({"source": "me", "detail-type": "sent", "detail": detail})
        (start,) = event_starts(trigger, {"MessageId": "1", "Body": body})
        return coerce(PARAMETERS, start.values)

    assert is_sent(values(RIGHT))
    assert is_sent(values(TEXTS))
    with pytest.raises(ParameterError) as error:
        values(WRONG)
    assert len(error.value.problems) == 30
