"""Endpoints: their life, who may call them, and what they answer."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sagebridge_operators.backends.local import LocalBackend, endpoint_server
from sagebridge_operators.backends.local.endpoint_server import SERVER, curl_file
from sagebridge_operators.backends.local.supervised_job import JobStopped
from tests.local.api_requests import code
from tests.local.models import IMAGE, tarball
from tests.local.test_transform import transform

if TYPE_CHECKING:
    from tests.local.conftest import Bench

NAME = "abalone"
UNAUTHORIZED = 401
ROWS = b"1,2\n3,4\n5,4\n"
WAIT = {"Delay": 1, "MaxAttempts": 60}
FIRST_ROW = """
def model_fn(model_dir): return None
def input_fn(body, content_type): return [line.split(";") for line in body.splitlines()]
def predict_fn(data, model): return data
def output_fn(prediction, accept):
    return "".join(",".join(row) + "\\n" for row in prediction), "text/csv"
"""


class Deployed:
    """A backend on the home of a bench, with its endpoints."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.backend = LocalBackend(bench.home, bench.base)
        self.sagemaker = self.backend.client("sagemaker")
        self.runtime = self.backend.client("sagemaker-runtime")

    def config(self, name: str, **weights: float) -> None:
        variants = [
            {"VariantName": model, "ModelName": model, "InitialVariantWeight": weight}
            for model, weight in weights.items()
        ]
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)

    def create(self, config: str = "", name: str = NAME) -> None:
        if not config:
            self.config("config", model=1)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config or "config")

    def wait(self, waiter: str = "endpoint_in_service", name: str = NAME) -> dict[str, Any]:
        self.sagemaker.get_waiter(waiter).wait(EndpointName=name, WaiterConfig=WAIT)
        if waiter == "endpoint_deleted":
            return {}
        return dict(self.sagemaker.describe_endpoint(EndpointName=name))

    def ended(self) -> dict[str, Any]:
        """The description of the endpoint once nothing is in progress."""
        while True:
            found = self.sagemaker.describe_endpoint(EndpointName=NAME)
            if found["EndpointStatus"] in ("InService", "Failed"):
                return dict(found)
            time.sleep(0.1)

    def ask(self, body: bytes, **more: str) -> str:
        answer = self.runtime.invoke_endpoint(
            EndpointName=NAME, Body=body, ContentType="text/csv", **more
        )
        return str(answer["Body"].read().decode())

    def server(self) -> dict[str, Any]:
        found = self.bench.records.get("Endpoint", NAME)
        assert found
        server = self.bench.records.get(SERVER, found["_server"])
        assert server
        return server

    def log(self) -> str:
        return "\n".join(self.backend.job_log("Endpoint", NAME).read())


@pytest.fixture
def deploy() -> Iterator[Callable[[Bench], Deployed]]:
    """Returns a backend for a bench, whose endpoints are deleted after the test."""
    made: list[Deployed] = []

    def deploy(bench: Bench) -> Deployed:
        made.append(Deployed(bench))
        return made[-1]

    yield deploy
    for one in made:
        if one.bench.home.exists():
            for endpoint in one.sagemaker.list_endpoints()["Endpoints"]:
                one.sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])
                one.wait("endpoint_deleted", endpoint["EndpointName"])


Deploy = Callable[["Bench"], Deployed]


def add_model(bench: Bench, name: str, *containers: dict[str, Any]) -> None:
    bench.records.insert("Model", name, {"ModelName": name, "Containers": list(containers)})


def scripted_container(bench: Bench, name: str, script: str) -> dict[str, Any]:
    uri = f"s3://bucket/{name}.tar.gz"
    bench.store.write(uri, tarball({"code/serve.py": script.encode()}))
    return {
        "Image": "0.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.2-1",
        "ModelDataUrl": uri,
        "Environment": {"SAGEMAKER_PROGRAM": "serve.py"},
    }


