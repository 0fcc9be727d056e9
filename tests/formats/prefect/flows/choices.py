"""Tests of all kinds: chained, combined, in a list, nested, and after a return."""

from typing import Literal

from prefect import flow, get_run_logger, task


@task
def measure(name: str) -> float:
    return float(len(name))


@task
def fast(value: float) -> str:
    return str(value)


@task
def slow(value: float) -> str:
    return str(-value)


@task
def publish(text: str) -> None:
    print(text)


@task
def is_ready(text: str):
    return bool(text)


@flow(name="choices", on_failure=[lambda flow, run, state: None])
def choices(
    name: str = "abalone",
    mode: Literal["fast", "slow", "both"] = "fast",
    low: float = 0.1,
    dry: bool = False,
):
    logger = get_run_logger()
    logger.info("run for %s", name)
    value = measure(name)
    if low < value < 0.9 and not dry:
        text = fast(value) if mode in ("fast", "both") else slow(value)
    else:
        text = slow(value)
        if name is None:
            publish("never")
    if not is_ready(text):
        return
    publish(f"{text} of {name}")
