"""Makes a definition in the DAGs folder a DAG, without a Python file. Needs Airflow 3.4.

Airflow calls the importers of its configuration (``[dag_processor] dag_importer_configs``), an
experimental interface: airflow/sdk/importers/base.py of 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import sagebridge
from sagebridge.errors import SagebridgeError
from sagebridge.findings import Finding
from sagebridge.model.values import EMPTY
from sagebridge_operators.airflow.dag_builder import Definition, all_dags, check_arguments

try:
    from airflow.sdk.importers import (
        AbstractDagImporter,
        DagImportError,
        DagImportResult,
        DagImportWarning,
        DagSourceCode,
    )
    from airflow.sdk.importers.base import find_file_dag_definitions, get_file_suffix
except ImportError as error:
    raise ImportError("DefinitionImporter needs Airflow 3.4 or later") from error

_MARKS = ((b'"Version"', b'"Steps"'), (b'"PipelineDefinition',))
"""The keys of a definition, and of a request or a template that contains one."""


class DefinitionImporter(AbstractDagImporter):  # type: ignore[misc]  # Any before Airflow 3.4
    """Reads pipeline definitions, CreatePipeline documents and CloudFormation templates.

    Its ``kwargs`` in Airflow's configuration are those of ``load_folder``: ``dag_args``, and
    default arguments of all operators. JSON files without a pipeline are ignored. The errors of a
    definition are one import error, with all their places; its warnings are warnings of the DAG.
    """

    supported_extensions: ClassVar = [".json"]

    def __init__(self, *, dag_args: Mapping[str, Any] = EMPTY, **operator_args: Any) -> None:
        check_arguments("DefinitionImporter", dag_args, operator_args)
        self._given = (dag_args, operator_args)

    def can_handle(self, definition: Any) -> bool:
        return get_file_suffix(definition) in self.supported_extensions

    def list_dag_definitions(self, bundle: Any, *, safe_mode: bool = True) -> Iterator[Any]:
        for found in find_file_dag_definitions(bundle.path, self.supported_extensions):
            if self.might_contain_dag(found, safe_mode):
                yield found

    def might_contain_dag(self, definition: Any, safe_mode: bool) -> bool:
        """Whether the file may contain a pipeline, whatever Airflow's safe mode is."""
        try:
            text = definition.read_bytes()
        except OSError:
            return True  # the import reports it
        return any(all(mark in text for mark in marks) for marks in _MARKS)

    def import_definition(self, definition: Any, bundle: Any) -> Any:
        result = DagImportResult(definition=definition)
        place = repr(definition)
        with definition.as_file() as path:
            findings = self._import(path, Path(place), result)
        problems = [found for found in findings if found.severity == "error"]
        if problems:
            result.errors.append(_import_error(place, problems))
        result.warnings += (
            DagImportWarning(place, found.message, f"sagebridge:{found.code}", found.line)
            for found in findings
            if found.severity == "warning"
        )
        return result

    def _import(self, path: Path, named: Path, result: Any) -> Sequence[Finding]:
        """Add the DAGs of a file, unless it has errors; return its findings."""
        try:
            (checked,) = sagebridge.read_checked(str(path), "sagemaker")
        except SagebridgeError:
            return sagebridge.validate(str(path))
        if not checked.errors:
            pipeline = Definition(named).named(checked.pipeline, path)
            result.dags += all_dags(pipeline, None, *self._given)
        return checked.findings

    def get_source_code(self, definition: Any, dag_id: str | None = None) -> Any:
        return DagSourceCode(definition.read_text(encoding="utf-8"), "json")


def _import_error(file: str, problems: Sequence[Finding]) -> Any:
    """One error for all problems: Airflow shows only the last error of a file."""
    return DagImportError(
        source_reference=file,
        message="\n".join(
            f"{found.line}:{found.column}: {found.message} [{found.code}] {found.pointer}".rstrip()
            for found in problems
        ),
        error_type="definition",
        line_number=problems[0].line,
        column_number=problems[0].column,
    )