def fetch(port: int, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    connection = http_client(port)
    try:
        method = "GET" if body is None else "POST"
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def http_client(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=20)


def is_listening(port: int) -> bool:
    connection = http_client(port)
    try:
        connection.connect()
    except OSError:
        return False
    connection.close()
    return True


def test_endpoint_gives_the_predictions_of_batch_transform(boosted: Bench, deploy: Deploy) -> None:
    boosted.store.write("s3://bucket/batch/a.csv", ROWS)
    deployed = deploy(boosted)
    deployed.create()
    body = boosted.run("Transform", "job", transform("s3://bucket/batch"))
    assert body["TransformJobStatus"] == "Completed", boosted.log("Transform", "job")
    expected = boosted.text("s3://bucket/out/a.csv.out").splitlines()
    found = deployed.wait()
    assert found["EndpointStatus"] == "InService"
    assert [one["VariantName"] for one in found["ProductionVariants"]] == ["model"]
    assert deployed.ask(ROWS).split(",") == expected
    assert '"score"' in deployed.ask(ROWS, Accept="application/json")

    # errors are those of the image
    for payload, kind, status in ((b"1,2,3\n", "text/csv", 400), (b"1,2", "image/png", 415)):
        with pytest.raises(ClientError) as wrong:
            deployed.runtime.invoke_endpoint(EndpointName=NAME, Body=payload, ContentType=kind)
        assert code(wrong) == "ModelError"
        assert dict(wrong.value.response)["OriginalStatusCode"] == status
    with pytest.raises(ClientError, match="not a multi-model endpoint"):
        deployed.ask(ROWS, TargetModel="a.tar.gz")
    with pytest.raises(ClientError, match="Variant other not found"):
        deployed.ask(ROWS, TargetVariant="other")

    # only this user's processes can use its address, which the log shows
    file = curl_file(boosted.home, NAME)
    assert str(file) in deployed.log()
    assert file.stat().st_mode & 0o777 == 0o600
    port, secret = deployed.server()["_port"], f"Bearer {deployed.server()['_token']}"
    assert secret in file.read_text()
    assert secret not in deployed.log()
    assert fetch(port, "/ping", Authorization=secret)[0] == 200
    assert fetch(port, "/invocations", ROWS, Authorization=secret)[1].split(",") == expected
    assert fetch(port, "/ping")[0] == fetch(port, "/invocations", ROWS)[0] == 401
    assert fetch(port, "/ping", Authorization=f"{secret}x")[0] == 401
    assert fetch(port, "/ping", Authorization=secret, Origin="http://example.org")[0] == 403
    assert fetch(port, "/ping", Authorization=secret, Host=f"example.org:{port}")[0] == 403

    # deleted: nothing is left of it
    deployed.sagemaker.delete_endpoint(EndpointName=NAME)
    deployed.wait("endpoint_deleted")
    assert not is_listening(port)
    assert not file.exists()
    assert deployed.sagemaker.list_endpoints()["Endpoints"] == []
    with pytest.raises(ClientError, match="not found") as gone:
        deployed.ask(ROWS)
    assert code(gone) == "ValidationError"


def test_update_keeps_the_old_server_until_the_new_one_is_ready(
    scripted: Bench, deploy: Deploy
) -> None:
    deployed = deploy(scripted)
    add_model(scripted, "broken", scripted_container(scripted, "broken", "import nothing_here"))
    add_model(scripted, "plus", scripted_container(scripted, "plus", FIRST_ROW))
    deployed.create()
    with pytest.raises(ClientError, match="Cannot create already existing endpoint"):
        deployed.create("config")
    assert deployed.wait()["EndpointConfigName"] == "config"
    assert deployed.ask(b"2\n") == "6.0\n"

    deployed.config("bad", broken=1)
    deployed.sagemaker.update_endpoint(EndpointName=NAME, EndpointConfigName="bad")
    with pytest.raises(ClientError, match="in-progress"):
        deployed.sagemaker.update_endpoint(EndpointName=NAME, EndpointConfigName="bad")
    found = deployed.ended()
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "config")
    assert "No module named 'nothing_here'" in found["FailureReason"]
    assert deployed.ask(b"2\n") == "6.0\n"

    first = deployed.server()["_port"]
    deployed.config("two", model=0, plus=1)
    deployed.sagemaker.update_endpoint(EndpointName=NAME, EndpointConfigName="two")
    found = deployed.wait()
    assert found["EndpointConfigName"] == "two"
    assert "FailureReason" not in found
    assert deployed.ask(b"2;3\n") == "2,3\n"
    assert deployed.ask(b"2\n", TargetVariant="model") == "6.0\n"
    for _ in range(50):
        if not is_listening(first):
            break
        time.sleep(0.1)
    assert not is_listening(first)


def test_failure_to_load_and_end_of_the_model_are_reported(bench: Bench, deploy: Deploy) -> None:
    deployed = deploy(bench)
    script = "import os\n" + FIRST_ROW.replace("return data", "os._exit(3)")
    add_model(bench, "model", scripted_container(bench, "model", script))
    with pytest.raises(ClientError, match="Could not find model"):
        deployed.config("config", absent=1)
    deployed.create()
    deployed.wait()
    with pytest.raises(ClientError, match="exit code: 3") as crashed:
        deployed.ask(b"1\n")
    assert code(crashed) == "ModelError"
    for _ in range(100):
        found = deployed.sagemaker.describe_endpoint(EndpointName=NAME)
        if found["EndpointStatus"] != "InService":
            break
        time.sleep(0.1)
    assert found["EndpointStatus"] == "Failed"
    assert "exit code: 3" in found["FailureReason"]
    deployed.sagemaker.delete_endpoint(EndpointName=NAME)
    deployed.wait("endpoint_deleted")

    bench.store.write("s3://bucket/model.tar.gz", tarball({}))
    deployed.create("config")
    found = deployed.ended()
    assert found["EndpointStatus"] == "Failed"
    assert "does not contain the SAGEMAKER_PROGRAM serve.py" in found["FailureReason"]


