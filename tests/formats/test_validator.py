"""Findings of whole definitions and documents."""

from __future__ import annotations

import csv
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import sagebridge
from tests.definition import (
    REPORT,
    codes,
    equals,
    findings,
    gate,
    get,
    only,
    output_of,
    processing,
    step,
    uses,
)
from tests.strategies import definitions, json_values, mutated

UNKNOWN_ON_PURPOSE = {"conditions-unknown", "unknown"}
"""Definitions with constructs that do not exist; translations must keep them."""


def test_corpus_has_no_errors(definition: Path) -> None:
    found = [f for f in sagebridge.validate(definition) if f.severity == "error"]
    assert bool(found) == (definition.stem in UNKNOWN_ON_PURPOSE), found


def test_invalid_definitions_of_the_corpus() -> None:
    """Each has one error, with the code and pointer in the index."""
    folder = os.environ.get("SAGEBRIDGE_CORPUS")
    if not folder:
        pytest.skip("SAGEBRIDGE_CORPUS names no corpus")
    with (Path(folder) / "invalid" / "INDEX.tsv").open(newline="") as index:
        rows = list(csv.DictReader(index, delimiter="\t"))
    assert len(rows) == 20
    expected = {row["file"]: [(row["code"], row["pointer"].partition(" (")[0])] for row in rows}
    found = {name: codes(sagebridge.validate(Path(folder) / "invalid" / name)) for name in expected}
    assert found == expected


def test_valid_definition_has_no_findings() -> None:
    assert (
        findings(
            processing("Eval", REPORT),
            step("Wait", DependsOn=["Eval"]),
            gate(
                equals(
                    {
                        "Std:JsonGet": {
                            "PropertyFile": get("Steps.Eval.PropertyFiles.Report"),
                            "Path": "a.b[0]['c']",
                        }
                    },
                    get("Parameters.Limit"),
                    "LessThan",
                ),
                {"Type": "Not", "Condition": {"Type": "Or", "Conditions": []}},
                {"Type": "In", "QueryValue": output_of("Wait"), "Values": ["a", "b"]},
                then=[step("Then", Arguments={"x": {"Std:Join": {"On": "/", "Values": ["a", 1]}}})],
                other=[step("Stop", "Fail", Arguments={"ErrorMessage": "too bad"})],
            ),
            Metadata={},
            PipelineExperimentConfig={
                "ExperimentName": get("Execution.PipelineName"),
                "TrialName": {"On": "-", "Values": ["t", get("Execution.PipelineExecutionId")]},
            },
            MlflowConfig=None,
            Parameters=[{"Name": "Limit", "Type": "Float", "DefaultValue": 6}],
        )
        == ()
    )


def test_step_after_its_branch_has_no_findings() -> None:
    branch = gate(then=[step("Then")], other=[step("Else")])
    assert findings(branch, uses(output_of("Then"), "After")) == ()


CYCLES: dict[str, tuple[Any, str, str]] = {
    "DependsOn": (
        [step("A", DependsOn=["C"]), step("B", DependsOn=["A"]), step("C", DependsOn=["B"])],
        "/Steps/0/DependsOn/0",
        "dependency cycle A -> B -> C -> A (through DependsOn)",
    ),
    "data": (
        [uses(output_of("B"), "A"), uses(output_of("A"), "B")],
        "/Steps/0/Arguments/x/Get",
        "dependency cycle A -> B -> A (through a reference)",
    ),
    "both": (
        [uses(output_of("B"), "A"), step("B", DependsOn=["A"])],
        "/Steps/0/Arguments/x/Get",
        "dependency cycle A -> B -> A (through DependsOn and a reference)",
    ),
    "branch and data": (
        [gate(equals(output_of("A"), "x"), then=[step("A")])],
        "/Steps/0/Arguments/Conditions/0/LeftValue/Get",
        "dependency cycle Gate -> A -> Gate (through a reference and the branch)",
    ),
    "branch, a step outside, and DependsOn": (
        [step("Out", DependsOn=["A"]), {**gate(then=[step("A")]), "DependsOn": ["Out"]}],
        "/Steps/0/DependsOn/0",
        "dependency cycle Out -> Gate -> A -> Out (through DependsOn and the branch)",
    ),
    "the step itself": (
        [uses(output_of("A"))],
        "/Steps/0/Arguments/x/Get",
        "step A depends on itself through a reference",
    ),
    "the step itself in DependsOn": (
        [step("A", DependsOn=["A"])],
        "/Steps/0/DependsOn/0",
        "step A depends on itself through DependsOn",
    ),
}


