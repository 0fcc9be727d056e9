"""The findings of DAG files and flow files, with the lines of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sagebridge.authoring.definition_writer import definition
from sagebridge.authoring.json_document import dump
from sagebridge.authoring.schedule_rules import check_schedules
from sagebridge.errors import SourceError
from sagebridge.findings import Finding
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.formats.sagemaker.validator import unreadable, validate
from sagebridge.model.code_removal import only_code, without_carried, without_stubs
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.pointers import step_pointers


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


def pipeline_findings(pipeline: Pipeline) -> tuple[Finding, ...]:
    """The findings of a pipeline's definition. Code steps are not part of a definition."""
    found = validate(dump(definition(without_carried(pipeline)[0])))
    if only_code(pipeline) and without_stubs(pipeline)[0].steps:
        found = tuple(one for one in found if one.code != "no-steps")
    return (*found, *schedule_findings(pipeline))


def schedule_findings(pipeline: Pipeline) -> Iterator[Finding]:
    """The findings of the schedules and event triggers, which are not part of a definition."""
    for one in check_schedules(pipeline):
        yield Finding(one.code, one.severity, "", 1, one.message)


def _findings(reading: FileReading) -> Iterator[Finding]:
    """The findings of the pipeline, with the lines of the file.

    If the file has no steps, the losses of reading it follow, since they explain why.
    """
    lines = {
        pointer: reading.lines[step.name]
        for pointer, step in step_pointers(without_carried(reading.pipeline)[0].steps)
        if step.name in reading.lines
    }
    for one in pipeline_findings(reading.pipeline):
        pointer = one.pointer
        while pointer and pointer not in lines:
            pointer = pointer.rpartition("/")[0]
        yield replace(one, line=lines.get(pointer, reading.line))
        if one.code == "no-steps":
            yield from (_finding_of(loss, reading) for loss in reading.losses)


def _finding_of(loss: Loss, reading: FileReading) -> Finding:
    line = loss.place.rpartition(":")[2]
    message = f"{loss.what}; {loss.advice}" if loss.advice else loss.what
    return Finding(
        loss.code, "warning", "", int(line) if line.isdecimal() else reading.line, message
    )
