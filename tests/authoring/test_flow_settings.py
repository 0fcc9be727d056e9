"""Engine settings as arguments of step functions in a flow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sagebridge.authoring.flow_settings import read_settings, retry_delays, written_settings
from sagebridge.authoring.pipeline_builder import PipelineBuilder
from sagebridge.errors import ModelTypeError
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.engine_settings import HOOK_EVENTS, TRIGGER_RULES, EngineSettings, Hook
from sagebridge.model.functions import Function
from sagebridge.model.values import ABSENT

NUMBERS = some.just(ABSENT) | some.integers(1, 9)
SECONDS = some.just(ABSENT) | some.floats(0.5, 900)
HOOKS = [
    Hook(event, Function(f"{event}_{engine}", "x"), engine)
    for event in HOOK_EVENTS
    for engine in ("prefect", "airflow")
]
SETTINGS = some.builds(
    EngineSettings,
    retries=NUMBERS,
    retry_delays=some.lists(some.floats(0, 900), max_size=3),
    backoff=SECONDS,
    max_retry_delay=SECONDS,
    timeout=SECONDS,
    trigger_rule=some.sampled_from(("", *TRIGGER_RULES)),
    group=some.lists(some.text(max_size=3), max_size=2),
    tags=some.lists(some.text(max_size=3), max_size=2),
    doc=some.text(max_size=3),
    pool=some.text(max_size=3),
    concurrency=NUMBERS,
    priority=NUMBERS,
    poll_interval=SECONDS,
    poll_timeout=SECONDS,
    poll_backoff=SECONDS,
    soft_fail=some.booleans(),
    skip_if_empty=some.booleans(),
    setup=some.booleans(),
    hooks=some.sets(some.sampled_from(HOOKS)).map(lambda kept: [h for h in HOOKS if h in kept]),
)


@given(SETTINGS)
def test_settings_come_back_from_their_arguments(settings: EngineSettings) -> None:
    written = dict(written_settings(settings))
    found, live = read_settings(dict(written))
    assert found == settings
    assert not live
    assert not ({*written} & {"hooks", "engine"})


def test_builder_keeps_settings_roles_and_live_hooks() -> None:
    builder = PipelineBuilder("p")
    builder.begin(tags=["a"], on_failure_callback=print)
    more: dict[str, Any] = {"retries": 2, "retry_delay_seconds": lambda retries: [1] * retries}
    builder.python("one", len, role="gate", context=True, unpacked={"a": 1}, **more)
    step = builder.pipeline().step("one")
    assert isinstance(step, PythonStep)
    assert (step.role, step.context) == ("gate", True)
    assert step.arguments["unpacked"] == {"a": 1}
    assert step.engine == EngineSettings(retries=2, retry_delays=[1, 1])
    assert builder.pipeline().engine.tags == ("a",)
    assert [one.function for one in builder.hooks[None]] == [print]
    with pytest.raises(ModelTypeError, match="step 'two': engine settings: retries"):
        builder.shell("two", "true", retries="x")


@pytest.mark.parametrize(
    ("settings", "delays"),
    [
        (EngineSettings(retry_delays=[5]), []),
        (EngineSettings(retries=3, retry_delays=[5]), [5, 5, 5]),
        (EngineSettings(retries=3, retry_delays=[5, 7]), [5, 7, 7]),
        (EngineSettings(retries=4, retry_delays=[5], backoff=2), [5, 10, 20, 40]),
        (EngineSettings(retries=3, retry_delays=[5], backoff=2, max_retry_delay=9), [5, 9, 9]),
        (EngineSettings(retries=2), [0, 0]),
    ],
)
def test_delays_grow_by_the_factor_up_to_the_limit(
    settings: EngineSettings, delays: list[float]
) -> None:
    assert retry_delays(settings) == delays
