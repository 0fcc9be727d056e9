"""JSON and YAML files of other tools, which are named and skipped in a folder; and limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sagebridge
from sagebridge.assessment import assess
from sagebridge.authoring.json_document import MAX_BYTES, MAX_REFERENCE
from sagebridge.errors import SourceError
from sagebridge.terminal.source_files import expand

PIPELINE = '{"Version": "2020-12-01", "Steps": []}'
FOREIGN = {
    "deployments.json": ('{"prefect-version": "3.0.0"}', "a Prefect deployment file"),
    "factory.yml": ("dag:\n  tasks:\n    a: {operator: x.BashOperator}\n", "a dag-factory file"),
    "serverless.yaml": (
        "etl:\n  dag_id: etl\n  tasks:\n  - {task_id: a, operator: x.S3Operator}\n",
        "a dag-factory file (YAML DAGs, also the format of MWAA Serverless)",
    ),
    "compose.yaml": ("services:\n  a: {image: b}\n", "a Docker Compose file"),
    "machine.json": ('{"StartAt": "A", "States": {}}', "an Amazon States Language definition"),
}
OTHER = {
    "data.json": '{"rows": [1]}',
    "list.json": "[1, 2]",
    "values.yaml": "a: 1\n",
    "sdk.py": "from sagemaker.workflow.pipeline import Pipeline\np = Pipeline('a')\n",
    "helper.py": "import json\n",
    "prefect.yaml": "deployments:\n- name: a\n  entrypoint: f.py:f\n",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_file_of_another_tool_is_named_for_what_it_is(name: str, tmp_path: Path) -> None:
    text, kind = FOREIGN[name]
    file = tmp_path / Path(name).name
    file.write_text(text)
    with pytest.raises(SourceError) as error:
        sagebridge.read(file)
    assert str(error.value).startswith(f"{file}: {kind}")
    assert "; sagebridge does not read it" in str(error.value)
    (one,) = assess([str(file)], ["airflow"])
    assert one.outcomes["airflow"].codes == ("not-a-pipeline",)


def test_other_files_of_a_folder_are_skipped_with_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ok.json").write_text(PIPELINE)
    (tmp_path / "broken.json").write_text('{"Steps": [')
    for name, text in (*((name, text) for name, (text, _) in FOREIGN.items()), *OTHER.items()):
        (tmp_path / Path(name).name).write_text(text)
    found = [Path(file).name for file in expand([str(tmp_path)])]
    assert found == ["broken.json", "ok.json"]
    lines = capsys.readouterr().err.splitlines()
    skipped = {Path(line.partition(": skipped: ")[0]).name for line in lines}
    assert skipped == {Path(name).name for name in (*FOREIGN, *OTHER)} - {"helper.py"}
    assert any(line.endswith("sdk.py:p") for line in lines)


def test_folder_without_pipelines_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"rows": []}')
    with pytest.raises(SourceError, match="no pipeline files in this folder"):
        expand([str(tmp_path)])


def with_argument(value: object) -> str:
    step = {"Name": "A", "Type": "Lambda", "Arguments": {"x": value}, "FunctionArn": "f"}
    return json.dumps({"Version": "2020-12-01", "Steps": [step]})


@pytest.mark.parametrize(
    "value",
    [
        {"Get": "Parameters." + "a" * MAX_REFERENCE},
        {"Get": "Steps.B" + ".a" * MAX_REFERENCE},
        {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.B"}, "Path": "a." * MAX_REFERENCE}},
    ],
)
def test_very_long_reference_is_rejected(value: object) -> None:
    with pytest.raises(SourceError, match=r"a reference has \d+ characters: .*; the limit is 4096"):
        sagebridge.read(with_argument(value))


def test_reference_within_the_limit_and_long_strings_are_read() -> None:
    path = "Parameters.".ljust(MAX_REFERENCE, "a")
    value = {"a": {"Get": path}, "Path": "b" * 10_000, "Get": "c" * 10_000}
    pipeline = sagebridge.read(with_argument(value)).pipeline
    written = json.loads(sagebridge.write(pipeline, "sagemaker").text)
    assert written["Steps"][0]["Arguments"]["x"] == value


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".py"])
def test_very_large_file_is_rejected_without_reading_it(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"large{suffix}"
    with file.open("wb") as sparse:
        sparse.truncate(MAX_BYTES * 1000)
    with pytest.raises(SourceError, match=r"is larger than 16 MiB, the limit for a source"):
        sagebridge.read(str(file))


def test_device_without_end_is_rejected() -> None:
    with pytest.raises(SourceError, match="is larger than 16 MiB"):
        sagebridge.read("/dev/zero")


def test_json_text_is_a_source_of_commands(tmp_path: Path) -> None:
    text = f"{with_argument('x')}{' ' * 5000}"
    assert expand([text]) == [text]
    (one,) = assess([text], ["airflow"])
    assert (one.source, one.outcomes["airflow"].grade) == ("<text>", "exact")
    name = "a" * 5000 + ".json"
    assert expand([name]) == [name]
    with pytest.raises(SourceError, match="cannot be opened: File name too long") as error:
        sagebridge.read(name + "#b")
    assert len(str(error.value)) < 400