@pytest.mark.parametrize("case", CYCLES)
def test_cycles(case: str) -> None:
    steps, pointer, message = CYCLES[case]
    assert only(findings(*steps)) == ("error", "dependency-cycle", pointer, message)


def test_every_cycle_is_reported() -> None:
    pairs = [("A", "B"), ("B", "A"), ("C", "D"), ("D", "C"), ("E", "E")]
    found = findings(*(step(name, DependsOn=[other]) for name, other in pairs))
    assert [f.code for f in found] == ["dependency-cycle"] * 3


def test_long_chain_is_not_a_cycle() -> None:
    names = [f"S{number}" for number in range(300)]
    steps = [step("S0"), *(step(b, DependsOn=[a]) for a, b in itertools.pairwise(names))]
    assert findings(*steps) == ()


class TestNeverRuns:
    def test_step_of_the_other_branch(self) -> None:
        found = findings(gate(then=[step("A")], other=[uses(output_of("A"), "B")]))
        assert only(found) == (
            "warning",
            "never-runs",
            "/Steps/0/Arguments/ElseSteps/0/Arguments/x/Get",
            (
                "step B never runs: it needs ElseSteps of Gate, but depends on 'A', which "
                "needs IfSteps"
            ),
        )

    def test_step_that_depends_on_both_branches(self) -> None:
        found = findings(
            gate(then=[step("A")], other=[step("B")]),
            step("Join", DependsOn=["A", "B"]),
            step("Later", DependsOn=["Join"]),
        )
        assert [(f.code, f.pointer) for f in found] == [("never-runs", "/Steps/1/DependsOn/1")]

    def test_dependency_through_another_step(self) -> None:
        found = findings(
            gate(then=[step("A")], other=[step("B", DependsOn=["Between"])]),
            step("Between", DependsOn=["A"]),
        )
        assert [f.code for f in found] == ["never-runs"]


