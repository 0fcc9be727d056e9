"""CreatePipeline requests and CloudFormation templates, written and read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import sagebridge
from sagebridge.cli import main
from sagebridge.errors import SourceError
from sagebridge.model.pipeline import Parallelism, Pipeline
from tests.strategies import canonical

DEFINITIONS = Path(__file__).parent.parent / "definitions"
SMALL = {
    "Version": "2020-12-01",
    "Steps": [{"Name": "A", "Type": "Lambda", "FunctionArn": "f", "Arguments": {"x": "${Day}"}}],
}
FULL = {
    "PipelineName": "nightly",
    "PipelineDisplayName": "Nightly",
    "PipelineDescription": "every night",
    "RoleArn": "arn:aws:iam::111122223333:role/R",
    "Tags": [{"Key": "team", "Value": "ml"}],
    "ParallelismConfiguration": {"MaxParallelExecutionSteps": 3},
}
BESIDE = ("name", "display_name", "description", "role_arn", "tags", "parallelism")


def pipeline(**envelope: Any) -> Pipeline:
    return sagebridge.read({**envelope, "PipelineDefinition": json.dumps(SMALL)}).pipeline


def template(**properties: Any) -> dict[str, Any]:
    resource = {"Type": "AWS::SageMaker::Pipeline", "Properties": properties}
    return {"Resources": {"Nightly": resource}}


def body(value: Any) -> dict[str, Any]:
    return {"PipelineDefinition": {"PipelineDefinitionBody": value}}


def codes(source: Any) -> list[tuple[str, str]]:
    return [(loss.code, loss.severity) for loss in sagebridge.read(source).losses]


@pytest.mark.parametrize("document", ["create-pipeline", "cloudformation"])
def test_request_fields_come_back(document: str) -> None:
    meant = pipeline(**FULL)
    text, lost = sagebridge.write(meant, "sagemaker", document=document)
    found, losses = sagebridge.read(text)
    assert (lost, losses) == ((), ())
    assert found == meant
    assert [getattr(found, name) for name in BESIDE] == [getattr(meant, name) for name in BESIDE]


@pytest.mark.parametrize("document", ["create-pipeline", "cloudformation"])
def test_every_definition_comes_back(definition: Path, document: str) -> None:
    written = sagebridge.write(
        sagebridge.read(definition, name="p").pipeline, "sagemaker", document=document
    )
    found = sagebridge.write(sagebridge.read(written.text).pipeline, "sagemaker").text
    assert canonical(json.loads(found)) == canonical(json.loads(definition.read_text()))
    assert {loss.severity for loss in written.losses} <= {"info"}


def test_botocore_accepts_a_request() -> None:
    boto3 = pytest.importorskip("boto3")
    from botocore.validate import validate_parameters

    request = json.loads(
        sagebridge.write(pipeline(**FULL), "sagemaker", document="create-pipeline").text
    )
    client = boto3.client(
        "sagemaker", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    shape = client.meta.service_model.operation_model("CreatePipeline").input_shape
    validate_parameters({**request, "ClientRequestToken": "x" * 32}, shape)


def test_definition_drops_request_fields() -> None:
    (loss,) = sagebridge.write(pipeline(**FULL), "sagemaker").losses
    assert (loss.code, loss.severity) == ("beside-definition", "dropped")
    for member in FULL.keys() - {"PipelineName"}:
        assert member in loss.what
    assert sagebridge.write(pipeline(PipelineName="nightly"), "sagemaker").losses == ()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("my_pipeline", "my-pipeline"),
        ("-x--y-", "x-y"),
        ("é", "pipeline"),
        ("x" * 300, "x" * 256),
        (None, "pipeline"),
    ],
)
def test_invalid_pipeline_names_are_changed(name: str | None, written: str) -> None:
    one = Pipeline(steps=(), name=name)
    text, losses = sagebridge.write(one, "sagemaker", document="create-pipeline")
    assert json.loads(text)["PipelineName"] == written
    assert "pipeline-name" in [loss.code for loss in losses]


def test_template_without_a_role_has_a_parameter() -> None:
    one = pipeline(PipelineName="nightly")
    text, (loss,) = sagebridge.write(one, "sagemaker", document="cloudformation")
    written = json.loads(text)
    assert written["Parameters"]["RoleArn"]["Type"] == "String"
    assert written["Resources"]["Nightly"]["Properties"]["RoleArn"] == {"Ref": "RoleArn"}
    assert (loss.code, loss.severity) == ("role-missing", "info")
    found, losses = sagebridge.read(text)
    assert found.role_arn == "${RoleArn}"
    assert [(one.code, one.severity) for one in losses] == [("template-function", "changed")]
    again, _ = sagebridge.write(found, "sagemaker", document="cloudformation")
    assert json.loads(again) == written


def test_template_with_odd_values_is_written() -> None:
    start = "0001-01-01T00:00:00+14:00"
    early = sagebridge.Schedule("a", "rate(1 day)", start=start)
    one = replace(pipeline(PipelineName="p", RoleArn=None), schedules=(early,))
    text = sagebridge.write(one, "sagemaker", document="cloudformation").text
    assert f'"StartDate": "{start}"' in text
    assert '"RoleArn": null' in text


class TestTemplates:
    def test_functions_in_a_definition_stay_strings(self) -> None:
        source = template(**body({"Fn::Sub": json.dumps(SMALL)}))
        found, (loss,) = sagebridge.read(source)
        assert found.steps[0].arguments["x"] == "${Day}"
        assert (loss.code, loss.severity) == ("template-function", "changed")
        assert "${Day}" in loss.what
        assert "--map" in loss.advice

    def test_escaped_variables_of_sub_are_unescaped(self) -> None:
        text = json.dumps(SMALL).replace("${Day}", "${!Day}")
        found, losses = sagebridge.read(template(**body({"Fn::Sub": [text, {}]})))
        assert found.steps[0].arguments["x"] == "${Day}"
        assert losses == ()

    def test_plain_body_has_no_variables(self) -> None:
        assert codes(template(**body(json.dumps(SMALL)))) == []

    def test_definition_as_an_object(self) -> None:
        source = template(**body({"Fn::ToJsonString": SMALL}))
        assert sagebridge.read(source).pipeline.steps[0].name == "A"

    @pytest.mark.parametrize(
        ("raw", "text", "variables"),
        [
            ({"Ref": "Bucket"}, "${Bucket}", ["${Bucket}"]),
            ({"Ref": "AWS::Region"}, "${AWS::Region}", ["${AWS::Region}"]),
            ({"Fn::GetAtt": ["Role", "Arn"]}, "${Role.Arn}", ["${Role.Arn}"]),
            ({"Fn::GetAtt": "Role.Arn"}, "${Role.Arn}", ["${Role.Arn}"]),
            ({"Fn::Sub": "s3://${B}/${!x}"}, "s3://${B}/${x}", ["${B}"]),
            ({"Fn::Sub": ["${A}-${B}", {"A": {"Ref": "C"}}]}, "${C}-${B}", ["${C}", "${B}"]),
            ({"Fn::Join": ["/", ["s3:/", {"Ref": "B"}, 3]]}, "s3://${B}/3", ["${B}"]),
            ({"Fn::Join": [",", {"Ref": "L"}]}, "${Fn::Join:,,Ref:L}", None),
            ({"Fn::ImportValue": "net-Role"}, "${Fn::ImportValue:net-Role}", None),
            ({"Fn::Select": [0, {"Ref": "L"}]}, "${Fn::Select:0,Ref:L}", None),
            ("{{resolve:ssm:/image:1}}", "{{resolve:ssm:/image:1}}", None),
            ("a {{resolve:ssm:/b}} c", "a {{resolve:ssm:/b}} c", ["{{resolve:ssm:/b}}"]),
        ],
        ids=lambda value: json.dumps(value) if isinstance(value, str | dict) else "",
    )
    @pytest.mark.parametrize("place", ["role", "object", "string"])
    def test_functions_become_strings(
        self, raw: Any, text: str, variables: list[str] | None, place: str
    ) -> None:
        definition: dict[str, Any] = json.loads(json.dumps(SMALL).replace("${Day}", "today"))
        if place == "role":
            source = template(RoleArn=raw, **body(json.dumps(definition)))
        else:
            definition["Steps"][0]["Arguments"]["x"] = raw
            whole: Any = {"Fn::ToJsonString": definition}
            if place == "string":
                before, _, after = json.dumps(definition).partition(json.dumps(raw))
                whole = {"Fn::Join": ["", [f'{before}"', raw, f'"{after}']]}
            source = template(**body(whole))
        found, losses = sagebridge.read(source)
        assert (found.role_arn if place == "role" else found.steps[0].arguments["x"]) == text
        assert {(one.code, one.severity) for one in losses} == {("template-function", "changed")}
        named = [one.what.partition(" is set")[0] for one in losses]
        assert named == ([text] if variables is None else variables)
        assert all(
            f"--map '{one}=VALUE'" in loss.advice for one, loss in zip(named, losses, strict=True)
        )

    def test_different_functions_stay_different(self) -> None:
        long = [{"Fn::Select": [number, {"Ref": "L" * 200}]} for number in (1, 2)]
        quoted = [{"Fn::ImportValue": name} for name in ("a b", "ab")]
        source = template(**body({"Fn::ToJsonString": {**SMALL, "Metadata": long + quoted}}))
        found = sagebridge.read(source).pipeline.metadata
        assert len(set(cast("Any", found))) == 4

    def test_variable_outside_of_a_string_becomes_a_string(self) -> None:
        text = json.dumps(SMALL).replace('"${Day}"', '[${Count}, "${!a}", "\\"${B}\\""]')
        found, losses = sagebridge.read(template(**body({"Fn::Sub": text})))
        assert found.steps[0].arguments["x"] == ("${Count}", "${a}", '"${B}"')
        assert [one.what.split()[0] for one in losses] == ["${Count}", "${B}"]
        assert ["--map" in one.advice for one in losses] == [False, True]

    def test_name_comes_from_the_default_of_its_parameter(self) -> None:
        source = template(**body(json.dumps(SMALL)))
        source["Resources"]["Nightly"]["Properties"]["PipelineName"] = {"Ref": "Given"}
        source["Parameters"] = {"Given": {"Type": "String", "Default": "weekly"}}
        found, (loss,) = sagebridge.read(source)
        assert found.name == "weekly"
        assert (loss.severity, "--name" in loss.advice) == ("changed", True)
        del source["Parameters"]
        source["Resources"]["Nightly"]["Properties"]["PipelineName"] = {"Fn::Sub": "${X}-a"}
        found = sagebridge.read(source).pipeline
        assert "PipelineName" not in sagebridge.write(found, "airflow").text

    def test_default_of_a_parameter_is_in_its_loss(self) -> None:
        source = template(**body({"Fn::Sub": json.dumps(SMALL)}))
        source["Parameters"] = {"Day": {"Type": "String", "Default": "monday"}}
        (loss,) = sagebridge.read(source).losses
        assert loss.what.startswith("${Day} is set by CloudFormation, by default 'monday'")

    def test_mapped_variable_is_not_a_loss(self, tmp_path: Path) -> None:
        file = tmp_path / "template.json"
        file.write_text(json.dumps(template(**body({"Fn::Sub": json.dumps(SMALL)}))))
        command = ["translate", str(file), "--to", "airflow", "--fail-on-loss", "-o"]
        out = tmp_path / "dag.py"
        assert main([*command, str(out)]) == 4
        assert main([*command, str(out), "--map", "${Day}=monday"]) == 0
        assert "CloudFormation" not in out.read_text()
        assert "monday" in out.read_text()

    def test_variables_have_no_findings(self) -> None:
        definition = json.loads((DEFINITIONS / "training.json").read_text())
        definition["Steps"][0]["Arguments"]["ResourceConfig"]["InstanceCount"] = {"Ref": "Count"}
        definition["Steps"][0]["Arguments"]["RoleArn"] = "{{resolve:ssm:/role}}"
        source = template(**body({"Fn::ToJsonString": definition}))
        assert sagebridge.validate(source) == ()
        definition["Steps"][0]["Arguments"]["ResourceConfig"]["InstanceCount"] = "${Count}"
        assert [one.code for one in sagebridge.validate(definition)] == ["wrong-type", "pattern"]

    def test_other_resources_are_a_loss(self) -> None:
        source = template(**body(json.dumps(SMALL)))
        source["Resources"]["Bucket"] = {"Type": "AWS::S3::Bucket"}
        source["Resources"]["Nightly"]["DependsOn"] = "Bucket"
        source["Parameters"] = {"Size": {"Type": "Number"}}
        source["Conditions"] = {"IsProduction": {"Fn::Equals": [1, 1]}}
        losses = sagebridge.read(source).losses
        assert [(one.code, one.severity) for one in losses] == [("template-rest", "info")] * 4
        assert {"Size", "IsProduction"} <= {one.what.split("'")[1] for one in losses}

    def test_several_pipelines(self, tmp_path: Path) -> None:
        source = template(**body(json.dumps(SMALL)))
        source["Resources"]["Weekly"] = source["Resources"]["Nightly"]
        file = tmp_path / "t.json"
        file.write_text(json.dumps(source))
        with pytest.raises(SourceError, match="several pipelines: Nightly, Weekly; add #NAME"):
            sagebridge.read(file)
        assert sagebridge.read(f"{file}#Weekly").pipeline.steps[0].name == "A"
        with pytest.raises(SourceError, match="no AWS::SageMaker::Pipeline 'Monthly'"):
            sagebridge.read(f"{file}#Monthly")

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ({"Resources": {"B": {"Type": "AWS::S3::Bucket"}}}, "no AWS::SageMaker::Pipeline"),
            ({"Resources": {"P": {"Type": "AWS::SageMaker::Pipeline"}}}, "no Properties"),
            (
                template(),
                "PipelineDefinition: expected a string, Fn::Sub, Fn::Join or Fn::ToJsonString",
            ),
            (
                template(**body({"Fn::ImportValue": "x"})),
                "PipelineDefinition: expected a string, Fn::Sub, Fn::Join or Fn::ToJsonString",
            ),
            (template(**body("{")), "not JSON"),
            (template(**body("[]")), "the string is not a pipeline definition"),
            (
                template(PipelineDefinition={"PipelineDefinitionS3Location": {"Bucket": "b"}}),
                "is in S3",
            ),
        ],
    )
    def test_templates_without_a_pipeline(self, source: Any, message: str) -> None:
        with pytest.raises(SourceError, match=message):
            sagebridge.read(source)

    def test_findings_have_the_line_of_the_body(self) -> None:
        text = json.dumps(template(**body(json.dumps({**SMALL, "Steps": []}))), indent=1)
        (finding,) = sagebridge.validate(text)
        assert (finding.code, finding.pointer) == ("no-steps", "/Steps")
        assert "PipelineDefinitionBody" in text.splitlines()[finding.line - 1]


YAML = """\
AWSTemplateFormatVersion: 2010-09-09
Resources:
  Nightly:
    Type: AWS::SageMaker::Pipeline
    Properties:
      PipelineName: nightly
      RoleArn: !GetAtt Role.Arn
      ParallelismConfiguration: {MaxParallelExecutionSteps: 3}
      PipelineDefinition:
        PipelineDefinitionBody: !Sub |
          {"Version": "2020-12-01", "Steps": [
            {"Name": "A", "Type": "Lambda", "FunctionArn": "arn:${AWS::Region}", "Arguments": {}}]}
