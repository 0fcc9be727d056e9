"""How long Airflow's DAG processor takes to parse a sagebridge DAG file, next to two other files.

Each file holds the abalone pipeline: with sagebridge operators, with the Amazon provider's, and, as
the floor, with eight EmptyOperators that have the same five Params. A DAG file is parsed as the
DAG processor does it: one process imports Airflow and calls `gc.freeze()` (`before_run` in
airflow/dag_processing/manager.py), imports the `airflow` modules that the file names
(`_pre_import_airflow_modules` in processor.py) and forks; the child parses the file and serializes
its DAG (`_parse_file`). Only the child is measured.

A folder is parsed in one process, as by `airflow dags reserialize`: a DagBag of 200 copies of the
file, each with its own DAG id.

Times are CPU time, medians; the files take turns. Bytecode is written in the first round, which is
not counted: installed packages have theirs. Prints a Markdown table.
"""

from __future__ import annotations

import gc
import os
import re
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOOR, PROVIDER, SAGEBRIDGE = "EmptyOperators", "Amazon provider", "sagebridge"
FILES = {
    SAGEBRIDGE: ROOT / "dags" / "abalone.py",
    PROVIDER: ROOT / "benchmarks" / "dags" / "provider.py",
    FLOOR: ROOT / "benchmarks" / "dags" / "empty.py",
}
FILE_ROUNDS, FOLDER_ROUNDS = 15, 3
COPIES = 200
FILE_LIMIT, FOLDER_LIMIT = 2.0, 1.5
"""The limits: times the floor for one file, times the provider's for a folder."""

Medians = dict[str, float]


def main() -> int:
    """Returns 1 if a limit is exceeded."""
    sys.dont_write_bytecode = False
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(
            AIRFLOW_HOME=home,
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            AIRFLOW__CORE__DAGS_FOLDER=home,
            AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
        )
        import airflow.dag_processing.manager  # noqa: F401 - as the processor's parent process

        gc.freeze()
        file = medians(
            {name: partial(parse_file, path) for name, path in FILES.items()}, FILE_ROUNDS
        )
        folders = {name: copies(path, Path(home) / path.stem) for name, path in FILES.items()}
        folder = medians(
            {name: partial(parse_folder, path) for name, path in folders.items()}, FOLDER_ROUNDS
        )
    print("| parse and serialize | sagebridge | Amazon provider | EmptyOperators |")
    print("|---|---|---|---|")
    print(row("one DAG file, in a fresh fork", file))
    print(row(f"a folder of {COPIES} such files", folder))
    return int(
        file[SAGEBRIDGE] > FILE_LIMIT * file[FLOOR]
        or folder[SAGEBRIDGE] > FOLDER_LIMIT * folder[PROVIDER]
    )


def row(what: str, times: Medians) -> str:
    ratios = (
        f"{times[SAGEBRIDGE] / times[FLOOR]:.2f} x empty, "
        f"{times[SAGEBRIDGE] / times[PROVIDER]:.2f} x provider"
    )
    ours, provider, floor = (f"{times[name] * 1000:,.0f} ms" for name in FILES)
    return f"| {what} | {ours}: {ratios} | {provider} | {floor} |"


def medians(actions: dict[str, Callable[[], float]], rounds: int) -> Medians:
    """The median seconds of each action; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            seconds = action()
            if number:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def copies(file: Path, folder: Path) -> Path:
    """A folder of copies of a DAG file, each with its own DAG id."""
    folder.mkdir()
    text = file.read_text()
    for number in range(COPIES):
        copy = re.sub(r'(dag_id="\w+)"', rf'\g<1>_{number}"', text, count=1)
        (folder / f"dag_{number}.py").write_text(copy)
    return folder


def parse_file(path: Path) -> float:
    """Seconds for one DAG file, in a child of a process that has imported its Airflow modules."""
    import structlog
    from airflow.dag_processing import processor

    log = structlog.get_logger()

    def parse() -> None:
        request = processor.DagFileParseRequest(
            file=str(path), bundle_path=path.parent, bundle_name="bench", callback_requests=[]
        )
        result = processor._parse_file(request, log)
        if result is None or result.import_errors or len(result.serialized_dags) != 1:
            raise SystemExit(f"{path}: {result and result.import_errors}")

    def process() -> float:
        processor._pre_import_airflow_modules(str(path), log)
        return in_fork(lambda: cpu_time_of(parse))

    return in_fork(process)


def parse_folder(path: Path) -> float:
    """Seconds for a folder of DAG files, in one process."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    def parse() -> None:
        bag = DagBag(dag_folder=str(path))
        if bag.import_errors or len(bag.dags) != COPIES:
            raise SystemExit(f"{path}: {bag.import_errors or list(bag.dags)}")
        for dag in bag.dags.values():
            DagSerialization.to_dict(dag)

    return in_fork(lambda: cpu_time_of(parse))


def cpu_time_of(action: Callable[[], None]) -> float:
    def now() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    start = now()
    action()
    return now() - start


def in_fork(action: Callable[[], float]) -> float:
    """What an action returns in a forked process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            os.write(write, repr(action()).encode())
        except BaseException as error:  # noqa: BLE001 - the child must not return into the parent's code
            os.write(2, f"{error!r}\n".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    if not text:
        sys.exit("a file did not parse")
    return float(text)


if __name__ == "__main__":
    sys.exit(main())
