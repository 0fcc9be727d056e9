"""sagebridge: read, build, validate and write SageMaker pipelines, Airflow DAGs, Prefect flows.

>>> import sagebridge
>>> pipeline, losses = sagebridge.read({"Version": "2020-12-01", "Steps": []})
>>> pipeline.steps
()
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from sagebridge.authoring import public_names
from sagebridge.authoring.public_names import *  # noqa: F403 - its __all__ lists them
from sagebridge.errors import CodeOnlyError, FormatError, SagebridgeError, SourceError
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Parallelism, Pipeline, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sagebridge.authoring.scheduled_pipeline import with_schedules
    from sagebridge.checked_reading import CheckedPipeline, read_checked
    from sagebridge.findings import Finding
    from sagebridge.formats.python.file_readings import FileReading
    from sagebridge.model.engine_settings import EngineSettings
    from sagebridge.model.event_triggers import (
        model_package_changed,
        pipeline_ended,
        s3_object_created,
        sqs_message,
    )
    from sagebridge.model.losses import Loss
    from sagebridge.model.selection import select
    from sagebridge.registry import detect

__version__ = "0.1.0"
__all__ = [
    "CheckedPipeline",
    "ConditionStep",
    "EngineSettings",
    "Finding",
    "ForEachStep",
    "Loss",
    "Parallelism",
    "Parameter",
    "Pipeline",
    "Reading",
    "SagebridgeError",
    "SourceError",
    "Step",
    "Writing",
    "detect",
    "model_package_changed",
    "pipeline_ended",
    "read",
    "read_checked",
    "read_flow",
    "s3_object_created",
    "select",
    "sqs_message",
    "translate",
    "validate",
    "with_schedules",
    "write",
]
__all__ += public_names.__all__


_LAZY = {
    "CheckedPipeline": "checked_reading",
    "EngineSettings": "model.engine_settings",
    "Finding": "findings",
    "Loss": "model.losses",
    "detect": "registry",
    "model_package_changed": "model.event_triggers",
    "pipeline_ended": "model.event_triggers",
    "read_checked": "checked_reading",
    "s3_object_created": "model.event_triggers",
    "select": "model.selection",
    "sqs_message": "model.event_triggers",
    "with_schedules": "authoring.scheduled_pipeline",
}
"""Names imported on first use: each parse of a DAG file imports this package."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


class Reading(NamedTuple):
    """A pipeline, and what reading it lost."""

    pipeline: Pipeline
    losses: tuple[Loss, ...]


class Writing(NamedTuple):
    """The text of a file, and what its format cannot express."""

    text: str
    losses: tuple[Loss, ...]


def read(source: Any, format: str | None = None, *, name: str | None = None) -> Reading:
    """Read a pipeline, and what reading it lost.

    Everything that has a list of steps can be read, errors included: :func:`validate` and
    :func:`read_checked` report them.

    Args:
        source: a file name, JSON text, a definition or Create/DescribePipeline document as a dict,
            a SageMaker SDK Pipeline, ``module:attribute`` of one (which imports the module), or a
            :class:`Pipeline`, which is returned unchanged. A document of EventBridge is a pipeline
            without steps: :func:`with_schedules` adds its schedules to another one.
        format: ``sagemaker``, ``airflow`` or ``prefect``; detected by default.
        name: replaces the pipeline's name.

    Raises:
        SourceError: the source cannot be read.
        TranslationError: two steps have one name, or steps depend on each other in a cycle.
    """
    from sagebridge import registry
    from sagebridge.model.graph import is_structured

    if isinstance(source, Pipeline):
        reading = Reading(source, ())
    else:
        form = registry.find(format) if format else registry.detect(source)
        reading = Reading(*form.reader()(source))
        if not is_structured(reading.pipeline):
            from sagebridge.checked_reading import read_checked

            read_checked(source, format)
    if name is None:
        return reading
    return Reading(replace(reading.pipeline, name=name), reading.losses)


def read_flow(source: str) -> FileReading:
    """Read the only flow of a flow file, with its function, arguments and tasks in Prefect.

    Raises:
        SourceError: the file cannot be read, or contains no flow or several.
    """
    from sagebridge.formats.prefect.reader import read_one

    return read_one(source)


