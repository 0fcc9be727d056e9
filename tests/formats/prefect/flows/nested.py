"""A flow with a subflow, an asynchronous flow, and a flow that reads the state of a task."""

from prefect import flow, task


@task
def extract(source: str) -> str:
    return source


@task
def load(data: str, target: str) -> int:
    return len(data + target)


@flow
def ingest(source: str, target: str = "s3://example-bucket/lake"):
    return load(extract(source), target)


@flow(name="nightly")
def nightly(first: str, second: str = "s3://example-bucket/second"):
    rows = ingest(first) + ingest(second, target="s3://example-bucket/other")
    load.with_options(name="summary")(f"{first} and {second}", str(rows))


@flow
async def gather(source: str):
    future = extract.submit(source)
    load(future, "s3://example-bucket/lake")
    while load(source, "more") < 3:
        extract(source)


@flow
def states(source: str):
    state = extract(source, return_state=True)
    if state.is_failed():
        load(source, "s3://example-bucket/failed")
