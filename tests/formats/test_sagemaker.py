"""Definitions come back as the same JSON; sources are opened or rejected with a reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sagebridge
from sagebridge.authoring.json_document import MAX_DEPTH, MalformedJson
from sagebridge.errors import SourceError
from sagebridge.formats.sagemaker.source import open_document, read
from sagebridge.model.graph import graph
from tests.strategies import canonical, definitions, mutated

SETTINGS = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SMALL: dict[str, Any] = {
    "Version": "2020-12-01",
    "Steps": [{"Name": "Notify", "Type": "Lambda", "FunctionArn": "arn:f", "Arguments": {}}],
}


def there_and_back(source: Any) -> Any:
    """Unlike :func:`sagebridge.read`, this reads duplicate names and cycles."""
    return json.loads(sagebridge.write(read(source)[0], "sagemaker").text)


def test_identity(definition: Path) -> None:
    expected = json.loads(definition.read_text())
    assert canonical(there_and_back(definition)) == canonical(expected)
    assert sagebridge.read(definition).losses == ()


def test_edges(definition: Path, edges: Path) -> None:
    expected = json.loads(edges.read_text())
    found = graph(sagebridge.read(definition).pipeline).edges
    assert sorted(map(list, found)) == sorted(expected)


@given(definitions())
@SETTINGS
def test_identity_of_any_definition(definition: dict[str, Any]) -> None:
    text = json.dumps(definition)
    assert canonical(there_and_back(text)) == canonical(json.loads(text))


@given(mutated(definitions()))
@SETTINGS
def test_mutated_definition_comes_back(definition: Any) -> None:
    text = json.dumps(definition)
    try:
        result = there_and_back(text)
    except SourceError:
        return
    assert canonical(result) == canonical(json.loads(text))


@given(st.data(), definitions())
@SETTINGS
def test_pipelines_are_equal_if_their_definitions_are(data: st.DataObject, one: Any) -> None:
    left, again = (read(json.dumps(one))[0] for _ in range(2))
    assert left == again
    assert hash(left) == hash(again)
    two = data.draw(mutated(st.just(one)))
    try:
        right, _ = read(json.dumps(two))
    except SourceError:
        return
    same = canonical(json.loads(json.dumps(one))) == canonical(json.loads(json.dumps(two)))
    assert (left == right) == same


@pytest.mark.parametrize(("left", "right"), [(1, 1.0), (1, True), (0.0, False), (None, ...)])
def test_pipelines_with_other_types_differ(left: Any, right: Any) -> None:
    def with_value(value: Any) -> Any:
        arguments = {} if value is ... else {"x": value}
        step = {"Name": "A", "Type": "Training", "Arguments": arguments}
        return sagebridge.read({"Steps": [step]}).pipeline

    assert with_value(left) != with_value(right)
    assert with_value(left) == with_value(left)


def test_deepest_nesting_comes_back() -> None:
    depth = MAX_DEPTH - 4
    value = json.loads("[" * depth + "]" * depth)
    source = {"Steps": [{"Name": "A", "Type": "Training", "Arguments": {"x": value}}]}
    assert canonical(there_and_back(source)) == canonical(source)
    assert sagebridge.read(source) == sagebridge.read(source)
    assert {f.code for f in sagebridge.validate(source)} == {"missing-member", "unknown-member"}
    with pytest.raises(SourceError, match="nested too deeply"):
        sagebridge.read({**source, "Odd": json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)})


def test_deepest_branches_come_back() -> None:
    step: dict[str, Any] = {"Name": "A", "Type": "Training", "Arguments": {}}
    for number in range(MAX_DEPTH // 3 - 1):
        step = {
            "Name": f"C{number}",
            "Type": "Condition",
            "Arguments": {"Conditions": [], "IfSteps": [step]},
        }
    assert canonical(there_and_back({"Steps": [step]})) == canonical({"Steps": [step]})
    sagebridge.validate({"Steps": [step]})


class TestSources:
    def test_text(self) -> None:
        assert sagebridge.read(json.dumps(SMALL)).pipeline.name is None

    @pytest.mark.parametrize("prefix", ["", "\ufeff"])
    def test_file_names_the_pipeline(self, tmp_path: Path, prefix: str) -> None:
        file = tmp_path / "nightly#2.v1.json"
        file.write_text(prefix + json.dumps(SMALL), encoding="utf-8")
        for source in (file, str(file)):
            assert sagebridge.read(source).pipeline.name == "nightly#2.v1"
        assert sagebridge.read(file, name="other").pipeline.name == "other"

    def test_create_pipeline_document(self) -> None:
        pipeline = sagebridge.read(
            {
                "PipelineName": "nightly",
                "PipelineDisplayName": "Nightly",
                "PipelineDescription": "every night",
                "PipelineDefinition": json.dumps(SMALL),
                "RoleArn": "arn:aws:iam::123456789012:role/R",
                "Tags": [{"Key": "team", "Value": "ml"}],
                "ParallelismConfiguration": {"MaxParallelExecutionSteps": 3},
            }
        ).pipeline
        assert pipeline.name == "nightly"
        assert pipeline.display_name == "Nightly"
        assert pipeline.description == "every night"
        assert pipeline.role_arn == "arn:aws:iam::123456789012:role/R"
        assert pipeline.tags[0]["Key"] == "team"
        assert pipeline.parallelism
        assert pipeline.parallelism.max_parallel_execution_steps == 3
        written = json.loads(sagebridge.write(pipeline, "sagemaker").text)
        assert canonical(written) == canonical(SMALL)

    def test_describe_pipeline_response_of_boto3(self, tmp_path: Path) -> None:
        response = {
            "PipelineArn": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/nightly",
            "PipelineName": "nightly",
            "PipelineDefinition": json.dumps(SMALL),
            "CreationTime": datetime(2026, 11, 1, tzinfo=UTC),
            "ParallelismConfiguration": None,
        }
        assert sagebridge.read(response).pipeline.name == "nightly"
        file = tmp_path / "described.json"
        file.write_text(json.dumps(response, default=str))
        assert sagebridge.read(file).pipeline.name == "nightly"

    def test_module_attribute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "nightly_pipeline.py").write_text(
            "import json\n"
            f"DEFINITION = {SMALL!r}\n"
            "class Pipeline:\n"
            "    name = 'nightly'\n"
            "    def definition(self): return json.dumps(DEFINITION)\n"
            "pipeline = Pipeline()\n"
            "def get_pipeline(): return pipeline\n"
        )
        monkeypatch.chdir(tmp_path)
        for module in (
            "nightly_pipeline",
            "nightly_pipeline.py",
            f"{tmp_path}/nightly_pipeline.py",
        ):
            for attribute in ("pipeline", "get_pipeline"):
                assert sagebridge.read(f"{module}:{attribute}").pipeline.name == "nightly"
        assert sagebridge.read("nightly_pipeline:DEFINITION").pipeline.steps[0].name == "Notify"

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            (
                "import not_installed_anywhere",
                "the import needs the module 'not_installed_anywhere'",
            ),
            ("1 / 0", "raised on import: ZeroDivisionError"),
            ("raise SystemExit(1)", "raised on import: SystemExit"),
            ("x = 1", "has no attribute 'pipeline'"),
            ("pipeline = 3", "expected a pipeline, got an object of type int"),
            ("def pipeline(): raise ValueError('no role')", "raised ValueError: no role"),
            ("class pipeline:\n    definition = None", "expected a pipeline"),
        ],
    )
    def test_modules_without_a_pipeline(self, tmp_path: Path, code: str, message: str) -> None:
        file = tmp_path / "broken.py"
        file.write_text(code)
        with pytest.raises(SourceError, match=message):
            sagebridge.read(f"{file}:pipeline")


MALFORMED = [
    ("", "the document is empty"),
    ("  \n", "the document is empty"),
    ('{"Steps": [{"Name": "A', r"line 1, column 23: not JSON: the document is cut off in /Steps/0"),
    ('{"Steps": []} x', "line 1, column 15: not JSON: Extra data"),
    ("[]", "expected an object with Version and Steps, got an array"),
    ('{"a": 1}', "not a pipeline definition; its keys: 'a'"),
    ("{}", "not a pipeline definition; its keys: none"),
    ('{"Steps": {}}', "/Steps: expected a list of steps, got an object"),
    ('{"Steps": [7]}', "/Steps/0: step: expected an object, got 7"),
    ('{"Steps": [{"Name": "A"}]}', "step: missing key 'Type'"),
    ('{"Steps": [], "x": NaN}', "NaN is not a JSON number"),
    ('{"Steps": [], "x": 1e400}', "the number 1e400 is too large"),
    ('{"Steps": [], "x": ' + "9" * 5000 + "}", "is too large"),
    ("[" * 1_000_000, "nested too deeply"),
    ('{"Steps": ' + "[" * 1000 + "]" * 1000 + "}", "nested too deeply"),
    ('{"PipelineDefinition": "{"}', "#/PipelineDefinition: line 1, column 2: not JSON"),
    ('{"PipelineDefinition": "[]"}', "#/PipelineDefinition"),
    ('{"PipelineDefinitionS3Location": {}}', "the definition is in S3"),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED, ids=[m[0][:30] for m in MALFORMED])
def test_sources_without_a_pipeline(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "broken.json"
    file.write_text(text)
    with pytest.raises(SourceError, match=message) as raised:
        sagebridge.read(file)
    assert str(raised.value).startswith(str(file))
    assert raised.value.exit_code == 5


def test_all_malformed_steps_are_reported() -> None:
    with pytest.raises(SourceError, match=r"(?s)/Steps/0: .*/Steps/1: .*/Steps/1: "):
        sagebridge.read('{"Steps": [null, {}]}')


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    binary = tmp_path / "model.tar.gz"
    binary.write_bytes(b"\x1f\x8b\x08\x00")
    cases = {
        str(tmp_path / "absent.json"): "no such file",
        str(tmp_path): "is a folder; expected a file",
        str(binary): r"not UTF-8 \(byte 1\)",
        "x" * 5000: "cannot be opened: File name too long",
        "a\0b": "cannot be opened",
    }
    for source, message in cases.items():
        with pytest.raises(SourceError, match=message):
            sagebridge.read(source)


@pytest.mark.parametrize("value", [{"Steps": [object()]}, {"Steps": [float("nan")]}, 3, None])
def test_objects_that_are_not_json(value: Any) -> None:
    with pytest.raises(SourceError):
        sagebridge.read(value)


def test_circular_object_is_not_json() -> None:
    value: dict[str, Any] = {"Steps": []}
    value["self"] = value
    with pytest.raises(SourceError, match="not JSON"):
        sagebridge.read(value)


def test_duplicate_key_is_a_loss() -> None:
    text = '{"Steps": [{"Name": "A", "Name": "B", "Type": "Training"}]}'
    pipeline, losses = sagebridge.read(text)
    assert pipeline.steps[0].name == "B"
    assert [loss.code for loss in losses] == ["duplicate-member"]
    assert "'Name'" in losses[0].what


def test_lines_of_values() -> None:
    document = open_document('{\n "Steps": [\n  {"Name":\n   "A"},\n  {}\n ]\n}', "x")
    lines = {"": 1, "/Steps": 2, "/Steps/0/Name": 3, "/Steps/1": 5, "/Steps/9": 2}
    assert {pointer: document.line(pointer) for pointer in lines} == lines


def test_truncated_document_has_a_pointer() -> None:
    with pytest.raises(MalformedJson) as raised:
        open_document('{\n  "Steps": [\n    {"Name": "A"},\n', "x")
    assert (raised.value.line, raised.value.column) == (3, 19)
