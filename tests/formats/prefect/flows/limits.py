"""Code that tracing cannot follow: each statement is a loss."""

import json

from prefect import flow, task

SETTINGS = {"depth": 3}


@task
def fetch(url: str) -> list:
    return [url]


@task
def use_settings(text: str) -> dict:
    return {**SETTINGS, "text": text}


@task(timeout_seconds=60, cache_key_fn=lambda context, arguments: "k")
def store(text: str, size: float) -> str:
    return text


@task
def notify(item: str) -> None:
    print(item)


@flow(timeout_seconds=600)
def limits(url: str, rows: int = 10, tags: list = ["a", "b"], note: str | None = None):  # noqa: B006
    items = fetch(url)
    for tag in tags:
        store(tag, size=rows / 2)
    settings = use_settings(json.dumps(items))
    try:
        stored = store(f"{rows:>4}", size=float(settings["depth"]))
    except ValueError:
        stored = None
        notify("failed")
    notify(stored)
    if url.startswith("s3://"):
        for item in items:
            notify(item)
    elif isinstance(items, dict):
        notify("a dict")
    notify(url)
