"""How translating grows: definitions of 10 to 10,000 steps, read, validated and written.

What is written is read back, too: a flow file from its source, a DAG file by importing it, beside
the time that Airflow takes to import it without us. Each definition repeats one block: a
Processing, a Training that reads its output, a Condition on its report with a step in each branch.
The times are medians of three, of CPU time with that of other processes that they need (the
formatter, Airflow), so that what else the machine does counts less.
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
from sagebridge.registry import FORMATS

ABALONE = Path(__file__).parent.parent / "pipelines" / "abalone" / "definition.json"
SIZES = (10, 100, 1_000, 10_000)
FLOOR = 1_000
"""Steps a second for reading plus writing; a file of few is mostly the formatter's start."""


IMPORT = "import runpy, sys; from airflow.sdk import DAG; runpy.run_path(sys.argv[1])"


def main() -> int:
    """Prints two tables; 1 where 100 steps or more are read and written below FLOOR."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    sizes = parser.parse_args().sizes
    gc.set_threshold(*GC_THRESHOLD)  # as the command has it
    with tempfile.TemporaryDirectory() as folder:
        rates = [forth(size) for size in sizes]
        for size in sizes:
            back(size, Path(folder))
    return int(any(rate < FLOOR for size, rate in zip(sizes, rates, strict=True) if size >= 100))


def forth(size: int) -> float:
    """A definition read, validated and written in every format; steps a second."""
    text = json.dumps(definition(size))
    pipeline = sagebridge.read(text, name="bench").pipeline
    reading = median(lambda: sagebridge.read(text))
    writing = {to: median(lambda to=to: sagebridge.write(pipeline, to)) for to in FORMATS}  # type: ignore[misc]
    rate = size / (reading + max(writing.values()))
    row(
        size,
        {
            "read": reading,
            "validate": median(lambda: sagebridge.validate(text)),
            **{f"to {to}": seconds for to, seconds in writing.items()},
        },
        f"{rate:,.0f} steps/s",
    )
    return rate


def back(size: int, folder: Path) -> None:
    """The flow file and the DAG file of a definition, read."""
    pipeline = sagebridge.read(json.dumps(definition(size)), name="bench").pipeline
    files = {to: folder / f"{to}_{size}.py" for to in ("prefect", "airflow")}
    for to, file in files.items():
        file.write_text(sagebridge.write(pipeline, to).text)
    reading = {f"from {to}": median(lambda: sagebridge.read(file)) for to, file in files.items()}  # noqa: B023
    airflow = {"AIRFLOW_HOME": str(folder), "_AIRFLOW__AS_LIBRARY": "1"}
    command = [sys.executable, "-c", IMPORT, str(files["airflow"])]
    alone = median(lambda: subprocess.run(command, check=True, env=os.environ | airflow))
    ratio = f"{reading['from airflow'] / alone:.2f} x import"
    row(size, {**reading, "Airflow's import": alone}, ratio)


def row(size: int, seconds: dict[str, float], last: str) -> None:
    columns = "".join(f"  {name} {time * 1000:,.0f} ms" for name, time in seconds.items())
    print(f"{size:>6} steps:{columns}  {last}", flush=True)


def median(action: Callable[[], Any], rounds: int = 3) -> float:
    """Seconds of CPU time."""
    times = []
    for _ in range(rounds):
        start = cpu_time()
        action()
        times.append(cpu_time() - start)
    return statistics.median(times)


def cpu_time() -> float:
    """Seconds of this process and those that it has waited for."""
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def definition(steps: int) -> dict[str, Any]:
    """A definition of that many steps, five a block."""
    blocks = [block(number) for number in range(steps // 5)]
    return {
        "Version": "2020-12-01",
        "Parameters": json.loads(ABALONE.read_text())["Parameters"],
        "Steps": [step for one in blocks for step in one],
    }


def block(number: int) -> list[dict[str, Any]]:
    """A Processing, a Training and a Condition with two steps, waiting for the block before."""
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
            "Name": f"Tell{number}",
            "Type": "Lambda",
            "FunctionArn": "arn:aws:lambda:eu-west-1:111122223333:function:tell",
            "Arguments": {"model": artifacts},
        },
        {"Name": f"Stop{number}", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}},
    ]
    branches = {"Conditions": [condition], "IfSteps": inside[:1], "ElseSteps": inside[1:]}
    return [*steps, {"Name": check, "Type": "Condition", "Arguments": branches}]


if __name__ == "__main__":
    sys.exit(main())
