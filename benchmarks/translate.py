"""How translating grows: definitions of 10 to 10,000 steps, read, validated and written.

Each definition repeats one block: a Processing, a Training that reads its output, a Condition on
its report with a step in each branch. The times are medians of three, of CPU time with that of the
formatter's process, so that what else the machine does hardly counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sagebridge
from sagebridge.registry import FORMATS

ABALONE = Path(__file__).parent.parent / "pipelines" / "abalone" / "definition.json"
SIZES = (10, 100, 1_000, 10_000)
FLOOR = 1_000
"""Steps a second for reading plus writing; a file of few is mostly the formatter's start."""


def main() -> int:
    """Prints a table; 1 where 100 steps or more are read and written below FLOOR."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    targets = list(FORMATS)
    head = "".join(f"{f'to {target}':>15}" for target in targets)
    print(f"{'steps':>6}{'read':>11}{'validate':>11}{head}{'steps/s':>10}")
    slow = False
    for size in parser.parse_args().sizes:
        text = json.dumps(definition(size))
        reading = median(lambda text=text: sagebridge.read(text))  # type: ignore[misc]
        checking = median(lambda text=text: sagebridge.validate(text))  # type: ignore[misc]
        pipeline = sagebridge.read(text, name="bench").pipeline
        writing = [
            median(lambda target=target: sagebridge.write(pipeline, target))  # type: ignore[misc] # noqa: B023
            for target in targets
        ]
        rate = size / (reading + max(writing))
        slow |= rate < FLOOR and size >= 100
        columns = "".join(f"{seconds * 1000:>12.1f} ms" for seconds in writing)
        print(
            f"{size:>6}{reading * 1000:>8.1f} ms{checking * 1000:>8.1f} ms{columns}{rate:>10,.0f}",
            flush=True,
        )
    return int(slow)


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
