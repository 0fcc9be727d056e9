"""The report: complete, self-contained, escaped, accessible, and the same as JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

import sagebridge.report
from sagebridge.assessment import assess
from sagebridge.cli import main
from sagebridge.model.display import printable
from sagebridge.report.entries import as_json
from sagebridge.report.markup import tag
from sagebridge.report.page import page
from tests.strategies import TEXT

CHECKOUT = Path(__file__).parent.parent
SCHEMA = json.loads((CHECKOUT / "docs" / "report.schema.json").read_text())
STYLES = (Path(sagebridge.report.__file__).parent / "report.css").read_text()
VOID = {"meta"}
HOSTILE = "<script>alert(1)</script>]]>--></style>\"'&\u202e\u200fx"

DAG = """\
from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset

with DAG("nightly", schedule="@daily", start_date=datetime(2025, 1, 1), catchup=True) as dag:
    first = BashOperator(task_id="first", bash_command="true")
    second = BashOperator(
        task_id="second",
        bash_command="true",
        outlets=[Asset("s3://bucket/table")],
    )
    first >> second
"""


class Element:
    def __init__(self, name: str, attributes: dict[str, str | None]) -> None:
        self.name, self.attributes = name, attributes
        self.children: list[Element | str] = []

    def all(self, *names: str) -> list[Element]:
        """The elements with these names, or all, in the order of the page."""
        inner = [one for one in self.children if isinstance(one, Element)]
        found = [self] if not names or self.name in names else []
        return [*found, *(each for one in inner for each in one.all(*names))]

    @property
    def text(self) -> str:
        return "".join(one if isinstance(one, str) else one.text for one in self.children)

    def __getitem__(self, name: str) -> str:
        return self.attributes.get(name) or ""


class Page(HTMLParser):
    """A parsed page. Fails for elements that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.stack = [self.root]
        self.feed(text)
        self.close()
        assert self.stack == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.stack[-1].children.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop().name == tag

    def handle_data(self, data: str) -> None:
        self.stack[-1].children.append(data)

    @property
    def by_id(self) -> dict[str, Element]:
        every = [one for one in self.root.all() if one["id"]]
        found = {one["id"]: one for one in every}
        assert len(found) == len(every), "an id is not unique"
        return found


def definition(folder: Path, name: str, *steps: dict[str, Any]) -> str:
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"Version": "2020-12-01", "Steps": steps}))
    return str(file)


def step(name: str, **members: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Lambda", "FunctionArn": "f", **members}


@pytest.fixture(scope="module")
def of_corpus() -> tuple[list[Any], str]:
    from tests.conftest import find_corpus

    files = sorted(map(str, find_corpus()[0].glob("*.json")))
    found = list(assess(files, ("airflow",)))
    return found, page(found)


@pytest.fixture(scope="module")
def of_dag(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], Page]:
    folder = tmp_path_factory.mktemp("report")
    (folder / "nightly.py").write_text(DAG)
    broken = folder / "broken.json"
    broken.write_text('{"Steps": [')
    sources = [definition(folder, "small", step("A")), str(folder / "nightly.py"), str(broken)]
    found = list(assess(sources, ("prefect",)))
    return found, Page(page(found))


def test_page_of_the_corpus_is_small_and_self_contained(of_corpus: tuple[list[Any], str]) -> None:
    found, text = of_corpus
    assert len(text.encode()) < 2_000_000
    shown = Page(text)
    names = {one.name for one in shown.root.all()}
    assert names.isdisjoint(("script", "link", "iframe", "img", "object", "embed", "base", "form"))
    policy = next(one for one in shown.root.all("meta") if one["http-equiv"])
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    ids = shown.by_id
    for element in shown.root.all():
        assert not any(name.startswith("on") for name in element.attributes)
        assert not set(element.attributes) & {"src", "srcset", "action", "xlink:href"}
        if "href" in element.attributes:
            assert element["href"].removeprefix("#") in ids
    assert re.findall(r"url\((.*?)\)|@import", STYLES) == ["#arrow"]
    for one in found:
        assert f"<h3>{one.pipeline}</h3>" in text


