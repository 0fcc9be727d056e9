"""The table of formats. A format is imported when it is first used."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from sagebridge.authoring.json_document import read_bytes
from sagebridge.authoring.python_files import sdk_pipelines
from sagebridge.errors import FormatError, SourceError
from sagebridge.findings import Finding
from sagebridge.model.display import did_you_mean
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import Pipeline

Reader = Callable[[Any], tuple[Pipeline, tuple[Loss, ...]]]
Validator = Callable[[Any], tuple[Finding, ...]]
Writer = Callable[[Pipeline, Sequence[Loss]], tuple[str, tuple[Loss, ...]]]
"""Writes a pipeline, with comments for the losses of reading it if the format has comments."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format. Functions are named as ``module:function``.

    Attributes:
        read: reads a source with one pipeline.
        write: writes a pipeline.
        suffix: the suffix of the format's files.
        read_all: reads a file that may hold several pipelines.
        read_each: reads many such files at once.
        read_own: like ``read_all``, without what belongs to other deployments of a flow.
        validate: returns the findings of a source, with the lines of its file.
        documents: the writers of the format's documents, by name.
    """

    name: str
    read: str
    write: str
    suffix: str
    read_all: str = ""
    read_each: str = ""
    read_own: str = ""
    validate: str = "sagebridge.formats.sagemaker.validator:validate"
    documents: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def reader(self) -> Reader:
        return cast("Reader", _load(self.read))

    def validator(self) -> Validator:
        return cast("Validator", _load(self.validate))

    def readings(
        self, source: Any, *, own: bool = False
    ) -> list[tuple[Pipeline, tuple[Loss, ...]]]:
        """All pipelines of a source, each with the losses of reading it.

        ``own``: without the schedules that belong to other deployments of a flow.
        """
        if own and self.read_own:
            return list(_load(self.read_own)(source))
        if not self.read_all:
            return [self.reader()(source)]
        return list(_load(self.read_all)(source))

    def readings_of(
        self, files: Sequence[str]
    ) -> list[list[tuple[Pipeline, tuple[Loss, ...]]] | SourceError]:
        """As :meth:`readings`, for many files; a file that cannot be read has its error."""
        if self.read_each:
            return list(_load(self.read_each)(files))
        result: list[list[tuple[Pipeline, tuple[Loss, ...]]] | SourceError] = []
        for file in files:
            try:
                result.append(self.readings(file))
            except SourceError as error:
                result.append(error)
        return result

    def writer(self, document: str | None = None) -> Writer:
        """The writer of the format or of one of its documents. Raises :class:`FormatError`."""
        if document is None:
            return cast("Writer", _load(self.write))
        if document not in self.documents:
            raise FormatError(self._no_document(document))
        return cast("Writer", _load(self.documents[document]))

    def suffix_of(self, document: str | None) -> str:
        """The suffix of a file: ``.yaml`` for the document ``prefect.yaml``."""
        return Path(document or "").suffix or self.suffix

    def carries_schedules(self, document: str | None = None) -> bool:
        """Whether the format, or one of its documents, can have schedules and event triggers."""
        return self.name != "sagemaker" or document in ("cloudformation", "eventbridge")

    def _no_document(self, document: str) -> str:
        owner = next((one.name for one in FORMATS.values() if document in one.documents), None)
        if owner is not None:
            return f"{document!r} is a document of {owner}, not of {self.name}; use --to {owner}"
        known = f"it has {', '.join(self.documents)}" if self.documents else "it has none"
        return f"{self.name} has no document {document!r} ({known})"


class NoOrchestrator(SourceError):
    """A Python file that imports no orchestrator."""


class SdkFile(NoOrchestrator):
    """A Python file that uses the SageMaker SDK: its pipeline has to be named."""

    def __init__(self, file: str, names: Sequence[str]) -> None:
        problem = "imports neither airflow nor prefect, but the SageMaker SDK"
        named = " or ".join(f"{file}:{name}" for name in names) or f"{file}:NAME"
        super().__init__(file, problem, f"name its pipeline: {named}")


_DOCUMENTS = "sagebridge.formats.sagemaker.document_writers"
FORMATS = {
    format_.name: format_
    for format_ in (
        Format(
            "sagemaker",
            "sagebridge.formats.sagemaker.source:read",
            "sagebridge.formats.sagemaker.writer:write",
            ".json",
            documents=MappingProxyType(
                {
                    "definition": "sagebridge.formats.sagemaker.writer:write",
                    "create-pipeline": f"{_DOCUMENTS}:write_request",
                    "cloudformation": f"{_DOCUMENTS}:write_template",
                    "eventbridge": "sagebridge.formats.sagemaker.eventbridge_writer:write_document",
                }
            ),
        ),
        Format(
            "airflow",
            "sagebridge.formats.airflow.reader:read",
            "sagebridge.formats.airflow.writer:write",
            ".py",
            documents=MappingProxyType(
                {"native": "sagebridge.formats.airflow.native.writer:write"}
            ),
            read_all="sagebridge.formats.airflow.reader:read_all",
            read_each="sagebridge.formats.airflow.reader:read_each",
            validate="sagebridge.python_findings:validate_dag_file",
        ),
        Format(
            "prefect",
            "sagebridge.formats.prefect.reader:read",
            "sagebridge.formats.prefect.writer:write",
            ".py",
            read_all="sagebridge.formats.prefect.reader:read_all",
            documents=MappingProxyType(
                {"prefect.yaml": "sagebridge.formats.prefect.deployment_writer:write"}
            ),
            read_own="sagebridge.formats.prefect.reader:read_own",
            validate="sagebridge.python_findings:validate_flow_file",
        ),
    )
}


def find(name: str) -> Format:
    """The format of that name. Raises :class:`FormatError` with the known names."""
    if name in FORMATS:
        return FORMATS[name]
    hint = did_you_mean(name, FORMATS) or f"; expected one of {', '.join(FORMATS)}"
    raise FormatError(f"unknown format {name!r}{hint}")


def detect(source: Any) -> Format:
    """The format of a source. A Python file has the format of the orchestrator that it imports.

    ``prefect.yaml``, another YAML file with deployments, and ``prefect://FLOW/DEPLOYMENT`` are
    Prefect's.

    Nothing is executed. Raises :class:`SourceError` for a Python file that imports none or both.
    """
    file = _python_file(source)
    if file is not None:
        return find(_orchestrator(file))
    return FORMATS["prefect" if _has_deployments(source) else "sagemaker"]


def set_call_arguments(arguments: Mapping[str, str]) -> Callable[[], None]:
    """Set the arguments for functions that return a SageMaker pipeline; returns the undo."""
    if not arguments:
        return lambda: None
    from sagebridge.formats.sagemaker.python_source import ARGUMENTS

    token = ARGUMENTS.set(arguments)
    return lambda: ARGUMENTS.reset(token)


def _python_file(source: Any) -> Path | None:
    """The file in ``flow.py`` or ``dag.py#dag_id``; None for any other source."""
    if not isinstance(source, str | Path):
        return None
    text = str(source)
    if not text.endswith(".py"):
        text = text.rpartition("#")[0]
    return Path(text) if text.endswith(".py") and "\n" not in text else None


