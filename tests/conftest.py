"""Fixtures for the corpus and the dataset; checks for skips in CI and leftover processes."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

HERE = Path(__file__).parent
SESSION = "SAGEBRIDGE_TEST_SESSION"

collect_ignore = [name for name in ("airflow", "prefect", "sagemaker") if not find_spec(name)]


def find_corpus() -> tuple[Path, Path]:
    """The folders of definitions and edges: in SAGEBRIDGE_CORPUS, or in tests/ by default."""
    corpus = os.environ.get("SAGEBRIDGE_CORPUS")
    if corpus:
        return Path(corpus) / "definitions", Path(corpus) / "edges"
    return HERE / "definitions", HERE / "definitions" / "edges"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder with the definitions of the corpus."""
    return find_corpus()[0]


@pytest.fixture
def edges(definition: Path) -> Path:
    """The file with the expected edges [from, to] of `definition`."""
    return find_corpus()[1] / definition.name


@pytest.fixture(scope="session")
def abalone_csv() -> Path:
    """The real dataset, which may not be distributed with the project."""
    path = os.environ.get("SAGEBRIDGE_ABALONE")
    if not path:
        pytest.skip("set SAGEBRIDGE_ABALONE to the path of the dataset")
    return Path(path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests with the argument `definition` once per definition of the corpus."""
    if "definition" in metafunc.fixturenames:
        files = sorted(find_corpus()[0].glob("*.json"))
        metafunc.parametrize("definition", files, ids=[file.stem for file in files])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    reject_skip(report, item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    reject_skip(report, collector.nodeid)
    return report


def reject_skip(report: pytest.TestReport | pytest.CollectReport, nodeid: str) -> None:
    """Fail skipped tests in CI: everything is installed there, so a skip hides a problem."""
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = cast("tuple[str, int, str]", report.longrepr)[-1]
        report.outcome = "failed"
        report.longrepr = f"{nodeid}: skips are not allowed in CI: {reason}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files instead of comparing them"
    )


def pytest_sessionstart() -> None:
    """Mark the environment inherited by child processes, and restore signal handlers.

    Background jobs of a shell ignore SIGINT, and those of nohup SIGHUP. Children would inherit it.
    """
    os.environ[SESSION] = uuid.uuid4().hex
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def isolate_airflow() -> None:
    """Give Airflow a new home and no settings of this machine. It reads them on import."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": tempfile.mkdtemp(prefix="sagebridge-airflow-"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


isolate_airflow()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if processes started by tests are still running, and list them."""
    shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    left = leftover_processes()
    if left and reporter is not None:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.section("processes left behind", red=True)
        for process in left:
            reporter.line(describe(process))


def leftover_processes(patience: float = 5.0) -> list[psutil.Process]:
    """Processes of this session that do not end within `patience` seconds."""
    deadline = time.monotonic() + patience
    while left := [process for process in psutil.process_iter() if is_of_session(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return left


def is_of_session(process: psutil.Process) -> bool:
    try:
        return process.pid != os.getpid() and (
            process.environ().get(SESSION) == os.environ[SESSION]
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.Error, OSError):
        return False


def describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid}: {' '.join(process.cmdline())}"
    except psutil.Error:
        return f"{process.pid}: ended just now"
