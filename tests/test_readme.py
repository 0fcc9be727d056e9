"""The README's examples work, and the links of all pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sagebridge.cli import main

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "pipelines/*/*.md")
    for path in ROOT.glob(pattern)
)
ASSESS_BLOCK = re.compile(
    r"(?<=```console\n)\$ sagebridge (?P<arguments>assess .+)\n(?P<output>(?:.*\n)*?)(?=```)"
)
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_assess_prints_the_block_in_the_readme(
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    text = README.read_text()
    block = ASSESS_BLOCK.search(text)
    assert block, "the README has no block of sagebridge assess"
    assert main(block["arguments"].split()) == 0
    printed = capsys.readouterr().out
    if pytestconfig.getoption("--update-golden"):
        README.write_text(text[: block.start("output")] + printed + text[block.end("output") :])
        return
    assert block["output"] == printed, "run pytest tests/test_readme.py --update-golden"


def test_python_blocks_of_the_readme_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = PYTHON_BLOCK.findall(README.read_text())
    assert blocks
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", page.read_text())):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"
