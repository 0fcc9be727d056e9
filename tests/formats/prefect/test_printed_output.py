"""What a hand-written flow prints or logs."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import indent

import pytest

from sagebridge.formats.prefect.tracer import trace
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.pipeline import walk
from tests.formats.prefect.traced_flows import IMPORTS, TASKS

pytestmark = pytest.mark.prefect


def test_printed_results_are_steps_and_other_output_is_info(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        f"from prefect import get_run_logger\n{IMPORTS}{TASKS}@flow\ndef f(x: str):\n"
        "    logger = get_run_logger()\n"
        "    print('starts with', x)\n    logger.info('found %s', one(x))\n"
        "    rows = one(x)\n    print(f'{rows} of {x}')\n    two(rows)\n    rows.info('own')\n"
    )
    ((pipeline, losses),) = trace(file)
    assert [step.name for step in pipeline.steps] == [
        *("one", "info", "one-2", "print", "two", "info-2")
    ]
    info, printed = pipeline.step("info"), pipeline.step("print")
    assert isinstance(info, PythonStep)
    assert isinstance(printed, PythonStep)
    assert "logger.info('found %s', one_result)" in info.function.code
    assert "print(f'{rows} of {x}')" in printed.function.code
    assert [loss.what for loss in losses if loss.code == "output"] == [
        "print(): output of the flow body is not carried over"
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "if rows > 2:\n    print('many', rows)\nelif rows:\n    pass\nelse:\n    print(rows)",
        "if x:\n    if rows > 2:\n        log.info('%s', rows)\n    else:\n        pass",
        "for name in ('a', 'b'):\n    log.info('%s: %s', name, rows)",
        "with suppress(ValueError):\n    log.info('%s', rows)",
        "try:\n    log.info('%s', rows)\nexcept ValueError:\n    log.error('bad')",
        "match rows:\n    case 1:\n        print('one')\n    case _:\n        print('other')",
        "if True:\n    log.info('%s', rows)",
        "show(rows)",
    ],
)
def test_printed_results_keep_the_statements_around_them(tmp_path: Path, statement: str) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        f"import logging\nfrom contextlib import suppress\n{IMPORTS}{TASKS}"
        "log = logging.getLogger('shop')\n"
        "def show(rows):\n    log.info('%s rows', rows)\n"
        f"@flow\ndef f(x: str):\n    rows = one(x)\n{indent(statement, '    ')}\n"
    )
    ((pipeline, losses),) = trace(file)
    _, step = pipeline.steps
    assert isinstance(step, PythonStep)
    assert indent(ast.unparse(ast.parse(statement)), "    ") in step.function.code
    assert not [loss for loss in losses if loss.code == "output"]


@pytest.mark.parametrize(
    "statement",
    [
        "if x:\n    print(x)",
        "for name in ('a', 'b'):\n    print(name)",
        "with suppress(ValueError):\n    print(x)",
    ],
)
def test_printed_parameters_in_statements_are_info(tmp_path: Path, statement: str) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        f"from contextlib import suppress\n{IMPORTS}{TASKS}"
        f"@flow\ndef f(x: str):\n    one(x)\n{indent(statement, '    ')}\n"
    )
    ((pipeline, losses),) = trace(file)
    assert [step.name for step in pipeline.steps] == ["one"]
    assert [loss.code for loss in losses] == ["output"]


def test_printed_texts_of_results_and_items_are_steps(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        f"{IMPORTS}{TASKS}@task\ndef count(x: str) -> int:\n    return len(x)\n"
        "@flow\ndef f(x: str):\n    said = f'{count(x)} rows'\n    print(said)\n"
        "    for item in one(x):\n        two(item)\n        print(item)\n"
    )
    ((pipeline, losses),) = trace(file)
    names = [step.name for step in walk(pipeline)]
    assert [name for name in names if name.startswith("print")] == ["print", "print-2"]
    assert not [loss for loss in losses if loss.code == "output"]


def test_printing_loop_sets_its_variable(tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text(
        f"{IMPORTS}{TASKS}@flow\ndef f(x: str):\n"
        "    for name in ('a', 'b'):\n        print(name)\n    one(name)\n"
    )
    ((pipeline, _),) = trace(file)
    first, second = pipeline.steps
    assert (first.name, second.name) == ("name", "one")