def test_page_is_deterministic(tmp_path: Path) -> None:
    source = definition(tmp_path, "a", step("A"), step("B", DependsOn=["A"], Type="Athena"))
    command = [sys.executable, "-m", "sagebridge.cli", "assess", source, "--as", "html"]
    runs = [
        subprocess.run(
            command,
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "12"
    ]
    assert runs[0] == runs[1]
    assert b"Athena" in runs[0]


def test_strings_of_a_definition_are_escaped(tmp_path: Path) -> None:
    steps = (step(HOSTILE), step("B", DependsOn=[HOSTILE], Type=HOSTILE, Note=HOSTILE))
    file = Path(definition(tmp_path, "a", *steps))
    named = tmp_path / "<b onclick=x>&.json"
    named.write_text(json.dumps({"PipelineName": HOSTILE, "PipelineDefinition": file.read_text()}))
    text = page(list(assess([str(file), str(named)])))
    shown = Page(text)
    assert {one.name for one in shown.root.all()} & {"script", "b"} == set()
    assert text.count("<style>") == text.count("</style>") == 1
    assert "\u202e" not in text
    assert "\u200f" not in text
    assert printable(HOSTILE) in [one.text for one in shown.root.all("text")]
    assert printable(HOSTILE) in [one.text for one in shown.root.all("h3")]


@given(TEXT)
@settings(deadline=None)
def test_markup_shows_any_string(text: str) -> None:
    (element,) = Page(tag("p", text, title=text)).root.all("p")
    assert element.text == element["title"] == printable(text)


def test_pipelines_are_sorted_worst_first(of_dag: tuple[list[Any], Page]) -> None:
    table = of_dag[1].root.all("table")[0]
    rows = [[cell.text for cell in row.all("th", "td")] for row in table.all("tr")]
    assert rows[0] == [
        "Pipeline",
        "Grade",
        "Steps",
        "dropped",
        "changed",
        "info",
        "From",
        "To",
    ]
    assert [(row[0].rpartition("/")[2], row[1]) for row in rows[1:]] == [
        ("nightly", "needs manual work"),
        ("broken.json", "needs manual work"),
        ("small", "exact"),
    ]
    assert rows[1][2:] == ["2", "1", "1", "1", "Airflow", "Prefect"]
    opened = [("open" in one.attributes) for one in of_dag[1].root.all("details")]
    assert opened == [True, True, False]


def test_losses_are_grouped_with_the_worst_first(of_dag: tuple[list[Any], Page]) -> None:
    section = of_dag[1].root.all("details")[0]
    work = next(one for one in section.all("ul") if one["class"] == "work")
    groups = [one for one in work.children if isinstance(one, Element)]
    heads = [" ".join(part.text for part in one.all("span", "code")[:2]) for one in groups]
    assert heads == ["dropped asset", "changed schedule", "info schedule"]
    assert "To do: start the DAGs that wait for these assets yourself" in groups[0].text


def test_losses_and_lines_are_linked_both_ways(of_dag: tuple[list[Any], Page]) -> None:
    section, ids = of_dag[1].root.all("details")[0], of_dag[1].by_id
    (loss,) = (one for one in section.all("li") if one["id"] and "outlets" in one.text)
    source, target = (ids[link["href"].removeprefix("#")] for link in loss.all("a"))
    assert source.text.strip().startswith("second = BashOperator(")
    assert target.text.strip().startswith("# sagebridge: asset: task second")
    for line in (source, target):
        assert "dropped" in line["class"]
        assert f"#{loss['id']}" in [link["href"] for link in line.all("a")]
    assert "⚠ asset" in [one.text for one in section.all("text")]


def test_lines_of_the_panes_are_those_of_the_files(of_dag: tuple[list[Any], Page]) -> None:
    found, shown = of_dag
    panes = shown.root.all("details")[0].all("pre")
    texts = [DAG, found[1].outcomes["prefect"].text]
    for pane, text, side in zip(panes, texts, "st", strict=True):
        lines = pane.all("span")
        own = ["".join(part for part in one.children if isinstance(part, str)) for one in lines]
        assert own == text.removesuffix("\n").split("\n")
        for number, line in enumerate(lines, 1):
            assert line["id"] in ("", f"p1{side}{number}")


@pytest.mark.parametrize("wrapped", [False, True])
def test_compact_definitions_are_reformatted(wrapped: bool, tmp_path: Path) -> None:
    file = Path(definition(tmp_path, "a", step("A"), step("Odd", Type="Athena")))
    if wrapped:
        request = {"PipelineName": "a", "PipelineDefinition": file.read_text()}
        file.write_text(json.dumps(request))
    (found,) = as_json(list(assess([str(file)], ("airflow",))))["pipelines"]
    (loss,) = found["targets"]["airflow"]["losses"]
    line = found["text"].split("\n")[loss["source_line"] - 1]
    assert line.strip().rstrip(",") == '"Type": "Athena"'
    target = found["targets"]["airflow"]["text"].split("\n")[loss["target_line"] - 1]
    assert "# sagebridge: unknown-step-type: step 'Odd'" in target


def test_json_matches_its_schema(
    of_corpus: tuple[list[Any], str], of_dag: tuple[list[Any], Page]
) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for found in (of_corpus[0], of_dag[0], []):
        jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(as_json(found))))
    assert SCHEMA["title"] == as_json([])["schema"]