class TestDocuments:
    def test_findings_are_in_document_order(self) -> None:
        text = json.dumps(
            {
                "Version": "2021-01-01",
                "Parameters": [{"Name": "N", "Type": "Integer", "DefaultValue": "x"}],
                "Steps": [uses(get("Parameters.M"), "A"), step("A"), step("B", DependsOn=["C"])],
            },
            indent=1,
        )
        found = sagebridge.validate(text)
        assert [f.code for f in found] == [
            "unsupported-version",
            "parameter-default",
            "unknown-parameter",
            "duplicate-step",
            "unknown-step",
        ]
        for finding in found:
            place = text.splitlines()[finding.line - 1]
            last = finding.pointer.rpartition("/")[2]
            assert place[finding.column - 1 :].startswith((f'"{last}"', '"C"')), finding

    def test_envelope(self) -> None:
        definition = json.dumps({"Version": "2020-12-01", "Steps": []}, indent=1)
        document = {"PipelineName": "p", "PipelineDefinition": definition}
        (finding,) = sagebridge.validate(json.dumps(document, indent=1))
        assert (finding.code, finding.pointer, finding.line) == ("no-steps", "/Steps", 3)

    @pytest.mark.parametrize(
        ("inner", "code", "pointer"),
        [
            ('{"Steps":\n [}', "malformed-json", "line 2, column 3"),
            ('{"Version": "2020-12-01",\n\n"Steps": [NaN]}', "malformed-json", "line 3, column 11"),
            ("[]", "not-a-pipeline", ""),
            ("", "not-a-pipeline", ""),
        ],
    )
    def test_request_with_an_invalid_definition(self, inner: str, code: str, pointer: str) -> None:
        text = json.dumps({"PipelineName": "p", "PipelineDefinition": inner}, indent=1)
        (finding,) = sagebridge.validate(text)
        assert (finding.code, finding.pointer, finding.line) == (code, pointer, 3)

    def test_fields_of_a_request(self) -> None:
        document = {
            "PipelineName": "not_a_name",
            "ParallelismConfiguration": {"MaxParallelExecutionSteps": 0},
            "PipelineDefinition": json.dumps({"Version": "2020-12-01", "Steps": [step("A")]}),
        }
        assert codes(sagebridge.validate(document)) == [
            ("parallelism", "/ParallelismConfiguration/MaxParallelExecutionSteps"),
            ("pipeline-name", "/PipelineName"),
        ]

    def test_limits_of_the_service(self) -> None:
        parameters = [{"Name": f"P{number}", "DefaultValue": ""} for number in range(201)]
        (finding,) = findings(step("A"), Parameters=parameters)
        assert (finding.severity, finding.code) == ("warning", "too-many-parameters")
        (finding,) = findings(step("A", Arguments={"x": "y" * 1_100_000}))
        assert (finding.severity, finding.code) == ("warning", "definition-size")

    @pytest.mark.parametrize(
        ("text", "code", "pointer"),
        [
            ('{"Version": "2020-12-01", "Steps": [{"Na', "malformed-json", "line 1, column 41"),
            ('{\n"Steps": [,]}', "malformed-json", "line 2, column 11"),
            ("", "not-a-pipeline", ""),
            ("[]", "not-a-pipeline", ""),
            ('{"x": 1}', "not-a-pipeline", ""),
            ("[" * 1_000_000, "not-a-pipeline", ""),
            ('{"Steps": [],\n "x": NaN}', "malformed-json", "line 2, column 7"),
            ('{"Steps": ["NaN", -Infinity]}', "malformed-json", "line 1, column 19"),
            ('{"Steps": ["1e400", 1.5,\n1e400]}', "malformed-json", "line 2, column 1"),
            (f'{{"Steps": [{"9" * 5000}]}}', "malformed-json", "line 1, column 12"),
        ],
        ids=["cut", "comma", "empty", "array", "other", "deep", "nan", "inf", "float", "int"],
    )
    def test_source_without_a_definition(
        self, tmp_path: Path, text: str, code: str, pointer: str
    ) -> None:
        file = tmp_path / "d.json"
        file.write_text(text)
        found = sagebridge.validate(file)
        assert codes(found) == [(code, pointer)]
        assert str(tmp_path) not in found[0].message

    def test_missing_file(self, tmp_path: Path) -> None:
        assert codes(sagebridge.validate(tmp_path / "absent.json")) == [("unreadable-source", "")]

    @pytest.mark.parametrize(
        ("members", "told_"),
        [
            ({"Steps": {}}, [("missing-member", ""), ("wrong-type", "/Steps")]),
            ({"Steps": [], "Version": "2020-12-01"}, [("no-steps", "/Steps")]),
            ({"Version": "2020-12-01", "Parameters": []}, [("no-steps", "")]),
            ({"PipelineDefinition": '{"Version": "2020-12-01"}'}, [("no-steps", "")]),
        ],
    )
    def test_top_level(self, members: Any, told_: Any) -> None:
        assert codes(sagebridge.validate(members)) == told_

    def test_keys_of_configurations(self) -> None:
        found = findings(
            step("A"),
            PipelineExperimentConfig={"ExperimentName": 5, "Trial": "t"},
            MlflowConfig={
                "MlflowResourceArn": None,
                "MlflowExperimentName": {"Get": "Execution.X"},
            },
        )
        assert [(f.severity, f.code, f.pointer) for f in found] == [
            ("error", "wrong-type", "/PipelineExperimentConfig/ExperimentName"),
            ("warning", "unknown-member", "/PipelineExperimentConfig/Trial"),
            ("warning", "wrong-type", "/MlflowConfig/MlflowResourceArn"),
            ("error", "unknown-variable", "/MlflowConfig/MlflowExperimentName/Get"),
        ]

    def test_duplicate_key_is_a_warning(self) -> None:
        text = '{"Version": "2020-12-01",\n"Steps": [{"Name": "A", "Type": "Lambda",\n"Name": "B",'
        text += '\n"FunctionArn": "f", "x/y": {"a": 1},\n"x/y": {"a": 1}}]}'
        found = [f for f in sagebridge.validate(text) if f.code == "duplicate-member"]
        assert [(f.pointer, f.line) for f in found] == [("/Steps/0/Name", 3), ("/Steps/0/x~1y", 5)]

    def test_experiment_cannot_refer_to_a_step(self) -> None:
        config = {"ExperimentName": output_of("A")}
        found = findings(step("A"), PipelineExperimentConfig=config)
        assert codes(found) == [("unknown-step", "/PipelineExperimentConfig/ExperimentName/Get")]

    def test_terminal_commands_in_names_are_escaped(self) -> None:
        for finding in findings(step("A\x1b[31m", DependsOn=["\x1b[2J"])):
            assert finding.message.isprintable()


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(mutated(definitions()) | json_values())
def test_validation_accepts_any_json(definition: Any) -> None:
    text = json.dumps(definition)
    for finding in sagebridge.validate(text):
        assert finding.message
        assert 1 <= finding.line <= text.count("\n") + 1
