"""The parent of the import subprocess :mod:`sagebridge.formats.python.import_process`."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sagebridge.authoring.definition_reader import read_definition
from sagebridge.authoring.json_document import parse
from sagebridge.errors import MissingExtra, PythonFileError, SourceError
from sagebridge.formats.python.file_readings import FileReading, TaskPlace, missing
from sagebridge.formats.python.module_slice import module_of
from sagebridge.formats.python.source_comments import notes_of, source_text
from sagebridge.model.code_steps import PythonStep, ShellStep
from sagebridge.model.code_transport import read_settings, with_code, with_templates
from sagebridge.model.display import shown
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.functions import Function
from sagebridge.model.losses import SHARED_DISK, Loss, Severity
from sagebridge.model.pipeline import Pipeline, step_references, walk
from sagebridge.model.schedules import Schedule

_TEMPORARY = re.compile(r"\b(mkdtemp|mkstemp)\(").search
LIMIT = 60.0
"""Time limit for one file, in seconds."""


@dataclass(frozen=True, slots=True)
class FileImporter:
    """Imports the files of one format.

    Args:
        module: run with ``python -m``, it imports the files.
        task: for error messages, as in ``reading an Airflow file``.
        extra: the extra that installs the engine.
        origin: the ``Pipeline.origin``, as in ``an Airflow DAG``.
    """

    module: str
    task: str
    extra: str
    origin: str

    def read_files(
        self, files: Sequence[str | Path], limit: float = LIMIT
    ) -> list[list[FileReading] | SourceError]:
        """The pipelines of each file, or the error; one process imports them all.

        Raises :class:`MissingExtra` if the engine is not installed.
        """
        names = [str(file) for file in files]
        absent = [missing(name) for name in names]
        present = [name for name, error in zip(names, absent, strict=True) if error is None]
        answers = self._import(present, limit) if present else iter(())
        return [
            error if error is not None else self._outcome(name, next(answers))
            for name, error in zip(names, absent, strict=True)
        ]

    def read_file(self, file: str | Path) -> list[FileReading]:
        """The pipelines of one file. Raises :class:`SourceError`, :class:`MissingExtra`."""
        (outcome,) = self.read_files([file])
        if isinstance(outcome, SourceError):
            raise outcome
        return outcome

    def _import(self, files: Sequence[str], limit: float) -> Iterator[dict[str, Any]]:
        """The answers of the process, in the order of the files."""
        request = {"files": [str(Path(file).resolve()) for file in files], "limit": limit}
        done = subprocess.run(
            [sys.executable, "-P", "-m", self.module],
            input=json.dumps(request),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        for answer in answers:
            if "missing" in answer:
                raise MissingExtra(f"{self.task} (no module {answer['missing']!r})", self.extra)
            if "bug" in answer:
                raise RuntimeError(answer["bug"])
        if len(answers) != len(files):
            raise RuntimeError(f"{self.module} ended early:\n{done.stderr[-4000:]}")
        return iter(answers)

    def _outcome(self, file: str, answer: dict[str, Any]) -> list[FileReading] | SourceError:
        if "error" in answer:
            return PythonFileError(file, **answer["error"])
        try:
            return [self._reading(file, found) for found in answer["pipelines"]]
        except SourceError as error:
            return error

    def _reading(self, file: str, found: dict[str, Any]) -> FileReading:
        document = parse(json.dumps(found["definition"]), f"{file}#{found['name']}")
        pipeline, _ = read_definition(replace(document, envelope=found["envelope"]))
        pipeline = with_code(with_templates(pipeline, found["templates"]), found["code"], file)
        if details := found["parameters"]:
            declared = (replace(one, **details.get(one.name, {})) for one in pipeline.declared)
            pipeline = replace(pipeline, parameters=tuple(declared))
        ordered = sorted(found["losses"], key=lambda loss: int(loss["place"]))
        losses = (Loss(**{**loss, "place": f"{file}:{loss['place']}"}) for loss in ordered)
        pipeline = replace(
            pipeline,
            connections=found["connections"],
            schedules=tuple(Schedule(**one) for one in found["schedules"]),
            event_triggers=tuple(EventTrigger(**one) for one in found["event_triggers"]),
            engine=read_settings(found["engine"]),
            origin=self.origin,
            notes=notes_of(source_text(file), found["line"], found["lines"]),
        )
        # In Prefect the tasks of a flow share a machine, unless their runner says otherwise.
        local = _local_files(pipeline) if self.extra == "prefect" else ()
        return FileReading(
            found["name"],
            pipeline,
            (
                *losses,
                *effect_losses(file, found["line"], found["lines"], pipeline),
                *nearby_losses(file, found["line"], pipeline),
                *local,
            ),
            found["line"],
            found["lines"],
            entry=found.get("entry", ""),
            arguments=tuple(found.get("arguments", ())),
            own_tasks=tuple(found.get("own_tasks", ())),
            tasks=tuple(TaskPlace(*one) for one in found.get("tasks", ())),
        )


def effect_losses(
    file: str, line: int, lines: Mapping[str, int], pipeline: Pipeline
) -> Iterator[Loss]:
    """One loss for each statement of the file that acts on the process and is not carried.

    ``line`` is the line of the DAG or flow, and ``lines`` are those of its steps.
    """
    functions = list(_functions(pipeline))
    carried = {ast.dump(it) for one in functions for it in ast.parse(one.module).body}
    has_code = bool(functions) or any(isinstance(one, ShellStep) for one in walk(pipeline))
    own = {line, *lines.values()}
    source = source_text(file)
    effects = module_of(source).effects
    for one in effects.all():
        node = one.node
        places = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if ast.dump(node) in carried or not own.isdisjoint(places):
            continue
        is_needed = has_code or effects.registers(one) or "environ" in ast.unparse(node)
        severity: Severity = "changed" if is_needed else "info"
        text = source.splitlines()[node.lineno - 1].strip()
        what = f"the statement {shown(text)} of the file is not carried"
        advice = "add it to the translated file if the steps need it"
        yield Loss("module-statement", severity, f"{file}:{node.lineno}", what, "", advice)


# Files next to a Python file that its carried code needs: modules, and files by ``__file__``.
def nearby_losses(file: str, line: int, pipeline: Pipeline) -> Iterator[Loss]:
    """One loss for each module, and one for ``__file__``: only the code itself is carried.

    ``line`` is the line of the DAG or flow.
    """
    folder = Path(file).resolve().parent
    needed = dict.fromkeys(
        name for one in _functions(pipeline) for name in _needed(one.module or one.code)
    )
    for name in needed:
        if name == "__file__":
            what = "the code reads files by their place next to __file__, which are not carried"
            advice = "put the translated file next to them, or copy them"
        elif any(_is_module(place / name) for place in (folder, folder.parent)):
            what = f"the code imports your module {name}, which is not carried"
            advice = "put the module where the translated file can import it"
        else:
            continue
        yield Loss("nearby-file", "changed", f"{file}:{line}", what, "", advice)


def _local_files(pipeline: Pipeline) -> Iterator[Loss]:
    """One loss for each step that makes a temporary file and whose result other steps use."""
    steps = list(walk(pipeline))
    used = {one.name for step in steps for one in step_references(step) if one.root == "Steps"}
    for step in steps:
        if isinstance(step, PythonStep) and step.name in used and _TEMPORARY(step.function.code):
            what = (
                f"step {step.name} makes a temporary file or folder, and other steps use its result"
            )
            yield Loss("local-file", "info", step.origin, what, "", SHARED_DISK, step.name)


def _functions(pipeline: Pipeline) -> Iterator[Function]:
    settings = [pipeline.engine]
    for step in walk(pipeline):
        settings.append(step.engine)
        if isinstance(step, PythonStep):
            yield step.function
    yield from (hook.function for one in settings for hook in one.hooks)


def _needed(text: str) -> Iterator[str]:
    """The packages that code imports, and ``__file__`` if it reads that."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (one.name.partition(".")[0] for one in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.Name(id="__file__"):
                yield node.id


def _is_module(path: Path) -> bool:
    return path.with_suffix(".py").is_file() or any(path.glob("*.py"))