def test_translate_writes_a_report(tmp_path: Path, capsys: Any) -> None:
    sources = tmp_path / "in"
    sources.mkdir()
    definition(sources, "good", step("A"))
    definition(sources, "odd", step("B", Type="Athena"))
    (sources / "broken.json").write_text('{"Steps": [')
    reports = [tmp_path / "deep" / "report.html", tmp_path / "report.json"]
    for report in reports:
        options = ["--to", "prefect", "-o", f"{tmp_path}/out/", "--report", str(report)]
        assert main(["translate", str(sources), *options, "--fail-on-loss"]) == 5
    assert not (tmp_path / "out" / "odd.py").exists()
    assert capsys.readouterr().out == ""
    found = json.loads(reports[1].read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    grades = {
        one["source"].rpartition("/")[2]: one["targets"]["prefect"] for one in found["pipelines"]
    }
    assert {name: one["grade"] for name, one in grades.items()} == {
        "broken.json": "needs manual work",
        "good.json": "exact",
        "odd.json": "changed",
    }
    assert grades["good.json"]["text"] == (tmp_path / "out" / "good.py").read_text()
    assert "cut off" in grades["broken.json"]["error"]
    assert "1 exact" in Page(reports[0].read_text()).root.text


# Accessibility. `AXE=axe.min.js tools/screenshots.py airflow --only report` also runs axe-core.


def test_page_has_language_title_and_landmarks(of_dag: tuple[list[Any], Page]) -> None:
    root = of_dag[1].root
    assert root.all("html")[0]["lang"] == "en"
    assert root.all("title")[0].text == "Translation report: 3 pipelines to Prefect"
    for landmark in ("header", "main", "footer", "h1"):
        assert len(root.all(landmark)) == 1
    levels = [int(one.name[1]) for one in root.all("h1", "h2", "h3", "h4", "h5")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_pictures_and_links_have_names(of_dag: tuple[list[Any], Page]) -> None:
    root = of_dag[1].root
    assert all(one["scope"] in ("col", "row") for one in root.all("th"))
    assert all(one.all("caption")[0].text for one in root.all("table"))
    pictures = [one for one in root.all("svg") if not one["aria-hidden"]]
    assert pictures
    for picture in pictures:
        assert picture["role"] == "img"
        assert picture.all("title")[0].text.startswith("Steps of ")
        assert picture.all("desc")[0].text
        assert picture.all("a") == []
    assert all(one.text.strip() for one in root.all("a", "summary"))


def test_scrolling_parts_are_reached_with_the_keyboard(of_dag: tuple[list[Any], Page]) -> None:
    found = [one for one in of_dag[1].root.all() if "scroll" in one["class"].split()]
    assert {one.name for one in found} == {"div", "pre"}
    assert all(one["tabindex"] == "0" and one["role"] == "group" for one in found)
    labels = [one["aria-label"] for one in found]
    assert all(labels)
    assert len(set(labels)) == len(labels)


def colours() -> Iterator[dict[str, str]]:
    """The colours of the light and of the dark theme."""
    themes = re.findall(r":root \{(.*?)\}", STYLES, re.DOTALL)
    for theme in themes[:2]:
        yield dict(re.findall(r"--([\w-]+): (#\w+)", theme))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_enough_contrast() -> None:
    """WCAG AA: a ratio of 4.5 for text."""
    softs = ["exact-soft", "changed-soft", "manual-soft", "info-soft"]
    pairs = [(text, on) for text in ("text", "quiet", "link") for on in ("page", "card")]
    pairs += [(text, on) for text in ("text", "quiet", "loss") for on in (*softs, "box")]
    pairs += [(soft.removesuffix("-soft"), on) for soft in softs for on in (soft, "card")]
    themes = list(colours())
    assert len(themes) == 2
    for theme in themes:
        for text, on in pairs:
            light, dark = sorted((luminance(theme[text]), luminance(theme[on])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, on)
