"""Reports of a harbour: settings in blocks, ships counted in parallel, a summary in async code."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import NamedTuple

import boto3
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.blocks.core import Block
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.system import Secret
from prefect.context import FlowRunContext
from prefect.futures import as_completed, wait
from prefect.states import Completed
from prefect.variables import Variable


class Store(Block):
    """Where reports are written."""

    bucket: str = "harbour"
    prefix: str = "reports"

    def put(self, name: str, body: object) -> str:
        key = f"{self.prefix}/{name}.json"
        text = json.dumps(body, sort_keys=True).encode()
        boto3.client("s3").put_object(Bucket=self.bucket, Key=key, Body=text)
        return key


class Load(NamedTuple):
    ships: int
    tons: float


@task(retries=1)
async def settings() -> dict[str, str]:
    least = await Variable.get("least_ships", default=1)
    try:
        token = (await Secret.load("harbour-token")).get()
    except ValueError:
        token = "none"
    return {"least": str(least), "token": token}


@task
def load_of(quay: str) -> Load:
    return Load(len(quay), len(quay) * 1.5)


@task
def kinds(quays: list[str]) -> Counter:
    return Counter(quay[0] for quay in quays)


@task
def check(tons: float):
    """Nothing to say about little."""
    return Completed(message="little", name="Skipped") if tons < 1 else tons


@task
def report(name: str, body: dict) -> str:
    context = FlowRunContext.get()
    return Store().put(name, {**body, "flow": context.flow.name})


@task
def tell(text: str) -> str:
    try:
        SlackWebhook.load("harbour-channel").notify(text)
    except ValueError:
        return f"not told: {text}"
    return text


@flow(name="harbour-reports")
async def harbour_reports(factor: int = 2) -> str:
    quays = ["north", "east", "nook"]
    found = await settings()
    futures = [load_of.submit(quay) for quay in quays]
    wait(futures)
    total = 0.0
    for future in as_completed(futures):
        total += future.result().tons * factor
    ships, tons = load_of("pier")
    most = kinds(quays).most_common(1)
    check(total)
    body = {"most": most, "pier": [ships, tons], "least": found["least"], "total": total}
    key = report("day", body)
    await create_markdown_artifact(f"{ships} ships", key="ships")
    return tell(f"{key} {found['token']}")


if __name__ == "__main__":
    asyncio.run(harbour_reports())
