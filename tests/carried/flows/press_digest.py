"""A digest of press articles each morning; served by its own process."""

from __future__ import annotations

import json

import boto3
from prefect import allow_failure, flow, task
from prefect.runtime import flow_run
from prefect.schedules import Cron

BUCKET = "press"
SOURCES = ("daily", "weekly", "broken")


def put(key: str, text: str) -> str:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=text.encode())
    return key


def note(task, run, state) -> None:
    """A hook: remember what failed."""
    put(f"failed/{task.name}.txt", state.type.value)


def finished(flow, run, state) -> None:
    put("hooks/finished.txt", flow.name)


@task(retries=1, retry_delay_seconds=0, on_failure=[note])
def fetch(source: str) -> list[str]:
    """The headlines of a source."""
    body = boto3.client("s3").get_object(Bucket=BUCKET, Key=f"in/{source}.json")["Body"].read()
    return json.loads(body)


@task
def merge(*lists: list[str] | Exception) -> list[str]:
    """All headlines; a source that failed has none."""
    return sorted({title for one in lists if isinstance(one, list) for title in one})


@task
def pick(titles: list[str], words: list[str], most: int) -> list[str]:
    return [title for title in titles if any(word in title.lower() for word in words)][:most]


@task(task_run_name="write-{name}")
def write(name: str, titles: list[str]) -> str:
    body = {"titles": titles, "parameters": sorted(flow_run.parameters)}
    return put(f"digests/{name}.json", json.dumps(body))


@task
def nothing() -> str:
    return put("digests/empty.txt", "nothing today")


@flow(name="press-digest", on_completion=[finished])
def press_digest(words: list[str] = ["port", "ship"], most: int = 3) -> str:
    """The key of the digest."""
    lists = [fetch.submit(source) for source in SOURCES]
    titles = merge(*[allow_failure(one) for one in lists])
    chosen = pick(titles, words, most)
    if not chosen:
        return nothing()
    return write("today", chosen)


if __name__ == "__main__":
    press_digest.serve(
        name="morning",
        schedule=Cron("30 5 * * 1-5", timezone="Europe/Amsterdam"),
        parameters={"most": 5},
    )
