"""The findings of a DAG file or flow file, at the lines of the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sagebridge.errors import SourceError
from sagebridge.findings import Finding
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.formats.sagemaker.validator import unreadable, validate
from sagebridge.formats.sagemaker.writer import write
from sagebridge.model.code_steps import only_code
from sagebridge.model.losses import Loss


def validate_dag_file(source: Any) -> tuple[Finding, ...]:
    from sagebridge.formats.airflow.reader import read_one

    return _validate(source, read_one)


def validate_flow_file(source: Any) -> tuple[Finding, ...]:
    from sagebridge.formats.prefect.reader import read_one

    return _validate(source, read_one)


def _validate(source: Any, read_one: Callable[[Any], FileReading]) -> tuple[Finding, ...]:
    try:
        reading = read_one(source)
    except SourceError as error:
        return (unreadable(error),)
    return tuple(_findings(reading))


def _findings(reading: FileReading) -> Iterator[Finding]:
    """What validation says of the pipeline, at the lines of the file.

    Where nothing of the file is a step, what reading it lost says why.
    """
    text, _ = write(reading.pipeline)
    steps = json.loads(text).get("Steps", [])
    for one in validate(text):
        if one.code == "no-steps" and only_code(reading.pipeline):
            continue
        yield replace(one, line=_line(one.pointer, steps, reading))
        if one.code == "no-steps":
            yield from (_finding_of(loss, reading) for loss in reading.losses)


def _finding_of(loss: Loss, reading: FileReading) -> Finding:
    line = loss.place.rpartition(":")[2]
    message = f"{loss.what}; {loss.advice}" if loss.advice else loss.what
    return Finding(
        loss.code, "warning", "", int(line) if line.isdecimal() else reading.line, message
    )


def _line(pointer: str, steps: list[Any], reading: FileReading) -> int:
    """The line of the innermost step that a pointer into the definition goes through."""
    line = reading.line
    node: Any = {"Steps": steps}
    for token in pointer.split("/")[1:]:
        try:
            node = node[int(token)] if isinstance(node, list) else node[token]
        except (LookupError, ValueError):
            break
        if isinstance(node, dict) and isinstance(node.get("Name"), str):
            line = reading.lines.get(node["Name"], line)
    return line
