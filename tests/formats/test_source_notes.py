"""Written files keep the docstring, the order and the comments of their source."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

import pytest

from sagebridge.formats.airflow import writer as airflow_writer
from sagebridge.formats.prefect import writer as prefect_writer
from sagebridge.formats.python.source_comments import notes_of
from sagebridge.formats.python.statement_text import built_text, statement_text
from sagebridge.model.code_steps import PYTHON, SHELL, PythonStep, ShellStep, call_arguments
from sagebridge.model.expressions import Join, Template, template
from sagebridge.model.functions import Function
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge.model.source_notes import SourceNotes
from sagebridge.model.values import ABSENT, freeze

WRITERS = [airflow_writer.write, prefect_writer.write]

SOURCE = '''"""Nightly load."""

import os


# carried with its function
def load():
    # in the function
    return os.getcwd()


# the DAG
with DAG("d", schedule=None):  # nightly
    # Read first.

    # noqa: ERA001
    first = BashOperator(
        task_id="first",
        retries=3,  # the source is slow
    )
    for name in ("a", "b"):
        # both
        second = BashOperator(task_id=name)
    third = PythonOperator(task_id="third", python_callable=load)
    # whatever happened
    first >> second >> third
    # sagebridge: loss: of an earlier translation
'''


def test_comments_belong_to_the_step_of_their_statement() -> None:
    lines = {"first": 17, "a": 23, "b": 23, "third": 24}
    notes = notes_of(SOURCE, 13, lines)
    assert notes.docstring == "Nightly load."
    assert notes.comments == freeze(
        {
            "": ["# the DAG", "# nightly"],
            "first": ["# Read first.", "# the source is slow"],
            "a": ["# both"],
            "third": ["# whatever happened"],
        }
    )
    assert [name for name in notes.names if name in ("load", "first", "third")] == [
        "load",
        "first",
        "third",
    ]


MISPLACED = """# [START header]
with DAG(
    "d",
    # for every task
    default_args={
        # "queue": "slow",
        "retries": 1,
    },
    # The bank is slow.
    schedule=None,
):
    # [END header]
    # [START first]
    first = BashOperator(task_id="first")
    # [END first]
    last = BashOperator(task_id="last")
    other = BashOperator(task_id="other")

    # first decides
    first >> [last, other]
    # optional
    first >> Label("yes") >> last
    # of nothing
    print(last)
"""


def test_comments_of_other_statements_are_left_out() -> None:
    notes = notes_of(MISPLACED, 2, {"first": 14, "last": 16, "other": 17})
    assert notes.comments == freeze({"": ["# The bank is slow."]})


def test_markers_of_excerpts_are_not_carried_with_a_function() -> None:
    source = "# [START f]\n# why\ndef f():\n    return 1\n# [END f]\n"
    (node,) = ast.parse(source).body
    assert statement_text(node, source) == "# why\ndef f():\n    return 1"


def _pipeline(notes: SourceNotes) -> Pipeline:
    later = Function("later", "def later():\n    return 2")
    early = Function("early", "", module="LIMIT = 3\n\n\ndef early():\n    return LIMIT")
    steps = [
        PythonStep.of(Step(one.name, PYTHON, freeze(call_arguments((), {}))), one)
        for one in (later, early)
    ]
    command = ShellStep.of(Step("show", SHELL, freeze({"command": "date\nuptime | sort\n"})))
    return Pipeline("p", (*steps, command), description="What it does.\n", notes=notes)


@pytest.mark.parametrize("write", WRITERS)
def test_written_files_have_the_notes(write: Any) -> None:
    comments = {"": ["# all of it"], "early": ["# why\n#  and more"]}
    names = ("LIMIT", "early", "later")
    text, _ = write(_pipeline(SourceNotes("What it does.\n", names, comments)))
    assert ast.get_docstring(ast.parse(text), clean=False) == "What it does.\n"
    assert "description=__doc__" in text
    assert text.index("LIMIT = 3") < text.index("def early") < text.index("def later")
    assert "# all of it\n" in text
    assert "    # why\\n#  and more\n    " in text
    assert "p: a" in text
    assert '"""date\nuptime | sort\n"""' in text


def test_flow_files_leave_out_what_they_do_not_need() -> None:
    pipeline = _pipeline(SourceNotes())
    text = prefect_writer.write(pipeline)[0]
    assert "def p():\n" in text
    assert '"""p."""' not in text
    # Prefect would show the description None for a deployment.
    assert '"""p."""' in prefect_writer.write(replace(pipeline, description=ABSENT))[0]
    assert "on_cancellation=[stop_jobs], on_crashed=[stop_jobs]" in " ".join(text.split())


@pytest.mark.parametrize("write", WRITERS)
def test_files_without_notes_have_the_docstring_of_sagebridge(write: Any) -> None:
    text, _ = write(_pipeline(SourceNotes()))
    docstring = ast.get_docstring(ast.parse(text), clean=False) or ""
    assert docstring.startswith("p: a")
    assert notes_of(text, 1, {}).docstring == ""


@pytest.mark.parametrize(
    "text",
    [
        "s3://b/{{ ds }}/{{ ti.xcom_pull('a') }}",
        "{{ ds }}",
        "no expression",
        "{{ '{{' }} or {{ ds }}",
        "{% if x %}a{% endif %} {{ ds }}",
        "a {{- ds }}",
        "{{ ds }} {{ {'a': 1}['a'] }}",
    ],
)
def test_templates_in_a_text_are_those_that_jinja_finds(text: str) -> None:
    found = template(text)
    parts = found.values if isinstance(found, Join) else (found,)
    assert "".join(one.text if isinstance(one, Template) else str(one) for one in parts) == text
    is_split = text.startswith("s3:")
    assert isinstance(found, Join) == is_split


def test_functions_built_from_statements_keep_their_text() -> None:
    source = """
def flow():
    # the newest first
    names = sorted(found, key=lambda one: one["day"],
                   reverse=True)
    names[0] = "x"
"""
    (flow,) = ast.parse(source).body
    assert isinstance(flow, ast.FunctionDef)
    arguments = ast.arguments([], [ast.arg("found")], None, [], [], None, [])
    end = ast.Return(ast.Name("names", ast.Load()))
    built = ast.FunctionDef("names", arguments, [*flow.body, end], [], None)
    built.type_params = []  # type: ignore[attr-defined, unused-ignore] # Python 3.12
    lines = source.splitlines()[2:]
    assert built_text(built, source).splitlines() == [
        "def names(found):",
        *lines,
        "    return names",
    ]
    assert built_text(built, "another = 1\n" * 9).splitlines()[-2:] == [
        "    names[0] = 'x'",
        "    return names",
    ]
