"""How fast definitions of 10 to 10,000 steps are read, validated and written.

The flow file is then read from its source and the DAG file by importing it, compared with the time
that Airflow alone takes to import that file. Each definition repeats one block: a Processing step,
a Training step that reads its output, and a Condition on its report with one step in each branch.

Times are medians of CPU time, with that of the processes that the work starts (ruff, Airflow).
Every write starts from a pipeline that was just read. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sagebridge
from sagebridge.cli import GC_THRESHOLD

ABALONE = Path(__file__).parent.parent / "pipelines" / "abalone" / "definition.json"
SIZES = (10, 100, 1_000, 10_000)
READ_BACK = 1_000
"""The largest size whose files are read back: Airflow takes minutes to import a larger one."""
FLOOR = 1_000
"""The least steps a second for reading plus writing. Fewer than 100 steps are not judged."""
IMPORT = "import runpy, sys; from airflow.sdk import DAG; runpy.run_path(sys.argv[1])"
COLUMNS = (
    "steps",
    "read",
    "validate",
    "write a DAG",
    "write a flow",
    "steps a second, read and written",
    "read the flow",
    "read the DAG, relative to importing it",
)


def main() -> int:
    """Returns 1 if 100 steps or more are read and written below FLOOR."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    sizes = parser.parse_args().sizes
    gc.set_threshold(*GC_THRESHOLD)  # as the command sets it
    slow = False
    print(f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}", sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            rate, columns = measure(size, Path(folder))
            slow |= size >= 100 and rate < FLOOR
            print(f"| {size:,} | {' | '.join(columns)} |", flush=True)
    return int(slow)


def measure(size: int, folder: Path) -> tuple[float, list[str]]:
    """Steps a second, and the columns of one row."""
    text = json.dumps(definition(size))
    rounds = 9 if size <= 100 else 3

    def pipeline() -> sagebridge.Pipeline:
        return sagebridge.read(text, name="bench").pipeline

    sagebridge.write(pipeline(), "airflow"), sagebridge.write(pipeline(), "prefect")  # imports
    reading = median(pipeline, rounds)
    validating = median(lambda: sagebridge.validate(text), rounds)
    dag = median(lambda given: sagebridge.write(given, "airflow"), rounds, pipeline)
    flow = median(lambda given: sagebridge.write(given, "prefect"), rounds, pipeline)
    rate = size / (reading + max(dag, flow))
    times = [shown(seconds) for seconds in (reading, validating, dag, flow)]
    if size > READ_BACK:
        return rate, [*times, f"{rate:,.0f}", "not run", "not run"]
    return rate, [*times, f"{rate:,.0f}", *read_back(pipeline(), size, folder)]


def read_back(pipeline: sagebridge.Pipeline, size: int, folder: Path) -> list[str]:
    """The time to read the flow file, and that to read the DAG file over Airflow's own import."""
    flow, dag = folder / f"flow_{size}.py", folder / f"dag_{size}.py"
    flow.write_text(sagebridge.write(pipeline, "prefect").text)
    dag.write_text(sagebridge.write(pipeline, "airflow").text)
    environment = os.environ | {"AIRFLOW_HOME": str(folder), "_AIRFLOW__AS_LIBRARY": "1"}
    command = [sys.executable, "-c", IMPORT, str(dag)]
    importing = median(lambda: subprocess.run(command, check=True, env=environment))
    reading = median(lambda: sagebridge.read(dag))
    return [shown(median(lambda: sagebridge.read(flow))), f"{reading / importing:.2f} x"]


def shown(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def median(
    action: Callable[..., Any], rounds: int = 3, argument: Callable[[], Any] | None = None
) -> float:
    """Seconds of CPU time; ``argument`` makes what the action is called with, unmeasured."""
    times = []
    for _ in range(rounds):
        given = [] if argument is None else [argument()]
        start = cpu_time()
        action(*given)
        times.append(cpu_time() - start)
    return statistics.median(times)


def cpu_time() -> float:
    """Seconds of this process and of the ended processes that it started."""
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def definition(steps: int) -> dict[str, Any]:
    """A definition of that many steps, in blocks of five."""
    blocks = [block(number) for number in range(steps // 5)]
    return {
        "Version": "2020-12-01",
        "Parameters": json.loads(ABALONE.read_text())["Parameters"],
        "Steps": [step for one in blocks for step in one],
    }


def block(number: int) -> list[dict[str, Any]]:
    """Five steps that run after the block before."""
    process, train, check = f"Process{number}", f"Train{number}", f"Check{number}"
    abalone = json.loads(ABALONE.read_text())
    by_name = {step["Name"]: step for step in abalone["Steps"]}
    text = json.dumps([by_name["AbaloneProcess"], by_name["AbaloneTrain"]])
    for old, new in (("AbaloneProcess", process), ("AbaloneTrain", train)):
        text = text.replace(old, new)
    steps: list[dict[str, Any]] = json.loads(text)
    steps[0]["DependsOn"] = [f"Check{number - 1}"] if number else []
    steps[0]["PropertyFiles"] = [
        {"PropertyFileName": "Report", "OutputName": "train", "FilePath": "report.json"}
    ]
    condition = {
        "Type": "LessThan",
        "LeftValue": {
            "Std:JsonGet": {
                "PropertyFile": {"Get": f"Steps.{process}.PropertyFiles.Report"},
                "Path": "mse.value",
            }
        },
        "RightValue": 6.0,
    }
    artifacts = {"Get": f"Steps.{train}.ModelArtifacts.S3ModelArtifacts"}
    inside = [
        {
            "Name": f"Report{number}",
            "Type": "Lambda",
            "Arguments": {"model": artifacts},
            "FunctionArn": "arn:aws:lambda:eu-west-1:111122223333:function:report",
        },
        {"Name": f"Stop{number}", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}},
    ]
    branches = {"Conditions": [condition], "IfSteps": inside[:1], "ElseSteps": inside[1:]}
    return [*steps, {"Name": check, "Type": "Condition", "Arguments": branches}]


if __name__ == "__main__":
    sys.exit(main())
