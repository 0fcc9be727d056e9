"""Take the screenshots in docs/images/ with chromium: each engine with the example.

Run by `make screenshots` in the environment of each engine. Needs the Debian package chromium.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

import sagebridge
from sagebridge_operators.launch.engine_apis import Login

CHECKOUT = Path(__file__).resolve().parent.parent
EXAMPLE = CHECKOUT / "pipelines" / "abalone"
IMAGES = CHECKOUT / "docs" / "images"
STORE = "s3://sagebridge-abalone"
WIDTH, HEIGHT = 1280, 800
PATIENCE = 120.0
CHROMIUM = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


class Browser:
    """A page in chromium, controlled by the DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._call("Page.enable")
        self._size(HEIGHT)

    def open(self, url: str, *texts: str) -> None:
        """Open a page and wait until it shows all strings and stops changing."""
        self._call("Page.navigate", url=url)
        self.wait(*texts)

    def wait(self, *texts: str) -> None:
        def shown() -> bool:
            page = str(self.evaluate("document.body ? document.body.innerText : ''"))
            return all(text in page for text in texts)

        wait_for(shown, f"the page to show {texts}")
        before = ""
        while (now := str(self.evaluate("document.body.innerHTML"))) != before:
            before = now
            time.sleep(2)

    def click(self, text: str) -> None:
        """Click the button, tab or link with this text or title."""
        found = (
            "[...document.querySelectorAll('button, a, li, [role=tab], label')]"
            f".find(one => (one.innerText.trim() || one.title) === {json.dumps(text)})"
        )
        wait_for(lambda: self.evaluate(f"!!({found})"), f"{text!r} to click on")
        self.evaluate(f"({found}).click()")

    def log_in(self, login: Login) -> None:
        """Fill in and submit the login page, and wait until the UI has replaced it."""
        # Prefect's page has one field, for the whole string.
        fields = ("[name=username]", "[type=password]")
        wait_for(lambda: self.evaluate("!!document.querySelector('[type=password]')"), "a login")
        if self.evaluate(f"!!document.querySelector('{fields[0]}')"):
            self._type(fields[0], login.user)
            self._type(fields[1], login.password)
        else:
            self._type(fields[1], login.pair)
        self.evaluate("document.querySelector('button[type=submit]').click()")
        wait_for(lambda: not self.evaluate("location.pathname.endsWith('/login')"), "the login")

    def _type(self, field: str, text: str) -> None:
        self.evaluate(f"document.querySelector('{field}').focus()")
        self._call("Input.insertText", text=text)

    def shoot(self, name: str, height: int = HEIGHT) -> None:
        self._size(height)
        time.sleep(1)
        picture = self._call("Page.captureScreenshot", format="png")["data"]
        file = IMAGES / f"{name}.png"
        file.write_bytes(base64.b64decode(picture))
        print(f"{file.relative_to(CHECKOUT)}: {file.stat().st_size // 1000} kB", flush=True)
        self._size(HEIGHT)

    def check_accessibility(self, axe: Path) -> None:
        """Fail for what axe-core finds. ``axe`` is the axe.min.js of its npm package."""
        self._call("Page.setBypassCSP", enabled=True)
        self._call("Page.reload")
        self.wait()
        self.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        self.evaluate(axe.read_text())
        script = "axe.run().then(found => JSON.stringify(found.violations.map(one => one.help)))"
        found = self._call("Runtime.evaluate", expression=script, awaitPromise=True)
        if problems := json.loads(found["result"]["value"]):
            raise SystemExit(f"axe-core found: {'; '.join(problems)}")

    def evaluate(self, script: str) -> Any:
        return self._call("Runtime.evaluate", expression=script)["result"].get("value")

    def _size(self, height: int) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=WIDTH,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv(timeout=60))).get("id") != number:
            pass  # skip events
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result