def test_killed_server_starts_again_and_a_removed_folder_ends_it(
    scripted: Bench, deploy: Deploy
) -> None:
    deployed = deploy(scripted)
    deployed.create()
    deployed.wait()
    before = deployed.server()
    os.kill(before["_supervisor"]["pid"], signal.SIGKILL)
    while is_listening(before["_port"]):
        time.sleep(0.05)
    assert deployed.ask(b"2\n") == "6.0\n"  # waits for the new server
    after = deployed.server()
    assert after["_port"] == before["_port"]
    # Another user may have had the port in the meantime, and got the token of a client.
    authorization = f"Bearer {before['_token']}"
    assert fetch(after["_port"], "/ping", Authorization=authorization)[0] == UNAUTHORIZED
    assert deployed.sagemaker.describe_endpoint(EndpointName=NAME)["EndpointStatus"] == "InService"

    shutil.rmtree(scripted.home)
    for _ in range(100):
        if not is_listening(after["_port"]) and not is_running(after["_supervisor"]["pid"]):
            break
        time.sleep(0.1)
    assert not is_listening(after["_port"])
    assert not is_running(after["_supervisor"]["pid"])
    assert not scripted.home.exists()


def test_server_of_a_deleted_endpoint_publishes_nothing(bench: Bench) -> None:
    bench.records.insert(SERVER, "new", {})
    bench.records.insert("Endpoint", NAME, {"_pending": "new", "_deleting": True})
    request = {"EndpointName": NAME, "EndpointConfigName": "config", "_token": "secret"}
    job: Any = SimpleNamespace(
        home=bench.home, records=bench.records, kind=SERVER, name="new", request=request
    )
    job.note = lambda line: None
    with pytest.raises(JobStopped):
        endpoint_server._publish(job, "http://127.0.0.1:1")
    assert not curl_file(bench.home, NAME).exists()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_multi_model_endpoint_copies_models_on_first_use(boosted: Bench, deploy: Deploy) -> None:
    deployed = deploy(boosted)
    archive = boosted.store.read("s3://bucket/model.tar.gz")
    boosted.store.write("s3://bucket/models/one.tar.gz", archive)
    container = {"Image": IMAGE, "Mode": "MultiModel", "ModelDataUrl": "s3://bucket/models/"}
    add_model(boosted, "several", container)
    folder = boosted.store.path_of("s3://bucket/models")
    add_model(boosted, "plain", {**container, "ModelDataUrl": f"file://{folder}"})
    deployed.config("config", several=1, plain=0)
    deployed.create("config")
    deployed.wait()
    assert float(deployed.ask(b"1,2\n", TargetModel="one.tar.gz")) == pytest.approx(3, abs=1)
    for model in ("two.tar.gz", "../models/one.tar.gz"):
        with pytest.raises(ClientError, match="Failed to download model data") as missing:
            deployed.ask(b"1,2\n", TargetModel=model)
        assert code(missing) == "ValidationError"
    for model in ("../models/one.tar.gz", "%2e%2e/models/one.tar.gz"):
        with pytest.raises(ClientError, match="invalid target model"):
            deployed.ask(b"1,2\n", TargetModel=model, TargetVariant="plain")
    boosted.store.write("s3://bucket/models/two.tar.gz", archive)
    assert float(deployed.ask(b"3,4\n", TargetModel="two.tar.gz")) == pytest.approx(7, abs=1)
    with pytest.raises(ClientError, match="TargetModel is required"):
        deployed.ask(b"1,2\n")


def test_script_of_a_job_invokes_an_endpoint(scripted: Bench, deploy: Deploy) -> None:
    deployed = deploy(scripted)
    deployed.create()
    deployed.wait()
    script = f"""
import boto3
runtime = boto3.client("sagemaker-runtime")
answer = runtime.invoke_endpoint(EndpointName="{NAME}", Body=b"7", ContentType="text/csv")
print("predicted", answer["Body"].read().decode(), answer["InvokedProductionVariant"])
try:
    runtime.invoke_endpoint(EndpointName="{NAME}", Body=b"x", ContentType="text/csv")
except runtime.exceptions.ModelError as error:
    print("model error", error.response["OriginalStatusCode"])
"""
    body = scripted.run("Processing", "job", scripted.processing(script))
    log = scripted.log("Processing", "job")
    assert body["ProcessingJobStatus"] == "Completed", log
    assert "predicted 21.0\n model\n" in log
    assert "model error 500" in log


def test_containers_of_a_pipeline_model_follow_each_other(boosted: Bench, deploy: Deploy) -> None:
    first = scripted_container(boosted, "first", FIRST_ROW)
    model = boosted.records.get("Model", "model")
    assert model
    add_model(boosted, "pipeline", first, model["PrimaryContainer"])
    deployed = deploy(boosted)
    deployed.config("config", pipeline=1)
    deployed.create("config")
    boosted.store.write("s3://bucket/batch/a.csv", ROWS.replace(b",", b";"))
    body = boosted.run("Transform", "job", transform("s3://bucket/batch", "pipeline"))
    assert body["TransformJobStatus"] == "Completed", boosted.log("Transform", "job")
    lines = boosted.text("s3://bucket/out/a.csv.out").splitlines()
    assert [float(line) for line in lines] == pytest.approx([3, 7, 9], abs=1)
    deployed.wait()
    assert deployed.ask(ROWS.replace(b",", b";")).split(",") == lines
