"""Tasks of a hand-written flow in sequence, and a test of the result of one of them."""

from prefect import flow, task

BUCKET = "example-bucket"


@task
def prepare(source: str, share: float) -> dict:
    import random

    random.seed(0)
    return {"train": f"{source}/train-{share}", "test": f"{source}/test"}


@task(retries=2, retry_delay_seconds=30, tags=["gpu"])
def train(data: str, rounds: int) -> str:
    return f"{data}/model-{rounds}"


@task
def evaluate(model: str, data: str) -> float:
    return float(len(model) + len(data))


@task
def register(model: str, error: float, label: str = "abalone") -> None:
    print(model, error, label)


@flow(name="training", retries=1)
def training(
    source: str = "s3://example-bucket/abalone",
    share: float = 0.7,
    rounds: int = 50,
    threshold: float = 6.0,
):
    """Train and register.

    Args:
        source: where the data is
        threshold: the largest mean squared error
    """
    parts = prepare(f"{source}/raw", share)
    model = train(parts["train"], rounds)
    error = evaluate(model, parts["test"])
    if error <= threshold:
        register(model, error, label=f"{BUCKET}: {source}")
    else:
        raise RuntimeError(f"the error is above {threshold}")


if __name__ == "__main__":
    training()
