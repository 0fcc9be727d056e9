"""What all tests share: the corpus, the dataset, and that in CI nothing skips or stays behind."""

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
    """The folders of definitions and of their edges: of SAGEBRIDGE_CORPUS, else our own."""
    corpus = os.environ.get("SAGEBRIDGE_CORPUS")
    if corpus:
        return Path(corpus) / "definitions", Path(corpus) / "edges"
    return HERE / "definitions", HERE / "definitions" / "edges"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of the corpus's definitions."""
    return find_corpus()[0]


@pytest.fixture
def edges(definition: Path) -> Path:
    """The file of the edges [from, to] that the graph of `definition` has."""
    return find_corpus()[1] / definition.name


@pytest.fixture(scope="session")
def abalone_csv() -> Path:
    """The real dataset, which is not ours to ship."""
    path = os.environ.get("SAGEBRIDGE_ABALONE")
    if not path:
        pytest.skip("SAGEBRIDGE_ABALONE does not name the dataset")
    return Path(path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a `definition` once for each of the corpus."""
    if "definition" in metafunc.fixturenames:
        files = sorted(find_corpus()[0].glob("*.json"))
        metafunc.parametrize("definition", files, ids=[file.stem for file in files])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report, item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report, collector.nodeid)
    return report


def refuse_skip(report: pytest.TestReport | pytest.CollectReport, nodeid: str) -> None:
    """In CI, where all that a test may ask for is installed, a skip hides a fault."""
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = cast("tuple[str, int, str]", report.longrepr)[-1]
        report.outcome = "failed"
        report.longrepr = f"{nodeid}: nothing may skip in CI, but: {reason}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files instead of comparing"
    )


def pytest_sessionstart() -> None:
    """Mark the environment that every process begun by a test inherits; let signals reach it.

    A shell has what it starts in the background ignore SIGINT, and nohup SIGHUP; so would these.
    """
    os.environ[SESSION] = uuid.uuid4().hex
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def airflow_of_its_own() -> None:
    """Airflow reads these when it is imported: a new folder, and nothing of this machine's."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": tempfile.mkdtemp(prefix="sagebridge-airflow-"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


airflow_of_its_own()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when a process that a test began is still there, and name it."""
    shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    left = left_behind()
    if left and reporter is not None:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.section("processes left behind", red=True)
        for process in left:
            reporter.line(describe(process))


def left_behind(patience: float = 5.0) -> list[psutil.Process]:
    """This session's processes, detached ones too, that do not end within `patience` seconds."""
    deadline = time.monotonic() + patience
    while left := [process for process in psutil.process_iter() if is_ours(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return left


def is_ours(process: psutil.Process) -> bool:
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
