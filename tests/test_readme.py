"""The README's blocks that a command made are what it prints now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sagebridge.cli import main

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(
    r"(?<=```console\n)\$ sagebridge (?P<words>assess .+)\n(?P<printed>(?:.*\n)*?)(?=```)"
)


def test_what_assess_prints(
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    text = README.read_text()
    block = BLOCK.search(text)
    assert block, "the README has no block of sagebridge assess"
    assert main(block["words"].split()) == 0
    printed = capsys.readouterr().out
    if pytestconfig.getoption("--update-golden"):
        README.write_text(text[: block.start("printed")] + printed + text[block.end("printed") :])
        return
    assert block["printed"] == printed, "pytest tests/test_readme.py --update-golden renews it"
