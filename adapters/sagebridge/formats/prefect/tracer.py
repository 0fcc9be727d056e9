"""Prefect flows of anybody's making to the model: each is called with symbols for its parameters.

The file is imported in a subprocess under the guard that reads DAG files too, so that nothing is
started, sent or written; no flow, task or step runs. Each test on what is known only at run time
goes both ways, and the ways through a flow become one pipeline
(:mod:`sagebridge.formats.prefect.tracing`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from sagebridge.authoring.definition_reader import read_definition
from sagebridge.authoring.json_document import parse
from sagebridge.errors import MissingExtra
from sagebridge.formats.python.file_readings import FileReading, PythonFileError, missing
from sagebridge.model.code_steps import with_code
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline

ORIGIN = "a Prefect flow"
_LIMIT = 75.0
"""Seconds after which a file that does not let itself be interrupted is given up."""


def trace(path: Path) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
    """The pipeline of each flow of a file, and what tracing lost, in the file's order.

    Raises :class:`SourceError` where the file cannot be read or a flow cannot be traced, and
    :class:`MissingExtra` where Prefect is not installed.
    """
    return [(one.pipeline, one.losses) for one in trace_flows(path)]


def trace_flows(path: Path) -> list[FileReading]:
    """As :func:`trace`, with the lines of flows and steps."""
    file = str(path)
    if (error := missing(file)) is not None:
        raise error
    answer = _asked(path)
    if "missing" in answer:
        raise MissingExtra(f"tracing a Prefect flow (no module {answer['missing']!r})", "prefect")
    if "error" in answer:
        raise PythonFileError(file, **answer["error"])
    return [_reading(file, flow) for flow in answer["flows"]]


def _asked(path: Path) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "sagebridge.formats.prefect.import_flows"]
    try:
        done = subprocess.run(
            [*command, str(path.resolve())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        problem = f"takes more than {_LIMIT:g} s to trace"
        return {"error": {"line": None, "problem": problem, "fix": ""}}
    if not done.stdout:
        problem = f"ended the process that traced it (exit code {done.returncode})"
        return {"error": {"line": None, "problem": problem, "fix": ""}}
    answer: dict[str, Any] = json.loads(done.stdout)
    if "bug" in answer:
        raise RuntimeError(answer["bug"])
    return answer


def _reading(file: str, flow: dict[str, Any]) -> FileReading:
    document = parse(json.dumps(flow["definition"]), f"{file}#{flow['name']}")
    pipeline, _ = read_definition(replace(document, envelope=flow["envelope"]))
    losses = (Loss(**{**loss, "place": f"{file}:{loss['place']}"}) for loss in flow["losses"])
    return FileReading(
        flow["name"],
        replace(with_code(pipeline, flow["code"], file), origin=ORIGIN),
        tuple(losses),
        flow["line"],
        flow["lines"],
        entry=flow["entry"],
        arguments=tuple(flow["arguments"]),
        own_tasks=tuple(flow["own_tasks"]),
    )
