"""sagebridge: SageMaker pipelines to Airflow and Prefect, and back.

>>> import sagebridge
>>> pipeline, losses = sagebridge.read({"Version": "2020-12-01", "Steps": []})
>>> pipeline.steps
()
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from sagebridge.errors import OnlyCode, SagebridgeError, SourceError
from sagebridge.model.pipeline import Pipeline

if TYPE_CHECKING:
    from sagebridge.checked_reading import CheckedPipeline, read_checked
    from sagebridge.findings import Finding
    from sagebridge.formats.python.file_readings import FileReading
    from sagebridge.model.losses import Loss
    from sagebridge.registry import detect

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


_LAZY = {
    "CheckedPipeline": "checked_reading",
    "Finding": "findings",
    "Loss": "model.losses",
    "detect": "registry",
    "read_checked": "checked_reading",
}
"""Names imported on first use: each parse of a DAG file imports this package."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


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
    ``name`` overrides the pipeline's name. Raises :class:`~sagebridge.errors.SourceError`.
    """
    from sagebridge import registry

    form = registry.find(format) if format else registry.detect(source)
    pipeline, losses = form.reader()(source)
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
    from sagebridge import registry
    from sagebridge.model.code_steps import only_code

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

    Raises :class:`~sagebridge.errors.Untranslatable` where the pipeline has errors that no target
    could carry, and :class:`~sagebridge.errors.SourceError` where the source cannot be read, or
    holds several pipelines.
    """
    from sagebridge.checked_reading import read_checked

    (examined,) = read_checked(source, format)
    pipeline = examined.pipeline if name is None else replace(examined.pipeline, name=name)
    text, more = write(pipeline, to, document=document)
    return Writing(text, (*examined.losses, *more))


def validate(source: Any, format: str | None = None) -> tuple[Finding, ...]:
    """All findings of a source at once, errors and warnings.

    Nothing of a definition is executed; a DAG file is imported, as reading it does.
    """
    from sagebridge import registry
    from sagebridge.formats.sagemaker.validator import unreadable

    try:
        form = registry.find(format) if format else registry.detect(source)
    except SourceError as error:
        return (unreadable(error),)
    return form.validator()(source)
