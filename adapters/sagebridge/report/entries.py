"""What the report shows of one pipeline and target: both files, and the lines of each loss."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from json import dumps, loads
from pathlib import Path
from typing import Any

from sagebridge import registry
from sagebridge.assessment import Assessment, Outcome, counts
from sagebridge.authoring.json_document import Document, parse, read_bytes
from sagebridge.drawing.diagram import Diagram, diagram
from sagebridge.errors import SagebridgeError
from sagebridge.findings import Finding
from sagebridge.formats.python.step_calls import comment_of
from sagebridge.model.losses import Loss, counted
from sagebridge.model.pointers import losses_by_step, step_pointers

SCHEMA = "sagebridge.report/1"
"""The version of the JSON; ``docs/report.schema.json`` describes it."""
_FEWEST_LINES, _LONGEST_LINE = 4, 400
"""A JSON file with fewer lines, or with a longer one, is shown reformatted."""
_FILE_LINE = re.compile(r"(.+):(\d+)")


@dataclass(frozen=True, slots=True)
class PlacedLoss:
    """A loss with its step and its lines in both files; 0 if it has no line there."""

    loss: Loss
    step: str
    source_line: int
    target_line: int

    def as_json(self) -> dict[str, Any]:
        lines = {"source_line": self.source_line, "target_line": self.target_line}
        step = {"step": self.step} if self.step else {}
        return self.loss.as_json() | step | {key: line for key, line in lines.items() if line}


@dataclass(frozen=True)
class Source:
    """The text of a source as the report shows it; empty if it is not a text file.

    ``document`` has the lines of a definition. A DAG or flow file has none.
    """

    text: str = ""
    document: Document | None = None

    def line(self, loss: Loss, step: str, pointers: Mapping[str, str], file: str) -> int:
        """The line of a loss, which has a JSON pointer, or ``file:line``, or a step."""
        if self.document is not None:
            pointer = loss.place if loss.place.startswith("/") else pointers.get(step, "")
            return self.line_at(pointer, 0)
        match = _FILE_LINE.fullmatch(loss.place)
        if match:
            return int(match[2]) if Path(match[1]) == Path(file) and self.text else 0
        name = re.escape(step)
        named = re.compile(rf"(?:task_id|name)\s*=\s*(['\"]){name}\1|\bdef {name}\(")
        return _first_line(self.text, named) if step else 0

    def line_at(self, pointer: str, otherwise: int) -> int:
        """The line of a pointer's value in a definition."""
        if self.document is None:
            return otherwise if self.text else 0
        while pointer and pointer not in self.document.positions:
            pointer = pointer.rpartition("/")[0]
        return self.document.line(pointer) if pointer else 0


@dataclass(frozen=True)
class Entry:
    """One pipeline and one of its targets."""

    assessment: Assessment
    target: str
    source: Source

    @property
    def outcome(self) -> Outcome:
        return self.assessment.outcomes[self.target]

    @property
    def name(self) -> str:
        return self.assessment.pipeline or self.assessment.source

    @cached_property
    def losses(self) -> tuple[PlacedLoss, ...]:
        model = self.assessment.model
        if model is None:
            return tuple(PlacedLoss(loss, loss.step, 0, 0) for loss in self.outcome.losses)
        pointers = {step.name: pointer for pointer, step in step_pointers(model.steps)}
        names = {
            id(loss): name
            for name, own in losses_by_step(model, self.outcome.losses).items()
            for loss in own
        }
        found = []
        for loss in self.outcome.losses:
            step = names[id(loss)]
            line = self.source.line(loss, step, pointers, file_of(self.assessment.source))
            found.append(PlacedLoss(loss, step, line, self._target_line(loss, step)))
        return tuple(found)

    def _target_line(self, loss: Loss, step: str) -> int:
        """The line of a loss's comment in a Python file, otherwise that of its step."""
        text = self.outcome.text
        comment = comment_of(loss)
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip() == comment:
                return number
        if not step or self.target != "sagemaker":
            return 0
        named = re.compile(re.escape(f'"Name": {dumps(step)}'))
        return _first_line(text, named, text.find('"Steps": ['))

    @cached_property
    def findings(self) -> tuple[tuple[Finding, int], ...]:
        """The findings, with their lines in the text that is shown."""
        return tuple(
            (one, self.source.line_at(one.pointer, one.line)) for one in self.outcome.findings
        )

    @cached_property
    def graph(self) -> Diagram:
        """The steps, with the codes of losses that need attention."""
        marks: dict[str, list[Loss]] = {}
        for one in self.losses:
            if counted((one.loss,)) and one.step:
                marks.setdefault(one.step, []).append(one.loss)
        model = self.assessment.model
        return diagram(model, marks) if model else Diagram("", (), ())

    def as_json(self) -> dict[str, Any]:
        result = self.outcome.as_json()
        result["losses"] = [one.as_json() for one in self.losses]
        if self.findings:
            result["findings"] = [
                one.as_json() | ({"source_line": line} if line else {})
                for one, line in self.findings
            ]
        return result | ({"text": self.outcome.text} if self.outcome.text else {})