def write(
    pipeline: Pipeline,
    format: str,
    *,
    document: str | None = None,
    losses: Sequence[Loss] = (),
    stubs: bool = True,
) -> Writing:
    """Write a pipeline as a string, and list what the format cannot express.

    Args:
        pipeline: read or built.
        format: ``sagemaker``, ``airflow`` or ``prefect``.
        document: for ``sagemaker``, ``create-pipeline`` writes a request and ``cloudformation`` a
            template instead of a bare definition; ``eventbridge`` writes the requests for its
            schedules and event triggers. For ``airflow``, ``native`` writes a DAG without
            sagebridge, of operators of the Amazon provider and standard operators.
        losses: of reading the pipeline; a Python file has a comment for each. They are not part of
            the result.
        stubs: write a stub for each dropped task: it fails when it runs. In a definition it is a
            Fail step. If false, the dependants of a dropped task depend on its dependencies.

    Raises:
        FormatError: unknown format or document, or a pipeline that the format cannot contain.
        ScheduleError: a schedule or event trigger that the target carries never starts it.
    """
    from sagebridge import registry
    from sagebridge.authoring.schedule_rules import ANYWHERE, ON_ENGINES, require_startable
    from sagebridge.model.code_removal import only_code, without_carried, without_stubs
    from sagebridge.model.losses import for_target

    given: object = pipeline
    if not isinstance(given, Pipeline):
        kind = type(given).__name__
        raise FormatError(f"write() expects a Pipeline, got a {kind}; use read() or translate()")
    form = registry.find(format)
    if form.name == "sagemaker" and document != "eventbridge" and only_code(pipeline):
        raise CodeOnlyError(pipeline.name)
    left_out: tuple[Loss, ...] = ()
    if not stubs:
        remove = without_carried if form.name == "sagemaker" else without_stubs
        pipeline, left_out = remove(pipeline)
    if form.carries_schedules(document):
        require_startable(pipeline, ANYWHERE if form.name == "sagemaker" else ON_ENGINES)
    left_out = for_target(left_out, form.name)
    reading = for_target(losses, form.name)
    text, lost = form.writer(document)(pipeline, (*reading, *left_out))
    return Writing(text, (*left_out, *lost))


def translate(
    source: Any,
    to: str,
    format: str | None = None,
    *,
    name: str | None = None,
    document: str | None = None,
    stubs: bool = True,
) -> Writing:
    """Read, validate and write a pipeline; returns the losses of reading and writing.

    Errors in a pipeline do not stop its translation: :func:`read_checked` returns them.

    Args:
        source: as in :func:`read`.
        to: the target format: ``sagemaker``, ``airflow`` or ``prefect``.
        format: of the source; detected by default.
        name: replaces the pipeline's name.
        document: as in :func:`write`.
        stubs: as in :func:`write`.

    Raises:
        SourceError: the source cannot be read, or contains several pipelines.
        TranslationError: the source holds no pipeline: two steps have one name, or steps depend
            on each other in a cycle.
    """
    from sagebridge.checked_reading import read_checked
    from sagebridge.model.losses import for_target

    (checked,) = read_checked(source, format)
    pipeline = checked.pipeline if name is None else replace(checked.pipeline, name=name)
    text, losses = write(pipeline, to, document=document, losses=checked.losses, stubs=stubs)
    return Writing(text, (*for_target(checked.losses, to), *losses))


def validate(source: Any, format: str | None = None) -> tuple[Finding, ...]:
    """Return all findings of a source at once, errors and warnings.

    ``source`` and ``format`` are as in :func:`read`. A definition is never executed; a DAG file is
    imported, as for reading it. The lines of a :class:`Pipeline` are those of the definition that
    ``write(pipeline, "sagemaker")`` returns.
    """
    if isinstance(source, Pipeline):
        from sagebridge.python_findings import pipeline_findings

        return pipeline_findings(source)
    from sagebridge import registry
    from sagebridge.formats.sagemaker.validator import unreadable

    try:
        form = registry.find(format) if format else registry.detect(source)
    except SourceError as error:
        return (unreadable(error),)
    return form.validator()(source)
