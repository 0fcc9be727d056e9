"""SDK pipelines in Python files: found by name, called with arguments, quiet."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import sagebridge
from sagebridge.authoring.python_files import sdk_pipelines
from sagebridge.cli import main
from sagebridge.errors import SourceError

SDK = """\
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow import pipeline as module

direct = Pipeline(name="a")
annotated: Pipeline = module.Pipeline(name="b")
other = Processor()

def get_pipeline(region, role=None, *, bucket, kms=None):
    made = Pipeline(name="c")
    return made

def returned():
    return module.Pipeline(name="d")

def declared() -> "Pipeline": ...

def helper():
    return 1

called = returned()
"""
FAKE = """\
import os, sys

print("building")
os.write(1, b"written\\n")

class Pipeline:
    def __init__(self, name, message):
        self.name, self.message = name, message
    def definition(self):
        print("compiling")
        step = {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": self.message}}
        return {"Version": "2020-12-01", "Steps": [step]}

def get_pipeline(region, count: int = 1, fast=False, share: "float" = 0.5):
    print("called")
    return Pipeline("made", repr((region, count, fast, share)))

pipeline = Pipeline("ready", "constant")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.py"
    path.write_text(FAKE)
    return path


def test_pipelines_of_an_sdk_file_are_found_without_executing_it() -> None:
    assert sdk_pipelines(ast.parse(SDK)) == [
        "direct",
        "annotated",
        "called",
        "get_pipeline --arg region=VALUE --arg bucket=VALUE",
        "returned",
        "declared",
    ]
    assert sdk_pipelines(ast.parse(SDK.replace("sagemaker", "kfp"))) == []


@pytest.mark.parametrize("format", [None, "sagemaker"])
def test_sdk_file_without_a_name_lists_its_pipelines(format: str | None, file: Path) -> None:
    file.write_text("from sagemaker.workflow.pipeline import Pipeline\np = Pipeline('a')\n")
    with pytest.raises(SourceError, match=r"; name its pipeline: .*pipeline\.py:p$"):
        sagebridge.read(str(file), format)


def test_output_of_an_sdk_file_goes_to_standard_error(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", f"{file}:pipeline", "--format", "json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["name"] == "ready"
    assert all(word in err for word in ("building", "written", "compiling"))


def message_of(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """The message of the only step of the pipeline that a command reads, or its error."""
    main(["translate", "--to", "sagemaker", *words])
    out, err = capfd.readouterr()
    if not out:
        return err.splitlines()[-1]
    return str(json.loads(out)["Steps"][0]["Arguments"]["ErrorMessage"])


def test_function_gets_arguments_in_their_types(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = f"{file}:get_pipeline"
    given = ("--arg", "region=eu=1", "--arg", "count=3", "--arg", "fast=true", "--arg", "share=1")
    assert message_of(capfd, source, *given) == "('eu=1', 3, True, 1.0)"
    assert message_of(capfd, source, "--arg", "region=x") == "('x', 1, False, 0.5)"


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("get_pipeline", [], "the function needs region; set it with --arg region=VALUE"),
        ("get_pipeline", ["regoin=x"], "the function has no argument 'regoin'; it has region,"),
        ("get_pipeline", ["region=x", "count=y"], "--arg count=y: expected a value of type int"),
        ("get_pipeline", ["region"], "--arg region: expected NAME=VALUE"),
        ("pipeline", ["region=x"], "it is not a function, so it has no arguments; omit --arg"),
    ],
)
def test_wrong_arguments_are_rejected(
    name: str,
    arguments: list[str],
    expected: str,
    file: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    options = [word for one in arguments for word in ("--arg", one)]
    assert expected in message_of(capfd, f"{file}:{name}", *options)