def _has_deployments(source: Any) -> bool:
    """Whether a source is ``prefect.yaml``, such a file, or ``prefect://FLOW/DEPLOYMENT``."""
    if isinstance(source, str) and source.startswith("prefect://"):
        return True
    if not isinstance(source, str | Path) or "\n" in str(source):
        return False
    text = str(source)
    path = Path(text if text.endswith((".yaml", ".yml")) else text.rpartition("#")[0])
    if path.suffix not in (".yaml", ".yml"):
        return False
    try:
        return re.search(rb"^deployments:", read_bytes(path), re.MULTILINE) is not None
    except (OSError, ValueError, SourceError):
        return path.name == "prefect.yaml"


def _orchestrator(file: Path) -> str:
    try:
        tree = ast.parse(read_bytes(file), str(file))
    except FileNotFoundError:
        raise SourceError(str(file), f"no such file (looked in {Path.cwd()})") from None
    except OSError as error:
        raise SourceError(str(file), f"cannot be opened: {error.strerror}") from None
    except SyntaxError as error:
        raise SourceError(f"{file}:{error.lineno}", f"not valid Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise SourceError(str(file), f"not valid Python: {error}") from None
    found = _imported(tree.body) or _imported(ast.walk(tree))
    if not found:
        if names := sdk_pipelines(tree):
            raise SdkFile(str(file), names)
        raise NoOrchestrator(
            str(file), "imports neither airflow nor prefect", "set its format with --from"
        )
    if len(found) > 1:
        raise SourceError(
            str(file), "imports both airflow and prefect", "set its format with --from"
        )
    return found.pop()


def skip_reason(file: Path) -> str:
    """Why a JSON or YAML file in a folder is not a source; empty for any other file."""
    if file.suffix == ".py":
        return ""
    if _has_deployments(file):
        return "its deployments are read with their flow files; to read it alone, name it"
    from sagebridge.formats.sagemaker import source

    return source.skip_reason(file)


def _imported(nodes: Iterable[ast.AST]) -> set[str]:
    """The orchestrators that are imported, directly or by a part of ``sagebridge_operators``."""
    modules: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            modules.append(node.module)
            if node.module == "sagebridge_operators":
                modules += [alias.name for alias in node.names]
    roots = {name.removeprefix("sagebridge_operators.").partition(".")[0] for name in modules}
    return {name for name in ("airflow", "prefect") if name in roots}


def _load(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)
