"""sagebridge: SageMaker pipelines to Airflow and Prefect, and back.

>>> import sagebridge
>>> pipeline, losses = sagebridge.read({"Version": "2020-12-01", "Steps": []})
>>> pipeline.steps
()
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sagebridge import registry
from sagebridge.checked_reading import CheckedPipeline, read_checked
from sagebridge.errors import OnlyCode, SagebridgeError, SourceError
from sagebridge.findings import Finding
from sagebridge.model.code_steps import only_code
from sagebridge.model.graph import is_structured
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline
from sagebridge.registry import detect

if TYPE_CHECKING:
    from sagebridge.formats.python.file_readings import FileReading

__version__ = "0.1.0"
__all__ = [
    "CheckedPipeline",
    "Finding",
    "Loss",
    "Pipeline",
    "Reading",
    "SagebridgeError",
    "Writing",
    "detect",
    "read",
    "read_checked",
    "read_flow",
    "translate",
    "validate",
    "write",
]


class Reading(NamedTuple):
    pipeline: Pipeline
    losses: tuple[Loss, ...]


class Writing(NamedTuple):
    text: str
    losses: tuple[Loss, ...]


def read(source: Any, format: str | None = None, *, name: str | None = None) -> Reading:
    """The pipeline of a source and what reading it lost.

    ``source`` is a file name, JSON text, a definition or Create/DescribePipeline document as a
    dict, a SageMaker SDK Pipeline, or ``module:attribute`` that is one (its module is imported).
    ``name`` overrides the pipeline's name.

    Everything that has a list of steps can be read, errors included: :func:`validate` and
    :func:`read_checked` report them. Raises :class:`~sagebridge.errors.SourceError` if the source
    cannot be read, and :class:`~sagebridge.errors.Untranslatable` if two steps have one name or
    steps depend on each other in a cycle.
    """
    form = registry.find(format) if format else registry.detect(source)
    pipeline, losses = form.reader()(source)
    if not is_structured(pipeline):
        read_checked(source, format)
    return Reading(pipeline if name is None else replace(pipeline, name=name), losses)


def read_flow(source: str) -> FileReading:
    """The one flow of a flow file, with its function, arguments and tasks as Prefect has them.

    Raises :class:`~sagebridge.errors.SourceError`.
    """
    from sagebridge.formats.prefect.reader import read_one

    return read_one(source)


def write(pipeline: Pipeline, format: str, *, document: str | None = None) -> Writing:
    """The text of a pipeline in a format and what that format cannot say.

    ``document`` is another form of the format: of ``sagemaker`` ``create-pipeline``, a request, or
    ``cloudformation``, a template.
    """
    form = registry.find(format)
    if form.name == "sagemaker" and only_code(pipeline):
        raise OnlyCode(pipeline.name)
    return Writing(*form.writer(document)(pipeline))


def translate(
    source: Any,
    to: str,
    format: str | None = None,
    *,
    name: str | None = None,
    document: str | None = None,
) -> Writing:
    """``read``, ``validate`` and ``write`` in one; the losses of both ways.

    Errors in a pipeline do not stop its translation: :func:`read_checked` returns them. Raises
    :class:`~sagebridge.errors.Untranslatable` if the source holds no pipeline (two steps of one
    name, a dependency cycle), and :class:`~sagebridge.errors.SourceError` if it cannot be read or
    holds several pipelines.
    """
    (examined,) = read_checked(source, format)
    pipeline = examined.pipeline if name is None else replace(examined.pipeline, name=name)
    text, more = write(pipeline, to, document=document)
    return Writing(text, (*examined.losses, *more))


def validate(source: Any, format: str | None = None) -> tuple[Finding, ...]:
    """All findings of a source at once, errors and warnings.

    Nothing of a definition is executed; a DAG file is imported, as reading it does.
    """
    from sagebridge.formats.sagemaker.validator import unreadable

    try:
        form = registry.find(format) if format else registry.detect(source)
    except SourceError as error:
        return (unreadable(error),)
    return form.validator()(source)