"""


class TestYaml:
    def read(self, folder: Path, text: str) -> sagebridge.Reading:
        file = folder / "template.yaml"
        file.write_text(text)
        return sagebridge.read(file)

    def test_template(self, tmp_path: Path) -> None:
        found, losses = self.read(tmp_path, YAML)
        assert found.name == "nightly"
        assert found.parallelism == Parallelism(3)
        assert [(loss.code, loss.severity) for loss in losses] == [
            ("template-function", "changed"),
            ("template-function", "changed"),
        ]

    def test_scalars_are_read_as_in_json(self, tmp_path: Path) -> None:
        found, _ = self.read(
            tmp_path,
            "Version: 2020-12-01\nSteps:\n- {Name: A, Type: Lambda, FunctionArn: f, Arguments:\n"
            '    {x: {"Std:Join": {On: "-", Values: [yes, 1, 1.5, true, null, 2020-01-01]}}}}\n',
        )
        assert found.version == "2020-12-01"
        assert found.steps[0].arguments["x"].values == ("yes", 1, 1.5, True, None, "2020-01-01")

    def test_findings_have_the_lines_of_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "definition.yaml"
        file.write_text(
            "# nightly\n\nVersion: 2020-12-01\nParameters:\n  - {Name: N, Type: Integer,\n"
            "     DefaultValue: three}\nSteps:\n  - Name: A\n\n    # of no service\n"
            "    Type: Glue\n    Arguments: !Sub |\n      a\n      b\n    Name: B\n"
        )
        found = [(one.code, one.line) for one in sagebridge.validate(file)]
        assert found == [
            ("parameter-default", 6),
            ("unknown-step-type", 11),
            ("duplicate-member", 15),
        ]

    def test_folded_body_has_the_line_of_its_key(self, tmp_path: Path) -> None:
        file = tmp_path / "template.yaml"
        file.write_text(YAML.replace("2020-12-01", "2019-12-01"))
        (line,) = {one.line for one in sagebridge.validate(file)}
        assert "PipelineDefinitionBody" in file.read_text().splitlines()[line - 1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "a: &x [1]\nb: *x\n",
                "line 2, column 4: not YAML: aliases are not supported by CloudFormation",
            ),
            ("a: [1", "not YAML"),
            ("!!python/object/apply:os.system ['echo']", "not YAML"),
            ("!!timestamp 2020-01-01", "not YAML"),
            ("[1]: 2", "not YAML: line 1: a key must be a string"),
            ("- 1", "expected an object with Version and Steps, got an array"),
            ("", "expected an object with Version and Steps, got null"),
            ("[" * 5000, "not YAML"),
        ],
        ids=["alias", "cut", "python", "date", "key", "array", "empty", "deep"],
    )
    def test_invalid_templates(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(SourceError, match=message):
            self.read(tmp_path, text)
