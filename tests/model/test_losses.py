"""Every code of a loss is in the table, and docs/losses.md is that table."""

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

What a translation cannot carry is a loss: a line on standard error, an entry of `--losses FILE`,
and in a generated Python file a comment `# sagebridge: CODE: …` at the step concerned. A loss has a
code, a severity, its place in the source (a JSON pointer or `file:line`), what it is, for which
target, and what to do.

| severity | means | `--fail-on-loss` | grade of `assess` |
|---|---|---|---|
| `info` | said in another way, or made anew; nothing is missing | does not count | exact |
| `changed` | it means another thing there, or is kept without being known | counts | changed |
| `dropped` | the target does not have it at all | counts | needs manual work |

A step type that sagebridge knows is no loss where it cannot run yet: the file says all of it, and
its task fails with one clear error.

Codes are stable; scripts may look for them. `pytest tests/model/test_losses.py --update-golden`
makes this page.

| code | what it is |
|---|---|
"""


def page() -> str:
    return HEAD + "".join(f"| `{code}` | {meaning} |\n" for code, meaning in CODES.items())


def test_the_page_is_fresh(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--update-golden"):
        FILE.write_text(page())
    assert FILE.read_text() == page()


def codes_used() -> Iterator[tuple[str, str]]:
    """The file and code of each ``Loss("code", …)`` in the source."""
    for file in (ROOT / "adapters").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            match node:
                case ast.Call(func=ast.Name("Loss"), args=[ast.Constant(str(code)), *_]):
                    yield file.name, code


def test_every_code_is_in_the_table() -> None:
    used = list(codes_used())
    assert used
    assert [one for one in used if one[1] not in CODES] == []
    assert list(CODES) == sorted(CODES)


def test_information_does_not_count() -> None:
    losses = [Loss("c", severity, "", "w", "t") for severity in ("info", "changed", "dropped")]
    assert counted(losses) == tuple(losses[1:])


def test_a_loss_as_text() -> None:
    loss = Loss("c", "changed", "/Steps/0", "what", "airflow", "do this")
    assert str(loss) == "/Steps/0: changed: what [c]; do this"
    assert str(Loss("c", "info", "", "what", "airflow")) == "info: what [c]"