@contextmanager
def browser() -> Iterator[Browser]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        chromium = subprocess.Popen(
            [*CHROMIUM, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            file = Path(folder) / "DevToolsActivePort"
            wait_for(lambda: file.exists() and "\n" in file.read_text(), "chromium")
            port = file.read_text().split()[0]
            pages = httpx.get(f"http://127.0.0.1:{port}/json", trust_env=False).json()
            page = next(one for one in pages if one["type"] == "page")
            with connect(page["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
                yield Browser(socket)
        finally:
            chromium.terminate()
            chromium.wait()


def wait_for(look: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > until:
            raise SystemExit(f"timed out after {PATIENCE:.0f} s waiting for {what}")
        time.sleep(0.5)
    return found


def uploads(data: Path) -> list[str]:
    """The --upload options for the scripts and data of the example."""
    subprocess.run([sys.executable, EXAMPLE / "sample_data.py", data], check=True)
    files = {
        EXAMPLE / "preprocessing.py": f"{STORE}/code/",
        EXAMPLE / "evaluation.py": f"{STORE}/code/",
        data: f"{STORE}/data",
    }
    return [part for file, uri in files.items() for part in ("--upload", f"{file}={uri}")]


def prefect(folder: Path) -> None:
    """Screenshots of a server with a worker, the deployed example, a good and a failed run."""
    from sagebridge_operators.launch.prefect_engine import PREFECT, PrefectServer

    shutil.copytree(CHECKOUT / "flows", folder / "flows")
    command = ["deploy", "flows/abalone.py", "--on", "prefect", "--backend", "local"]
    with PrefectServer(folder / "server") as server, browser() as page:
        server.add("worker", (*PREFECT, "worker", "start", "--pool", "sagebridge"))
        subprocess.run(
            [sys.executable, "-m", "sagebridge.cli", *command, *uploads(folder / "data")],
            cwd=folder,
            env=server.environment(),
            check=True,
        )
        login = (server.login.user, server.login.password)
        url = f"{server.url}/api/"
        with httpx.Client(base_url=url, auth=login, timeout=60, trust_env=False) as api:
            path = "AbalonePipeline/AbalonePipeline"
            deployment = api.get(f"deployments/name/{path}").json()["id"]
            good = prefect_run(api, deployment, {"ModelApprovalStatus": "Approved"}, "COMPLETED")
            bad = prefect_run(api, deployment, {"MseThreshold": 1.0}, "FAILED")
            keys = artifacts(api, good)
        page.open(f"{server.url}/login", "Login")
        page.log_in(server.login)
        deployed = f"{server.url}/deployments/deployment/{deployment}"
        page.open(deployed, "AbalonePipeline", "Completed")
        page.shoot("prefect-deployment")
        page.open(f"{deployed}/run", "MseThreshold")
        page.shoot("prefect-run-form", 1100)
        page.open(f"{server.url}/runs/flow-run/{good}", "Completed", "8 Task runs")
        page.click("Task Runs")
        page.wait("AbaloneTransform")
        page.shoot("prefect-flow-run", 1000)
        page.open(f"{server.url}/runs/flow-run/{bad}", "Failed", "8 Task runs")
        page.click("Details")
        page.wait("Execution failed due to MSE > 1.0")
        page.shoot("prefect-failed-run", 1000)
        page.open(f"{server.url}/artifacts/artifact/{keys['steps']}", "AbaloneProcess")
        page.shoot("prefect-steps", 700)
        page.open(f"{server.url}/artifacts/artifact/{keys['summary']}", "metric")
        page.shoot("prefect-summary", 600)


def prefect_run(api: httpx.Client, deployment: str, parameters: dict[str, Any], end: str) -> str:
    body = {"parameters": parameters, "idempotency_key": end.lower()}

    def started() -> str | None:
        answer = api.post(f"deployments/{deployment}/create_flow_run", json=body)
        return str(answer.json()["id"]) if answer.is_success else None

    run = str(wait_for(started, "the server to accept a run"))

    def state() -> str:
        return str(api.get(f"flow_runs/{run}").json()["state"]["type"])

    wait_for(lambda: state() not in ("SCHEDULED", "PENDING", "RUNNING"), f"run {run}")
    if state() != end:
        raise SystemExit(f"the run with {parameters} ended with state {state()}")
    return run


def artifacts(api: httpx.Client, run: str) -> dict[str, str]:
    """The ids of a run's artifacts ``steps`` and ``summary``."""
    body = {"flow_runs": {"id": {"any_": [run]}}}
    found = api.post("artifacts/filter", json=body).json()
    return {one["key"].rpartition("-")[2]: one["id"] for one in found}


def airflow(folder: Path) -> None:
    """Screenshots of a run of the example, and of the trigger form."""
    command = ["run", str(EXAMPLE / "definition.json"), "--on", "airflow", "--keep-ui"]
    options = ["--name", "AbalonePipeline", "--backend", "local", "--workdir", "work"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sagebridge.cli", *command, *options, *uploads(folder / "data")],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url, login = "", Login("", "")
        for line in process.stdout:
            print(line, end="", flush=True)
            if found := re.match(r"Airflow UI: (\S+) \(user (\S+), password (\S+)\)", line):
                url, login = found[1], Login(found[2], found[3])
            if "keeps running until" in line:
                break
        with browser() as page:
            page.open(url, "Sign in")
            page.log_in(login)
            page.wait("AbaloneProcess")
            page.shoot("airflow-run")
            page.click("Show Graph (Press g)")
            page.wait("AbaloneTransform")
            page.shoot("airflow-graph")
            page.open(url.partition("/runs/")[0], "Trigger")
            page.click("Trigger")
            page.wait("MseThreshold")
            page.shoot("airflow-trigger", 1100)
    finally:
        process.terminate()
        process.wait()


NIGHTLY = sagebridge.Pipeline(
    name="nightly-report",
    description="A report on the sales of the day.",
    steps=(sagebridge.Step("Report", "Fail", arguments={"ErrorMessage": "no sales"}),),
    parameters=(
        sagebridge.Parameter("Stage", "String", "dev", ("dev", "prod"), "where to publish it"),
        sagebridge.Parameter(
            "Rows", "Integer", 1000, description="rows of a page", limits={"minimum": 1}
        ),
        sagebridge.Parameter("DryRun", "Boolean", True, description="do not publish it"),
        sagebridge.Parameter("InputData", "String", "s3://sales/", description="sales of the day"),
    ),
    schedules=(
        sagebridge.Schedule("nightly", "cron(15 4 ? * MON-FRI *)", timezone="Europe/Berlin"),
    ),
)
"""A pipeline with a schedule, and parameters of each kind of form field."""


def prefect_schedule(folder: Path) -> None:
    """Screenshots of a deployment with a schedule, and of the form that starts a run."""
    from sagebridge_operators.launch.prefect_engine import PrefectServer

    (folder / "nightly.py").write_text(sagebridge.write(NIGHTLY, "prefect").text)
    command = ["deploy", "nightly.py", "--on", "prefect", "--format", "json"]
    with PrefectServer(folder / "schedule-server") as server, browser() as page:
        subprocess.run(
            [sys.executable, "-m", "sagebridge.cli", *command],
            cwd=folder,
            env=server.environment(),
            check=True,
        )
        login = (server.login.user, server.login.password)
        url = f"{server.url}/api/deployments/name/nightly-report/nightly-report"
        deployment = httpx.get(url, auth=login, timeout=60, trust_env=False).json()["id"]
        page.open(f"{server.url}/login", "Login")
        page.log_in(server.login)
        deployed = f"{server.url}/deployments/deployment/{deployment}"
        page.open(deployed, "Next Run", "sagebridge.nightly")
        page.shoot("prefect-schedule")
        page.open(f"{deployed}/run", "InputData", "do not publish it")
        page.shoot("prefect-schedule-form", 1000)


def airflow_schedule(folder: Path) -> None:
    """Screenshots of a DAG with a schedule, and of the form that triggers a run."""
    from sagebridge_operators.launch.airflow_engine import PrivateAirflow

    class ScheduledAirflow(PrivateAirflow):
        """Its DAG has the schedule, unlike that of ``sagebridge run``."""

        def prepare(self) -> None:
            super().prepare()
            text = sagebridge.write(NIGHTLY, "airflow").text
            (self.home / "dags" / f"{self.dag_id}.py").write_text(text)

    engine = ScheduledAirflow(
        folder / "airflow",
        NIGHTLY,
        dag_id="nightly-report",
        run_id="screenshots",
        execution="screenshots",
        parallelism=2,
        variables={},
    )
    with engine, browser() as page:
        page.open(engine.url, "Sign in")
        page.log_in(engine.login)
        page.open(f"{engine.url}/dags/{engine.dag_id}", "Next Run", "Europe/Berlin")
        page.shoot("airflow-schedule")
        page.click("Trigger")
        page.wait("InputData", "do not publish it")
        page.shoot("airflow-schedule-form", 1100)


def report(folder: Path) -> None:
    """The report on the definitions and DAGs of the corpus: its start, and one pipeline."""
    corpus = os.environ.get("SAGEBRIDGE_CORPUS")
    sources = ("definitions", "code/dags" if corpus else "carried/dags")
    file = folder / "report.html"
    command = ["assess", *sources, "--to", "prefect", "--as", "html", "-o", str(file)]
    subprocess.run(
        [sys.executable, "-m", "sagebridge.cli", *command],
        cwd=corpus or CHECKOUT / "tests",
        check=True,
    )
    with browser() as page:
        page.open(file.as_uri(), "Translation report")
        page.shoot("report", 900)
        page.open(f"{file.as_uri()}#p1", "What to do")
        page.shoot("report-pipeline", 1200)
        if axe := os.environ.get("AXE"):
            page.check_accessibility(Path(axe))


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the screenshots in docs/images/.")
    engines = {
        "airflow": (airflow, airflow_schedule, report),
        "prefect": (prefect, prefect_schedule),
    }
    parser.add_argument("engine", choices=engines)
    parser.add_argument("--only", metavar="FUNCTION", help="one function of this file")
    if shutil.which("chromium") is None:
        raise SystemExit("chromium is not installed; run: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    given = parser.parse_args()
    for take in engines[given.engine]:
        if given.only in (None, take.__name__):
            with tempfile.TemporaryDirectory(prefix="sagebridge-") as folder:
                take(Path(folder))


if __name__ == "__main__":
    main()
