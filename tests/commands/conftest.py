"""Runs of the command line in a process of its own, on a real Airflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

Step = dict[str, Any]


def processing(name: str, code: str, **members: Any) -> Step:
    """A step that runs Python code in a job."""
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    application = {"ImageUri": "python", "ContainerEntrypoint": ["python3", "-c", code]}
    arguments: Step = {
        "ProcessingResources": {"ClusterConfig": cluster},
        "AppSpecification": application,
    }
    if "PropertyFiles" in members:
        output = {
            "OutputName": members["PropertyFiles"][0]["OutputName"],
            "S3Output": {
                "S3Uri": f"s3://bucket/{name}",
                "LocalPath": "/opt/ml/processing/out",
                "S3UploadMode": "EndOfJob",
            },
        }
        arguments["ProcessingOutputConfig"] = {"Outputs": [output]}
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **members}


def sleeping(name: str, seconds: float, **members: Any) -> Step:
    return processing(
        name, f"import time; print('asleep', flush=True); time.sleep({seconds})", **members
    )


def write(folder: Path, name: str, *steps: Step, **members: Any) -> Path:
    """A definition file."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"Version": "2020-12-01", "Steps": list(steps), **members}))
    return path


@dataclass
class Command:
    """``sagebridge`` at work; ``out`` has the lines it has written so far."""

    process: subprocess.Popen[str]
    out: list[str] = field(default_factory=list)
    err: str = ""

    @property
    def text(self) -> str:
        return "\n".join(self.out)

    def wait_for(self, words: str, times: int = 1) -> str:
        """Reads on until as many lines hold ``words``; the last of them."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.out.append(line.rstrip("\n"))
            times -= words in line
            if times == 0:
                return self.out[-1]
        raise AssertionError(f"it ended without {words!r}:\n{self.text}")

    def end(self, number: signal.Signals | None = None) -> int:
        """Signals, reads the rest and waits; the exit code."""
        if number is not None:
            self.process.send_signal(number)
        rest, self.err = self.process.communicate(timeout=180)
        self.out += rest.splitlines()
        return self.process.returncode


Sagebridge = Callable[..., Command]


@pytest.fixture(scope="session")
def sagebridge() -> Iterator[Sagebridge]:
    """Starts the command in a folder."""
    started: list[Command] = []

    def start(folder: Path, *words: str | Path, **environment: str) -> Command:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sagebridge.cli", *map(str, words)],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(Command(process))
        return started[-1]

    yield start
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
        command.process.communicate()


def eventually(what: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.1)


def processes(folder: Path) -> list[str]:
    """The command lines of the processes that have to do with a folder, jobs among them."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            place = process.environ().get("SAGEBRIDGE_HOME", "")
            if process.pid != os.getpid() and str(folder) in words + place:
                found.append(words)
        except psutil.Error:
            continue
    return found
