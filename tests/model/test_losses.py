"""The table of loss codes is complete, and docs/losses.md is up to date."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagebridge.model.losses import CODES, Loss, counted

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "docs" / "losses.md"
HEAD = """\
# Losses

A loss is anything that a translation cannot carry. Each loss is a line on standard error, an entry
of `--losses FILE`, and in a generated Python file a comment `# sagebridge: CODE: …` at the step. It
has a code, a severity, a location in the source (a JSON pointer or `file:line`), a description, the
target, and advice.

| severity | meaning | `--fail-on-loss` | grade of `assess` |
|---|---|---|---|
| `info` | expressed differently, or created again; nothing is missing | does not count | exact |
| `changed` | has another meaning there, or is unknown and kept unchanged | counts | changed |
| `dropped` | the target does not have it | counts | needs manual work |

Findings of `validate` are not losses. `translate` prints them next to the losses, adds them to
`--losses FILE` as `findings`, and writes the pipeline unchanged. In `assess` an error is graded
`needs manual work`, because SageMaker or `run` rejects the pipeline until you correct it. Step
types, functions, variables and conditions unknown to sagebridge are graded `changed`. Warnings do
not change the grade.

A known step type that cannot run yet is not a loss: the file contains all of it. `translate` prints
a warning, and each execution of the file is rejected before its first job.

Codes are stable, so scripts can search for them. `pytest tests/model/test_losses.py
--update-golden` writes this page.

| code | meaning |
|---|---|
"""


def page() -> str:
    return HEAD + "".join(f"| `{code}` | {meaning} |\n" for code, meaning in CODES.items())


def test_page_is_up_to_date(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--update-golden"):
        FILE.write_text(page())
    assert FILE.read_text() == page()


def codes_used() -> Iterator[tuple[str, str]]:
    """The file name and code of each ``Loss("code", …)`` in the source."""
    for file in (ROOT / "adapters").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            match node:
                case ast.Call(func=ast.Name("Loss"), args=[ast.Constant(str(code)), *_]):
                    yield file.name, code


def test_table_has_every_code() -> None:
    used = list(codes_used())
    assert used
    assert [one for one in used if one[1] not in CODES] == []
    assert list(CODES) == sorted(CODES)


def test_info_is_not_counted() -> None:
    losses = [Loss("c", severity, "", "w", "t") for severity in ("info", "changed", "dropped")]
    assert counted(losses) == tuple(losses[1:])


def test_loss_as_a_string() -> None:
    loss = Loss("c", "changed", "/Steps/0", "what", "airflow", "do this")
    assert str(loss) == "/Steps/0: changed: what [c]; do this"
    assert str(Loss("c", "info", "", "what", "airflow")) == "info: what [c]"
