"""The table of loss codes is complete, and docs/losses.md is up to date."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagebridge.model.losses import ADVICE, CODES, MISSED_SLOTS, Loss, counted, for_target

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "docs" / "losses.md"
HEAD = """\
# Losses

A loss is anything that a translation cannot carry. Each loss is a line on standard error and an
entry of `--losses FILE`. It has a code, a severity, a location in the source (a JSON pointer or
`file:line`), a description, the target, advice for that target, and the step that it is about, if
there is one.

A generated Python file has a comment `# sagebridge: CODE: …` for each loss: above its step, or
above the DAG or flow.

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

## Stubs

A stub takes the place of each dropped task, with its dependencies: a `StubOperator` in a DAG file,
`stub()` in a flow file, and a Fail step in a definition. When it runs, it fails with the reason,
the operator and the location of the task. It is never retried. In Python files it also quotes the
first lines of the task's source. A stub stays a stub in further translations, which report it as
`stub`.

Replace a stub with a step that does the work. With `--no-stubs` (in Python, `stubs=False`) dropped
tasks are left out: the tasks downstream of each depend on its upstream tasks, and references to its
result become parameters.

- In a definition no step can depend on a Fail step. The steps downstream of a dropped task
  therefore depend on its upstream steps, and references to its result become parameters. The Fail
  step still fails the execution.
- Python functions and shell commands that can be carried are dropped only from definitions.
- A task that runs only after a failure, or that no branch leads to, has no stub: in a pipeline it
  would never run.

## Codes

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


WORDS = {
    "sagemaker": ("SageMaker", "EventBridge", "ParallelismConfiguration"),
    "airflow": ("Airflow", "DAG", "on_failure_callback", "max_active_tasks"),
    "prefect": ("Prefect", "flow", "hook", "deployment", "ThreadPoolTaskRunner"),
}
"""Words that fit one target only."""


@pytest.mark.parametrize("target", WORDS)
@pytest.mark.parametrize("advice", ADVICE)
def test_advice_names_no_other_target(advice: str, target: str) -> None:
    given = Loss("operator", "dropped", "dag.py:1", "w", "pipeline", advice)
    if target not in ADVICE[advice]:
        assert for_target([given], target) == ()
        return
    (loss,) = for_target([given], target)
    assert loss.target == target
    assert loss.advice == ADVICE[advice][target]
    for other, words in WORDS.items():
        assert other == target or not [word for word in words if word in loss.advice]
        assert not [word for word in words if word in advice]


def test_losses_of_one_target_are_not_printed_for_others() -> None:
    missed = Loss("schedule", "info", "dag.py:1", "a missed slot", "pipeline", MISSED_SLOTS)
    plain = Loss("schedule", "info", "dag.py:1", "w", "pipeline")
    assert len(for_target([missed, plain], "sagemaker")) == 2
    assert [one.what for one in for_target([missed, plain], "prefect")] == ["w"]


def test_readers_leave_advice_about_targets_to_the_table() -> None:
    """Readers do not know the target. They may mention their source format."""
    foreign = {
        "airflow": (*WORDS["sagemaker"], *WORDS["prefect"][:1], *WORDS["prefect"][2:]),
        "prefect": (*WORDS["sagemaker"], *WORDS["airflow"]),
    }
    found = []
    for format_, words in foreign.items():
        for file in (ROOT / "adapters/sagebridge/formats" / format_).rglob("*.py"):
            for text in advice_in(ast.parse(file.read_bytes())):
                found += [(file.name, text) for word in words if word in text]
    assert found == []


def advice_in(tree: ast.Module) -> Iterator[str]:
    """The strings that are assigned to advice, or are the last of several for one loss."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=value) if "advice" in name.lower():
                yield from strings_in(value)
            case ast.Call(func=ast.Name("Unsupported" | "_option"), args=[_, _, _, advice]):
                yield from strings_in(advice)
            case ast.Call(func=ast.Attribute(attr="_drop" | "_report"), args=[*_, advice]):
                yield from strings_in(advice)


def strings_in(value: ast.expr) -> Iterator[str]:
    for node in ast.walk(value):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_info_is_not_counted() -> None:
    losses = [Loss("c", severity, "", "w", "t") for severity in ("info", "changed", "dropped")]
    assert counted(losses) == tuple(losses[1:])


def test_loss_as_a_string() -> None:
    loss = Loss("c", "changed", "/Steps/0", "what", "airflow", "do this")
    assert str(loss) == "/Steps/0: changed: what [c]; do this"
    assert str(Loss("c", "info", "", "what", "airflow")) == "info: what [c]"
