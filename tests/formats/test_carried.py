"""Definitions with errors: translated unchanged, and back, with their findings next to them."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

import sagebridge
from sagebridge.errors import SourceError, TranslationError
from sagebridge.formats.airflow.reader import read_files
from sagebridge.model.expressions import Get, Key, parse_tokens
from sagebridge.model.graph import graph
from tests.conftest import HERE, find_corpus
from tests.definition import codes, equals, findings, gate, get, step
from tests.strategies import canonical

OWN = sorted((HERE / "definitions").glob("*.json"))
CORPUS = sorted(find_corpus()[0].glob("*.json"))
STRUCTURAL = {"duplicate-step", "dependency-cycle"}
VALUES: tuple[Any, ...] = (
    *(None, [], {}, "", "x", 1, 1.0, -3, True, 10**40, 1e300, "\ud800", "{{ ds }}", "ABSENT"),
    *([None], [1, "a"], [[1, [2, {"k": None}]]], {"a": None}, {"": 1}, {"a b": {"class": []}}),
    *({"Get": 3}, {"Get": "Steps"}, {"Get": "Nope.x"}, {"Get": "Parameters.'x'"}),
    *({"Get": 'Steps.A.b["it\'s"]'}, {"Get": "Steps['A b'].c"}, {"Get": "Steps.A['it\\'s']"}),
    *({"Std:Join": {}}, {"Std:Join": {"On": 3, "Values": "x"}}, {"Std:Other": [1]}),
    *({"Std:Join": {"Values": [1, None, {"a": []}]}, "x": 1}, {"Std:JsonGet": {"Path": 1}}),
    *({"Step": "x"}, {"Step": "x", "Trigger": None}, {"Step": 3}, {"Name": "x"}, {"args": 1}),
)
NAMES = (
    *("a b", "x/y", "x'y\"z", "a\nb", "é", "", "_", "1a", "A.b", "a-b", "a_b", "a" * 300, "\ud800"),
    *("class", "if", "print", "None", "l", "self", "name", "args", "extra", "return_value"),
    *("step", "begin", "finish", "flow", "run", "DAG", "Param", "ABSENT", "watch_failures"),
)
KEYS = ("Odd", "name", "Name", "Type", "extra", "Get", "class", "a b", "Arguments", "Trigger", "é")
PARAMETERS: tuple[dict[str, Any], ...] = (
    {},
    {"Type": "Integer", "DefaultValue": "5"},
    {"Type": "Integer", "DefaultValue": True},
    {"Type": "Date"},
    {"Type": 3},
    {"DefaultValue": None},
    {"DefaultValue": [1]},
    {"Type": "String", "EnumValues": [1, None], "DefaultValue": 2},
    {"Type": "Boolean", "EnumValues": [True], "DefaultValue": 1},
    {"EnumValues": {}},
    {"Description": None},
)


def damaged(definition: Any, chance: random.Random) -> Any:
    """The definition with up to four faults: wrong values, names and keys, missing and double."""
    result = deepcopy(definition)
    for _ in range(chance.randint(1, 4)):
        places = list(places_of(result))
        holder, key = chance.choice(places)
        match chance.choice(("replace",) * 4 + ("remove", "double", "key", "name", "parameter")):
            case "replace":
                holder[key] = deepcopy(chance.choice(VALUES))
            case "remove":
                del holder[key]
            case "double" if isinstance(holder, list):
                holder.insert(key, deepcopy(holder[key]))
            case "key" if isinstance(holder, dict):
                holder[chance.choice(KEYS)] = deepcopy(chance.choice(VALUES))
            case "name" if isinstance(holder, dict) and "Name" in holder:
                holder["Name"] = chance.choice(NAMES)
            case "parameter" if isinstance(result.setdefault("Parameters", []), list):
                name = chance.choice((*NAMES, 3, None))
                result["Parameters"].append({"Name": name, **chance.choice(PARAMETERS)})
    return result


def places_of(value: Any) -> Any:
    """Holder and key of each value inside a value."""
    items: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value)
    for key, item in list(items):
        yield value, key
        yield from places_of(item)


@pytest.fixture(scope="module")
def faulty() -> list[Any]:
    """Damaged definitions that still are pipelines, the same in every run."""
    chance = random.Random(4)
    sources = [json.loads(file.read_text()) for file in OWN]
    found: list[Any] = []
    while len(found) < 150:
        definition = json.loads(json.dumps(damaged(chance.choice(sources), chance)))
        try:
            sagebridge.read(definition)
        except (SourceError, TranslationError):
            continue
        found.append(definition)
    return found


def test_damaged_definitions_have_errors(faulty: list[Any]) -> None:
    with_errors = [one for one in faulty if sagebridge.read_checked(one)[0].errors]
    assert len(with_errors) > len(faulty) // 2


def test_damaged_definitions_come_back_from_flow_files(faulty: list[Any], tmp_path: Path) -> None:
    for number, definition in enumerate(faulty):
        file = tmp_path / f"f{number}.py"
        file.write_text(sagebridge.translate(definition, "prefect").text)
        back = sagebridge.translate(file, "sagemaker").text
        assert same_text(back, definition), file


@pytest.mark.airflow
@pytest.mark.timeout(600)
def test_damaged_definitions_come_back_from_dag_files(faulty: list[Any], tmp_path: Path) -> None:
    """And from the flow files that are written from the DAG files."""
    files = [tmp_path / f"a{number}.py" for number in range(len(faulty))]
    for file, definition in zip(files, faulty, strict=True):
        file.write_text(sagebridge.translate(definition, "airflow").text)
    for file, definition, outcome in zip(files, faulty, read_files(files), strict=True):
        assert not isinstance(outcome, Exception), outcome
        (dag,) = outcome
        assert dag.losses == ()
        assert same_text(sagebridge.write(dag.pipeline, "sagemaker").text, definition), file
        flow = file.with_stem(f"{file.stem}_flow")
        flow.write_text(sagebridge.write(dag.pipeline, "prefect").text)
        back = sagebridge.read(flow).pipeline
        assert same_text(sagebridge.write(back, "sagemaker").text, definition), flow


def same_text(text: str, definition: Any) -> bool:
    """Whether a definition is the same but for its layout: the order of keys counts."""
    return json.dumps(json.loads(text)) == json.dumps(definition)


class TestStructure:
    """What has no pipeline in it stops reading; nothing else does."""

    A = step("A")

    @pytest.mark.parametrize(
        ("steps", "code"),
        [
            ({}, "wrong-type"),
            ([3], "wrong-type"),
            ([{"Type": "Fail"}], "missing-member"),
            ([{"Name": "A"}], "missing-member"),
            ([{"Name": 3, "Type": "Fail"}], "wrong-type"),
            ([gate(then=[{"Type": "Fail"}])], "missing-member"),
            ([A, A], "duplicate-step"),
            ([step("A", DependsOn=["B"]), step("B", DependsOn=["A"])], "dependency-cycle"),
            ([step("A", DependsOn=["A"])], "dependency-cycle"),
        ],
    )
    def test_structural_errors_stop_reading(self, steps: Any, code: str) -> None:
        source = {"Version": "2020-12-01", "Steps": steps, "Odd": 1}
        with pytest.raises(TranslationError) as stopped:
            sagebridge.translate(source, "airflow")
        assert [one.code for one in stopped.value.findings] == [code]
        with pytest.raises((SourceError, TranslationError)):
            sagebridge.read(source)

    def test_definition_without_steps_stops_reading(self) -> None:
        with pytest.raises(TranslationError, match="no-steps"):
            sagebridge.translate({"Version": "2020-12-01"}, "airflow")

    def test_empty_list_of_steps_is_carried(self, tmp_path: Path) -> None:
        source = {"Version": "2020-12-01", "Steps": []}
        (checked,) = sagebridge.read_checked(source)
        assert [one.code for one in checked.errors] == ["no-steps"]
        file = tmp_path / "empty.py"
        file.write_text(sagebridge.translate(source, "prefect").text)
        assert same_text(sagebridge.translate(file, "sagemaker").text, source)

    def test_error_is_carried_with_its_finding(self) -> None:
        source = {"Version": "2020-12-01", "Steps": [step("A", DependsOn="B", Odd=1)]}
        (checked,) = sagebridge.read_checked(source)
        assert [one.code for one in checked.findings] == ["wrong-type", "unknown-member"]
        assert [one.code for one in checked.errors] == ["wrong-type"]
        assert same_text(sagebridge.translate(source, "sagemaker").text, source)


class TestExpressions:
    """Expressions are legal in every value of a step but those that name or list things."""

    def test_function_and_queue_may_be_expressions(self) -> None:
        found = findings(
            step("A", FunctionArn={"Std:Join": {"On": ":", "Values": [get("Parameters.f")]}}),
            step("B", "Callback", SqsQueueUrl=get("Parameters.queue")),
            Parameters=[{"Name": "queue", "Type": "String"}, {"Name": "f", "Type": "String"}],
        )
        assert found == ()

    @pytest.mark.parametrize("key", ["FunctionArn", "DisplayName", "CheckType", "Odd"])
    def test_references_are_checked_in_every_key(self, key: str) -> None:
        found = findings(step("A", **{key: get("Parameters.nowhere")}))
        assert ("unknown-parameter", f"/Steps/0/{key}/Get") in codes(found)

    @pytest.mark.parametrize("key", ["FunctionArn", "SqsQueueUrl", "ModelName", "Odd"])
    def test_references_in_every_key_are_dependencies(self, key: str) -> None:
        source = {"Steps": [step("A", **{key: get("Steps.B.OutputParameters['o']")}), step("B")]}
        assert list(graph(sagebridge.read(source).pipeline).edges) == [("B", "A")]

    @pytest.mark.parametrize(
        ("path", "key"),
        [
            (r"a['it\'s']", "it's"),
            (r'a["say \"x\""]', 'say "x"'),
            (r"a['x\\y']", r"x\y"),
            (r"a['x\y']", r"x\y"),
            ('a["it\'s"]', "it's"),
        ],
    )
    def test_quotes_in_a_path_may_be_escaped(self, path: str, key: str) -> None:
        tokens = parse_tokens(f".{path}")
        assert tokens is not None
        assert tokens[1] == Key(key)
        read = {"Std:JsonGet": {"S3Uri": "s3://b/k", "Path": path}}
        assert findings(gate(equals(read, 1), then=[step("A")])) == ()

    @pytest.mark.parametrize("name", ["it's", 'say "x"', "x\\y", "both ' and \"", "\\'", "a.b[0]"])
    def test_every_key_can_be_written_and_read(self, name: str) -> None:
        reference = Get("Steps", (Key("A"), Key(name)))
        assert Get.parse(reference.text) == reference


class TestKeyOrder:
    @pytest.mark.parametrize("file", [*OWN, *CORPUS], ids=lambda file: file.stem)
    def test_definition_keeps_its_order(self, file: Path, tmp_path: Path) -> None:
        source = json.loads(file.read_text())
        source = json.loads(source["PipelineDefinition"]) if "Steps" not in source else source
        assert same_text(sagebridge.translate(source, "sagemaker").text, source)
        flow = tmp_path / "flow.py"
        flow.write_text(sagebridge.translate(source, "prefect").text)
        assert same_text(sagebridge.translate(flow, "sagemaker").text, source)

    @pytest.mark.airflow
    def test_dag_files_keep_any_order(self, tmp_path: Path) -> None:
        chance = random.Random(1)
        sources = [json.loads(file.read_text()) for file in (*OWN, *CORPUS)]
        sources += [shuffled(one, chance) for one in sources[::3]]
        files = [tmp_path / f"d{number}.py" for number in range(len(sources))]
        for file, source in zip(files, sources, strict=True):
            file.write_text(sagebridge.translate(source, "airflow").text)
        for outcome, source in zip(read_files(files), sources, strict=True):
            assert not isinstance(outcome, Exception), outcome
            assert outcome[0].losses == ()
            assert same_text(sagebridge.write(outcome[0].pipeline, "sagemaker").text, source)

    def test_order_of_the_sdk_needs_no_words(self) -> None:
        keys = ("Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Steps")
        steps = [step("A", "Training", DependsOn=[])]
        values: tuple[Any, ...] = ({}, [], None, None, steps)
        source = {"Version": "2020-12-01", **dict(zip(keys, values, strict=True))}
        assert sagebridge.read(source).pipeline.key_order == {}

    def test_one_entry_is_for_all_objects_that_agree(self) -> None:
        turned = [{"Type": "Fail", "Name": name, "Arguments": {"x": 1}} for name in "AB"]
        pipeline = sagebridge.read({"Version": "2020-12-01", "Steps": turned}).pipeline
        assert pipeline.key_order == {"Steps": ("Type", "Name", "Arguments")}
        assert "KeyOrder" in sagebridge.write(pipeline, "airflow").text

    def test_objects_that_disagree_have_their_own_entries(self) -> None:
        steps = [{"Type": "Fail", "Name": "A"}, {"Name": "B", "Type": "Fail"}]
        pipeline = sagebridge.read({"Version": "2020-12-01", "Steps": steps}).pipeline
        assert pipeline.key_order == {"/Steps/0": ("Type", "Name")}

    def test_order_survives_an_edit_of_the_steps(self, tmp_path: Path) -> None:
        file = tmp_path / "flow.py"
        turned = {"Version": "2020-12-01", "Steps": [{"Type": "Fail", "Name": "A"}]}
        text = sagebridge.translate(turned, "prefect").text
        file.write_text(text.replace('fail("A")', 'fail("A", description="why")'))
        (written,) = json.loads(sagebridge.translate(file, "sagemaker").text)["Steps"]
        assert list(written) == ["Type", "Name", "Description"]


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        items = [(key, shuffled(item, chance)) for key, item in value.items()]
        chance.shuffle(items)
        return dict(items)
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


REQUEST: dict[str, Any] = {
    "PipelineName": "nightly",
    "RoleArn": "arn:aws:iam::111122223333:role/R",
    "ParallelismConfiguration": {"MaxParallelExecutionSteps": 3, "Odd": 1},
    "PipelineVersionAliases": ["prod"],
    "ClientRequestToken": "x" * 32,
    "Odd": {"Get": "x"},
    "PipelineDefinition": json.dumps({"Version": "2020-12-01", "Steps": [step("A")]}),
}


class TestRequests:
    @pytest.mark.parametrize("changed", [{}, {"PipelineDisplayName": None, "Tags": "x"}])
    def test_every_field_comes_back(self, changed: dict[str, Any], tmp_path: Path) -> None:
        request = {**REQUEST, **changed}
        text, losses = sagebridge.translate(request, "sagemaker", document="create-pipeline")
        assert (losses, canonical(json.loads(text))) == ((), canonical(request))
        file = tmp_path / "flow.py"
        file.write_text(sagebridge.translate(request, "prefect").text)
        text = sagebridge.translate(file, "sagemaker", document="create-pipeline").text
        assert canonical(json.loads(text)) == canonical(request)

    def test_template_drops_what_cloudformation_does_not_have(self) -> None:
        losses = sagebridge.translate(REQUEST, "sagemaker", document="cloudformation").losses
        (loss,) = losses
        assert (loss.code, loss.severity) == ("beside-definition", "dropped")
        assert "PipelineVersionAliases, ClientRequestToken, Odd" in loss.what

    def test_response_fields_are_a_loss(self) -> None:
        response = {
            **REQUEST,
            "PipelineArn": "arn",
            "CreationTime": "2026-01-01T00:00:00Z",
            "PipelineVersionDescription": "first",
        }
        text, losses = sagebridge.translate(response, "sagemaker", document="create-pipeline")
        assert canonical(json.loads(text)) == canonical(REQUEST)
        assert [(one.code, one.severity) for one in losses] == [
            ("beside-definition", "info"),
            ("beside-definition", "dropped"),
        ]
        assert "PipelineArn, CreationTime" in losses[0].what
        assert "PipelineVersionDescription" in losses[1].what
