"""The report as one HTML page without scripts and without references to other files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sagebridge.assessment import GRADES, Assessment, counts
from sagebridge.drawing.svg import LEGEND, MARKER, inline_svg
from sagebridge.model.losses import CODES, Severity
from sagebridge.report.entries import Entry, PlacedLoss, entries
from sagebridge.report.markup import Markup, markup, tag
from sagebridge.terminal.console import count

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_SEVERITIES: tuple[Severity, ...] = ("dropped", "changed", "info")
_CLASSES = {"exact": "exact", "changed": "changed", "needs manual work": "manual"}
_NAMES = {"sagemaker": "SageMaker", "airflow": "Airflow", "prefect": "Prefect", "": "unknown"}
Note = tuple[str, str, str]
"""Severity, code and id of a loss or finding at a line."""


def page(found: Sequence[Assessment]) -> str:
    """The report on assessed pipelines; the same for the same pipelines."""
    rows = sorted((entry for one in found for entry in entries(one)), key=_worst_first)
    sections = [_Section(number, entry) for number, entry in enumerate(rows, 1)]
    targets = ", ".join(_NAMES[name] for name in counts(found))
    title = f"{count(len(found), 'pipeline')} to {targets or 'no target'}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Translation report: {title}"),
        tag("style", Markup(Path(__file__).with_name("report.css").read_text())),
    )
    steps = count(sum(one.steps for one in found), "step")
    body = tag(
        "body",
        tag("a", "Skip to the pipelines", class_="skip", href="#details"),
        tag("svg", tag("defs", Markup(MARKER)), class_="shared", aria_hidden="true"),
        tag("header", tag("h1", "Translation report"), tag("p", f"{title}, {steps}")),
        tag(
            "main",
            *_summary(found),
            *_overview(sections),
            *_reasons(rows),
            tag("h2", "Details", id="details"),
            *(section.html() for section in sections),
        ),
        tag("footer", tag("p", "Written by sagebridge. The files in this report may be private.")),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _worst_first(entry: Entry) -> tuple[object, ...]:
    lost = [one.loss.severity for one in entry.losses]
    grade = GRADES.index(entry.outcome.grade)
    return (-grade, *(-lost.count(name) for name in _SEVERITIES), entry.name, entry.target)


def _summary(found: Sequence[Assessment]) -> Iterator[Markup]:
    """The number of pipelines of each grade, per target."""
    yield tag("h2", "Summary")
    for target, grades in counts(found).items():
        total = sum(grades.values())
        shares = [
            tag("span", class_=_CLASSES[grade], style=f"flex:{number}")
            for grade, number in grades.items()
            if number
        ]
        tiles = [
            tag(
                "li",
                tag("strong", number),
                f" {grade} ",
                tag("small", f"{number / total:.0%}"),
                class_=_CLASSES[grade] if number else "none",
            )
            for grade, number in grades.items()
        ]
        yield tag(
            "section",
            tag("h3", f"To {_NAMES[target]}"),
            tag("div", *shares, class_="bar", aria_hidden="true"),
            tag("ul", *tiles, class_="tiles"),
            class_="target",
        )


def _overview(sections: Iterable[_Section]) -> Iterator[Markup]:
    """The table of pipelines."""
    yield tag("h2", "Pipelines")
    head = _row("th", "Pipeline", "Grade", "Steps", *_SEVERITIES, "From", "To", scope="col")
    rows = []
    for section in sections:
        entry = section.entry
        lost = [one.loss.severity for one in entry.losses]
        cells = (
            tag("th", tag("a", entry.name, href=f"#{section.id}"), scope="row"),
            tag("td", _badge(entry.outcome.grade)),
            _number(entry.assessment.steps),
            *(_number(lost.count(name)) for name in _SEVERITIES),
            tag("td", _NAMES[entry.assessment.format]),
            tag("td", _NAMES[entry.target]),
        )
        rows.append(tag("tr", *cells))
    yield _table("Pipelines, worst first", head, rows)


def _reasons(rows: Iterable[Entry]) -> Iterator[Markup]:
    """The table of loss codes of all pipelines."""
    seen: dict[tuple[Severity, str], list[Entry]] = defaultdict(list)
    for entry in rows:
        for one in entry.losses:
            seen[one.loss.severity, one.loss.code].append(entry)
    if not seen:
        return
    yield tag("h2", "Losses by code")
    head = _row("th", "Code", "Severity", "Losses", "Pipelines", "Meaning", scope="col")
    ordered = sorted(seen, key=lambda one: (_SEVERITIES.index(one[0]), -len(seen[one]), one[1]))
    lines = [
        tag(
            "tr",
            tag("th", tag("code", code), scope="row"),
            tag("td", _badge(severity)),
            _number(len(seen[severity, code])),
            _number(len({id(entry.assessment) for entry in seen[severity, code]})),
            tag("td", CODES.get(code, "")),
        )
        for severity, code in ordered
    ]
    yield _table("Losses by code", head, lines)


class _Section:
    """The details of one pipeline and target. ``number`` makes its ids unique."""

    def __init__(self, number: int, entry: Entry) -> None:
        self.id, self.entry = f"p{number}", entry

    def html(self) -> Markup:
        """Open if there is anything to read."""
        entry = self.entry
        facts = (
            f"{_NAMES[entry.assessment.format]} to {_NAMES[entry.target]}",
            count(entry.assessment.steps, "step"),
            entry.assessment.source,
        )
        return tag(
            "details",
            tag("summary", tag("h3", entry.name), " ", _badge(entry.outcome.grade)),
            tag(
                "div",
                tag("p", *(tag("span", fact) for fact in facts), class_="facts"),
                *self._work(),
                *self._graph(),
                *self._files(),
                id=self.id,
                class_="pipeline",
            ),
            open=entry.outcome.grade != "exact" or bool(entry.losses),
        )

    def _work(self) -> Iterator[Markup]:
        """What to do by hand."""
        entry = self.entry
        items = [
            tag("li", _badge("error"), " ", tag("span", line))
            for line in entry.outcome.error.splitlines()
        ]
        for number, (one, line) in enumerate(entry.findings):
            where = self._to_line("source", line, "source")
            text = (_badge(one.severity), " ", tag("code", one.code), " ", one.message, " ", where)
            items.append(tag("li", *text, id=f"{self.id}f{number}"))
        groups: dict[tuple[Severity, str], list[tuple[int, PlacedLoss]]] = defaultdict(list)
        for number, loss in enumerate(entry.losses):
            groups[loss.loss.severity, loss.loss.code].append((number, loss))
        for severity, code in sorted(groups, key=lambda one: (_SEVERITIES.index(one[0]), one[1])):
            items.append(tag("li", *self._group(severity, code, groups[severity, code])))
        yield tag("h4", "What to do")
        yield tag("ul", *items, class_="work") if items else tag("p", "Nothing: no losses.")

    def _group(
        self, severity: Severity, code: str, losses: Sequence[tuple[int, PlacedLoss]]
    ) -> Iterator[str]:
        """The losses with one code: each advice, then the places that it is for."""
        yield markup(_badge(severity), " ", tag("code", code), " ", CODES.get(code, ""))
        by_advice: dict[str, list[Markup]] = defaultdict(list)
        for number, one in losses:
            links = (
                self._to_line("source", one.source_line, "source"),
                self._to_line("target", one.target_line, "translation"),
            )
            linked = one.loss.place.endswith(f":{one.source_line}")
            place = "" if linked or not one.loss.place else tag("code", one.loss.place)
            text = (one.loss.what, " ", place, " ", *links)
            by_advice[one.loss.advice].append(tag("li", *text, id=f"{self.id}l{number}"))
        for advice, places in by_advice.items():
            yield tag("p", tag("strong", "To do: "), advice, class_="advice") if advice else ""
            yield tag("ul", *places)

    def _to_line(self, file: str, line: int, text: str) -> Markup:
        if not 0 < line <= self._text(file).count("\n") + 1:
            return Markup()
        return tag("a", f"{text} line {line}", href=f"#{self.id}{file[0]}{line}", class_="place")

    def _text(self, file: str) -> str:
        return self.entry.source.text if file == "source" else self.entry.outcome.text

    def _graph(self) -> Iterator[Markup]:
        drawn = self.entry.graph
        if drawn.nodes:
            label = f"Graph of {self.entry.name} to {self.entry.target}"
            yield tag("h4", "Graph")
            yield _scrollable(label, Markup(inline_svg(drawn)), class_="graph")
            yield tag("p", f"{LEGEND}; orange: something changes or is missing", class_="facts")

    def _files(self) -> Iterator[Markup]:
        entry = self.entry
        source: dict[int, list[Note]] = defaultdict(list)
        target: dict[int, list[Note]] = defaultdict(list)
        for number, (finding, line) in enumerate(entry.findings):
            source[line].append((finding.severity, finding.code, f"{self.id}f{number}"))
        for number, one in enumerate(entry.losses):
            note = (one.loss.severity, one.loss.code, f"{self.id}l{number}")
            source[one.source_line].append(note)
            target[one.target_line].append(note)
        read = f"{_NAMES[entry.assessment.format]}: {entry.assessment.source}"
        panes = [
            *self._pane("source", read, source),
            *self._pane("target", f"Translation: {_NAMES[entry.target]}", target),
        ]
        if panes:
            yield tag("h4", "Source and translation")
            yield tag("div", *panes, class_="files")

    def _pane(self, file: str, title: str, notes: Mapping[int, Sequence[Note]]) -> Iterator[Markup]:
        """A file with line numbers, if there is one."""
        if text := self._text(file):
            code = tag("code", *_lines(text, f"{self.id}{file[0]}", notes))
            label = f"{file} of {self.entry.name} to {self.entry.target}"
            yield tag("div", tag("h5", title), _scrollable(label, code, element="pre"))


def _lines(text: str, prefix: str, notes: Mapping[int, Sequence[Note]]) -> Iterator[Markup]:
    """One element per line. A line with notes has an id, and a link to each note."""
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        shown = line.expandtabs(4)
        if number not in notes:
            yield tag("span", shown)
            continue
        own = sorted(notes[number], key=lambda one: _RANK[one[0]])
        codes = {(severity, code): there for severity, code, there in reversed(own)}
        links = [
            tag("a", code, href=f"#{there}", class_=f"note {severity}")
            for (severity, code), there in reversed(codes.items())
        ]
        yield tag("span", shown, *links, id=f"{prefix}{number}", class_=f"mark {own[0][0]}")


_RANK = {name: rank for rank, name in enumerate(("error", "dropped", "changed", "warning", "info"))}


def _badge(word: str) -> Markup:
    return tag("span", word, class_=f"badge {_CLASSES.get(word, word)}")


def _number(number: int) -> Markup:
    return tag("td", number, class_="number" if number else "number none")


def _row(cell: str, *texts: str, **attributes: str) -> Markup:
    return tag("tr", *(tag(cell, text, **attributes) for text in texts))


def _table(label: str, head: Markup, rows: Sequence[Markup]) -> Markup:
    caption = tag("caption", label, class_="hidden")
    table = tag("table", caption, tag("thead", head), tag("tbody", *rows))
    return _scrollable(label, table, class_="table")


def _scrollable(label: str, content: Markup, element: str = "div", class_: str = "code") -> Markup:
    """A part that scrolls on its own, with the keyboard too."""
    return tag(
        element, content, class_=f"{class_} scroll", tabindex="0", role="group", aria_label=label
    )
