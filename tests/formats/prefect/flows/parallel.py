"""Futures: parallel tasks, a map over a literal list and a map over a run-time list."""

from prefect import flow, task, unmapped
from prefect.futures import wait


@task
def load(day: str) -> str:
    return f"s3://example-bucket/{day}"


@task(task_run_name="clean-{kind}")
def clean(data: str, kind: str) -> str:
    return f"{data}/{kind}"


@task
def listing(data: str) -> list:
    return [data]


@task
def count(item: str, unit: str) -> int:
    return len(item + unit)


@task
def report(total: int, parts: list) -> None:
    print(total, parts)


@flow(log_prints=True)
def parallel(day: str = "2024-01-01", verbose: bool = False):
    data = load.submit(day)
    cleaned = [clean.submit(data, kind=kind) for kind in ("rows", "columns")]
    counts = count.map(["a", "b"], unit=unmapped(day))
    names = listing.submit(data, wait_for=cleaned)
    sizes = count.map(names, unit=unmapped("m"))
    wait(cleaned)
    if verbose and day != "":
        report(counts[0], parts=[one.result() for one in cleaned])
    report(0, parts=sizes)
