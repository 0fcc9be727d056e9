"""Prefect's names do in a DAG what they do in a flow."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import UUID

import pytest

from sagebridge.model.engine_names import PREFECT, offered_names
from sagebridge.model.pipeline import Pipeline
from sagebridge_operators.airflow import prefect_names
from sagebridge_operators.airflow.prefect_names import (
    AwsCredentials,
    Block,
    Completed,
    Failed,
    FlowRunContext,
    Secret,
    SlackWebhook,
    Variable,
    allow_failure,
    as_completed,
    async_concurrency,
    concurrency,
    create_markdown_artifact,
    create_table_artifact,
    exponential_backoff,
    flow,
    flow_run,
    get_run_context,
    get_run_logger,
    run_deployment,
    runtime,
    task,
    unmapped,
    wait,
)
from sagebridge_operators.airflow.prefect_names.stores import secret
from sagebridge_operators.lifecycle.user_code.run_context import RunContext, in_run

pytestmark = pytest.mark.airflow
SLOT = datetime(2026, 11, 28, 4, tzinfo=UTC)


class Runs:
    """Runs of other DAGs: each ends at the second look."""

    def __init__(self) -> None:
        self.looks = 0

    def start(self, pipeline: str, parameters: Any, **more: Any) -> str:
        return f"{pipeline}-{json.dumps(dict(parameters))}"

    def state(self, pipeline: str, run_id: str) -> str:
        self.looks += 1
        return "Executing" if self.looks < 2 else "Failed"

    at = step_states = None


def context(pushed: dict[str, Any]) -> RunContext:
    return RunContext(
        "airflow",
        Pipeline("sales"),
        "abc",
        "manual__1",
        SLOT,
        SLOT,
        {"day": "2026-11-27"},
        "Load",
        None,
        2,
        3,
        lambda *_: None,
        pushed.__setitem__,
        Runs(),  # type: ignore[arg-type]
    )


def test_all_listed_names_are_offered() -> None:
    assert set(prefect_names.__all__) == offered_names(PREFECT)


def test_task_is_tried_again_with_its_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    tries: list[int] = []

    @task(retries=3, retry_delay_seconds=[1, 5])
    def flaky(limit: int) -> int:
        tries.append(1)
        if len(tries) <= limit:
            raise ValueError("not yet")
        return len(tries)

    assert flaky(3) == 4
    assert slept == [1, 5, 5]
    tries.clear()
    with pytest.raises(ValueError, match="not yet"):
        flaky(9)
    assert len(tries) == 4
    assert exponential_backoff(10)(3) == [10, 20, 40]
    state = flaky.with_options(retries=0, name="other")(99, return_state=True)
    message = "Task run encountered an exception ValueError: not yet"
    assert (state.is_failed(), state.message) == (True, message)


def test_retry_condition_and_time_limit() -> None:
    tries: list[int] = []

    @task(retries=5, retry_condition_fn=lambda task, run, state: "again" in state.message)
    def fails() -> None:
        tries.append(1)
        raise ValueError("again" if len(tries) < 3 else "no")

    with pytest.raises(ValueError, match="no"):
        fails()
    assert len(tries) == 3

    @task(timeout_seconds=0.1)
    def slow() -> None:
        time.sleep(2)

    with pytest.raises(TimeoutError, match=r"'slow' has not ended after 0\.1 s"):
        slow()


def test_futures_resolve_in_arguments_and_wait_for() -> None:
    order: list[str] = []

    @task
    def first() -> int:
        time.sleep(0.05)
        order.append("first")
        return 20

    @task
    def second(given: list[int], factor: int) -> int:
        order.append("second")
        return sum(given) * factor

    @task
    def broken() -> int:
        raise ValueError("broken")

    @task
    def after(given: Any) -> str:
        return type(given).__name__

    started = first.submit()
    assert second.submit([started, 1], 2, wait_for=[started]).result() == 42
    assert order == ["first", "second"]
    assert after(allow_failure(broken.submit())) == "ValueError"
    with pytest.raises(ValueError, match="broken"):
        after.submit(broken.submit()).result()
    futures = second.map([[1], [2], [3]], unmapped(10))
    assert wait(futures).not_done == set()
    assert futures.result() == [10, 20, 30]
    assert sorted(one.result() for one in as_completed(futures)) == [10, 20, 30]
    assert second([one.result() for one in futures], factor=1) == 60


def test_results_of_other_steps_count_as_ended_futures() -> None:
    results: list[Any] = [{"rows": 1}, {"rows": 1}]
    assert list(as_completed(results)) == results
    assert list(wait(results).done) == results


def test_state_that_a_task_returns_is_its_state() -> None:
    @task
    def look() -> Any:
        return Completed(message="nothing new", name="Skipped", data=0)

    assert look(return_state=True).name == "Skipped"
    assert look.submit().state.message == "nothing new"
    assert look.submit().result() == 0


def test_method_is_a_task_of_its_object() -> None:
    class Store:
        prefix = "in"

        @task(retries=1)
        def key(self, name: str) -> str:
            return f"{self.prefix}/{name}"

    assert Store().key("a") == Store().key.submit("a").result() == "in/a"


def test_flow_gives_the_results_of_what_it_returns() -> None:
    @task
    def double(value: int) -> int:
        return 2 * value

    @flow(name="inner")
    def inner(value: int) -> Any:
        return double.submit(value)

    @flow
    def failing() -> Any:
        return Failed(message="no data")

    assert inner(21) == 42
    assert inner(1, return_state=True).result() == 2
    with pytest.raises(RuntimeError, match="no data"):
        failing()
    assert flow(name="x")(lambda: Completed(data=3))() == 3


def test_async_tasks_are_awaited() -> None:
    @task(retries=1)
    async def page(number: int) -> int:
        async with async_concurrency("pages", occupy=1):
            await asyncio.sleep(0)
        return number

    @flow
    async def pages() -> int:
        found = await asyncio.gather(*(page(one) for one in range(4)))
        identity = await create_markdown_artifact("text", key="note")
        assert isinstance(identity, UUID)
        return sum([*found, page.submit(10).result()])

    assert asyncio.run(pages()) == 16


def test_runtime_shows_the_dag_run() -> None:
    pushed: dict[str, Any] = {}
    assert flow_run.id is None
    with in_run(context(pushed)):
        assert UUID(runtime.flow_run.id) != UUID(runtime.task_run.id)
        assert runtime.flow_run.name == "manual__1"
        assert runtime.flow_run.parameters == {"day": "2026-11-27"}
        assert runtime.flow_run.scheduled_start_time == SLOT
        assert (runtime.task_run.name, runtime.task_run.run_count) == ("Load", 2)
        assert get_run_context().task_run.task_key == "Load"
        assert (found := FlowRunContext.get()) is not None
        assert found.flow.name == "sales"
        with pytest.raises(AttributeError, match="no counterpart"):
            _ = runtime.flow_run.work_pool_name
        create_table_artifact([{"rows": 1}], key="summary")
        ended = run_deployment("score/nightly", {"day": 1}, poll_interval=0)
    assert pushed == {"artifact_summary": [{"rows": 1}]}
    assert (ended.id, ended.state.is_failed()) == ('score-{"day": 1}', True)


def test_stores_are_variables_and_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_LIMIT", "5")
    monkeypatch.setenv("AIRFLOW_VAR_NAMES", '["a", "b"]')
    monkeypatch.setenv("AIRFLOW_VAR_INDEX", "products")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "http://user:token@shop")
    assert [Variable.get(one) for one in ("limit", "names", "index")] == [5, ["a", "b"], "products"]
    assert asyncio.run(Variable.aget("absent", default=3)) == 3
    assert Secret.load("shop").get() == "token"
    assert Secret.load("index").get() == "products"
    with pytest.raises(ValueError, match="Airflow has no Variable 'absent'"):
        Secret.load("absent")
    monkeypatch.setenv("AIRFLOW_VAR_SHOP_SETTINGS", '{"bucket": "shop", "tries": "3"}')

    class Settings(Block):
        bucket: str
        tries: int = 1
        folder: str = "in"

    assert Settings.load("shop_settings") == Settings(bucket="shop", tries=3)
    with pytest.raises(ValueError, match="settings/absent: Airflow has no Variable 'absent'"):
        Settings.load("absent")
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", "aws://key:secret@/?region_name=eu-west-1")
    credentials = AwsCredentials.load("lake")
    assert credentials.region_name == "eu-west-1"
    assert credentials.get_client("s3").meta.region_name == "eu-west-1"
    with pytest.raises(ValueError, match="no connection 'absent'"):
        AwsCredentials.load("absent")
    session = AwsCredentials(aws_access_key_id="k", aws_secret_access_key="s").get_boto3_session()
    assert session.get_credentials().access_key == "k"


def test_secrets_of_stores_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "http://user:token@shop")
    monkeypatch.setenv("AIRFLOW_VAR_API", '{"api_key": "k-1", "url": "u"}')
    monkeypatch.setenv("AIRFLOW_VAR_API_KEY", "k-2")
    run = context({})
    with in_run(run):
        Secret.load("shop")
        Variable.get("api")
        Variable.get("api_key")
    found = {
        "token": ("Secret", "shop"),
        "k-1": ("Variable", "api", "api_key"),
        "k-2": ("Variable", "api_key"),
    }
    assert run.secrets == found
    assert [secret(one) for one in found.values()] == list(found)


def test_async_code_awaits_what_other_code_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_LIMIT", "5")

    @task
    def plain() -> Any:
        return Variable.get("limit")

    @task(timeout_seconds=60)
    async def awaiting() -> list[Any]:
        secret = await Secret.load("limit")
        return [await Variable.get("limit"), await Variable.aget("limit"), secret.get()]

    @flow
    async def both() -> Any:
        return [plain(), plain.submit().result(), await awaiting(), await Variable.get("limit")]

    assert asyncio.run(both()) == [5, 5, [5, 5, 5], 5]


def test_webhook_gets_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        monkeypatch.setenv("AIRFLOW_VAR_ALERTS", f"http://127.0.0.1:{server.server_port}/hook")
        SlackWebhook.load("alerts").notify("3 rows", subject="Late")
        thread.join()
    assert posted == [{"text": "*Late*\n3 rows"}]


def test_limit_that_airflow_does_not_have_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), concurrency("shop-api", occupy=2):
        get_run_logger().info("inside")
    assert "the concurrency limit shop-api (2) has no effect in Airflow" in caplog.text