def entries(one: Assessment) -> list[Entry]:
    """The entries of a pipeline, one per target."""
    source = _source(one)
    return [Entry(one, target, source) for target in one.outcomes]


def as_json(found: Sequence[Assessment]) -> dict[str, Any]:
    """The report for programs."""
    pipelines = [_as_json(one) for one in found]
    return {"schema": SCHEMA, "summary": counts(found), "pipelines": pipelines}


def _as_json(one: Assessment) -> dict[str, Any]:
    result = one.as_json()
    for entry in entries(one):
        result["targets"][entry.target] = entry.as_json()
        if entry.source.text:
            result["text"] = entry.source.text
        if one.model is not None:
            result["graph"] = _graph(entry.graph)
    return result


def _graph(drawn: Diagram) -> dict[str, Any]:
    nodes = [{"name": one.name, "type": one.type, "kind": one.kind} for one in drawn.nodes]
    edges = [
        {
            "from": drawn.nodes[one.source].name,
            "to": drawn.nodes[one.target].name,
            "line": one.line,
        }
        | ({"trigger": one.trigger} if one.trigger else {})
        for one in drawn.edges
    ]
    return {"nodes": nodes, "edges": edges}


def file_of(source: str) -> str:
    """The file of a source: ``dags.py`` of ``dags.py#one``."""
    with suppress(OSError, ValueError):  # a JSON string is too long for a file name
        if not Path(source).exists() and "#" in source:
            return source.rpartition("#")[0]
    return source


def _source(one: Assessment) -> Source:
    """The text of a source. A definition that is not readable JSON is written again."""
    file = Path(file_of(one.source))
    text = ""
    with suppress(OSError, ValueError, SagebridgeError):
        if file.suffix in (".json", ".py"):
            text = read_bytes(file).decode(errors="replace").removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if one.model is None or (one.format != "sagemaker" and file.suffix == ".py"):
        return Source(text)
    if one.format != "sagemaker":
        return Source()
    with suppress(SagebridgeError, ValueError):
        document = parse(text, one.source)
        if "Steps" in document.value:
            lines = text.split("\n")
            if len(lines) >= _FEWEST_LINES and max(map(len, lines)) <= _LONGEST_LINE:
                return Source(text, document)
            text = dumps(loads(text), indent=2, ensure_ascii=False)
            return Source(text, parse(text, one.source))
    with suppress(SagebridgeError):
        text = registry.find("sagemaker").writer()(one.model, ())[0]
        return Source(text, parse(text, one.source))
    return Source()


def _first_line(text: str, wanted: re.Pattern[str], start: int = 0) -> int:
    """The line of the first match after an offset; 0 without a match."""
    match = wanted.search(text, max(start, 0))
    return text.count("\n", 0, match.start()) + 1 if match else 0
