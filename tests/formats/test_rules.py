"""What each rule finds in steps, expressions and conditions: its code, place and words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.definition import (
    LAMBDA,
    REPORT,
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

OUTPUTS = [{"OutputName": f"o{number}", "OutputType": "String"} for number in range(51)]
JAR = {"HadoopJarStep": {"Jar": "j"}}
ERRORS: dict[str, tuple[Any, str, str, str]] = {
    "unknown step": (
        [step("Train"), uses(output_of("Trian"), "Eval")],
        "unknown-step",
        "/Steps/1/Arguments/x/Get",
        "step Eval refers to unknown step 'Trian' (did you mean 'Train'?)",
    ),
    "unknown step in DependsOn": (
        [step("B", DependsOn=["Train"])],
        "unknown-step",
        "/Steps/0/DependsOn/0",
        "step B DependsOn unknown step 'Train'",
    ),
    "undefined parameter": (
        [uses(get("Parameters.Bucket"))],
        "unknown-parameter",
        "/Steps/0/Arguments/x/Get",
        "step A uses undefined parameter 'Bucket'",
    ),
    "unknown variable": (
        [uses(get("Execution.PipelineNme"))],
        "unknown-variable",
        "/Steps/0/Arguments/x/Get",
        "step A uses unknown variable 'Execution.PipelineNme' (did you mean 'PipelineName'?)",
    ),
    "too many outputs": (
        [step("A", OutputParameters=OUTPUTS)],
        "too-many-outputs",
        "/Steps/0/OutputParameters",
        "step A has 51 output parameters (at most 50 expected)",
    ),
    "a flag that is a text": (
        [step("A", "QualityCheck", CheckType="DATA_QUALITY", SkipCheck="no")],
        "wrong-type",
        "/Steps/0/SkipCheck",
        "SkipCheck of step A is the string 'no' (true, false or a reference expected)",
    ),
    "a mode of AutoML": (
        [step("A", "AutoML", Arguments={"AutoMLJobConfig": {"Mode": "HYPERPARAMETER_TUNING"}})],
        "unsupported-argument",
        "/Steps/0/Arguments/AutoMLJobConfig/Mode",
        "AutoML step A has Mode 'HYPERPARAMETER_TUNING' (ENSEMBLING expected)",
    ),
    "a deployment by AutoML": (
        [step("A", "AutoML", Arguments={"ModelDeployConfig": {}})],
        "unsupported-argument",
        "/Steps/0/Arguments/ModelDeployConfig",
        "AutoML step A may not say ModelDeployConfig: the service does",
    ),
    "an EMR step of nothing": (
        [step("A", "EMR", Arguments={"ClusterId": "j-1"})],
        "missing-member",
        "/Steps/0/Arguments",
        "EMR step A has no StepConfig",
    ),
    "a cluster's name": (
        [step("A", "EMR", Arguments={"ClusterConfig": {"Name": "x"}, "StepConfig": JAR})],
        "unsupported-argument",
        "/Steps/0/Arguments/ClusterConfig/Name",
        "EMR step A may not say Name: the service does",
    ),
    "a cluster's role": (
        [
            step(
                "A",
                "EMR",
                Arguments={"ClusterConfig": {}, "ExecutionRoleArn": "r", "StepConfig": JAR},
            )
        ],
        "unsupported-argument",
        "/Steps/0/Arguments/ExecutionRoleArn",
        "EMR step A has ExecutionRoleArn, which goes with ClusterId only",
    ),
    "groups and fleets": (
        [
            step(
                "A",
                "EMR",
                Arguments={
                    "ClusterConfig": {"Instances": {"InstanceGroups": [], "InstanceFleets": []}},
                    "StepConfig": JAR,
                },
            )
        ],
        "one-of-arguments",
        "/Steps/0/Arguments/ClusterConfig/Instances",
        (
            "EMR step A has InstanceGroups and InstanceFleets "
            "(InstanceGroups or InstanceFleets expected)"
        ),
    ),
    "unknown root": (
        [uses(get("Parameter.X"))],
        "unknown-expression",
        "/Steps/0/Arguments/x/Get",
        (
            "Get 'Parameter.X' in step A begins with none of Parameters, Execution, Steps, "
            "PipelineExperimentConfig (did you mean 'Parameters'?)"
        ),
    ),
    "unknown function": (
        [uses({"Std:Jion": {}})],
        "unknown-expression",
        "/Steps/0/Arguments/x",
        "step A uses unknown function 'Std:Jion' (did you mean 'Std:Join'?)",
    ),
    "no path": (
        [step("B"), uses(get("Steps.B.Outputs[x]"))],
        "expression-form",
        "/Steps/1/Arguments/x/Get",
        "Get 'Steps.B.Outputs[x]' in step A is no path such as Steps.A.Outputs['x'].S3Uri",
    ),
    "no property": (
        [step("B"), uses(get("Steps.B"))],
        "expression-form",
        "/Steps/1/Arguments/x/Get",
        "Get 'Steps.B' in step A names a step and no property of it",
    ),
    "a number to get": (
        [uses({"Get": 5})],
        "expression-form",
        "/Steps/0/Arguments/x/Get",
        "Get in step A is the number 5 (a string such as Parameters.Name expected)",
    ),
    "join of a text": (
        [uses({"Std:Join": {"On": "", "Values": "ab"}})],
        "expression-form",
        "/Steps/0/Arguments/x/Std:Join/Values",
        "Values of Std:Join in step A is the string 'ab' (an array expected)",
    ),
    "a join of objects": (
        [uses({"Std:Join": {"On": "", "Values": [{"a": 1}]}})],
        "expression-form",
        "/Steps/0/Arguments/x/Std:Join/Values/0",
        "Std:Join in step A joins an object (a string, number, boolean or expression expected)",
    ),
    "a property file that is not read": (
        [processing("Eval", REPORT), uses(get("Steps.Eval.PropertyFiles.Report"))],
        "expression-form",
        "/Steps/1/Arguments/x/Get",
        (
            "step A refers to 'Steps.Eval.PropertyFiles.Report': "
            "a property file can only be read, by Std:JsonGet"
        ),
    ),
    "a JsonGet of nothing": (
        [uses({"Std:JsonGet": {"Path": "a"}})],
        "expression-form",
        "/Steps/0/Arguments/x/Std:JsonGet",
        (
            "Std:JsonGet in step A reads neither PropertyFile nor S3Uri, or both (exactly one "
            "expected)"
        ),
    ),
    "unknown output": (
        [step("B"), uses(get("Steps.B.OutputParameters['oo']"))],
        "unknown-output",
        "/Steps/1/Arguments/x/Get",
        "step A refers to 'oo' of step B, which does not have it (did you mean 'o'?)",
    ),
    "unknown processing output": (
        [
            processing("Eval"),
            uses(get("Steps.Eval.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri")),
        ],
        "unknown-output",
        "/Steps/1/Arguments/x/Get",
        "step A refers to 'train' of step Eval, which does not have it (it has 'evaluation')",
    ),
    "a property file of no output": (
        [processing("Eval", {**REPORT, "OutputName": "evaluatoin"})],
        "unknown-output",
        "/Steps/0/PropertyFiles/0/OutputName",
        (
            "a property file of step Eval lies in output 'evaluatoin', which the step does not "
            "have (did you mean 'evaluation'?)"
        ),
    ),
    "a property file twice": (
        [processing("Eval", REPORT, REPORT)],
        "duplicate-property-file",
        "/Steps/0/PropertyFiles/1/PropertyFileName",
        "PropertyFileName 'Report' of step Eval used twice",
    ),
    "a step twice, once in a branch": (
        [step("A"), gate(then=[step("A")])],
        "duplicate-step",
        "/Steps/1/Arguments/IfSteps/0/Name",
        "step name 'A' used twice (first at /Steps/0)",
    ),
    "a step in both branches": (
        [gate(then=[step("A")], other=[step("A")])],
        "duplicate-step",
        "/Steps/0/Arguments/ElseSteps/0/Name",
        "step 'A' appears in both IfSteps and ElseSteps of Gate",
    ),
    "a name with a space": (
        [step("my step")],
        "step-name",
        "/Steps/0/Name",
        "step name 'my step' (1 to 64 letters, digits, hyphens and underscores expected)",
    ),
    "no name": ([LAMBDA], "missing-member", "/Steps/0", "a step has no Name"),
    "no function": (
        [{"Name": "A", "Type": "Lambda"}],
        "missing-member",
        "/Steps/0",
        "Lambda step A has no FunctionArn",
    ),
    "function ARN of a wrong type": (
        [step("A", FunctionArn=1)],
        "wrong-type",
        "/Steps/0/FunctionArn",
        "FunctionArn of step A is the number 1 (a string or expression expected)",
    ),
    "function ARN from an undefined parameter": (
        [step("A", FunctionArn=get("Parameters.F"))],
        "unknown-parameter",
        "/Steps/0/FunctionArn/Get",
        "step A uses undefined parameter 'F'",
    ),
    "unknown step type": (
        [step("A", "Trainning")],
        "unknown-step-type",
        "/Steps/0/Type",
        "unknown step Type 'Trainning' of step A (did you mean 'Training'?)",
    ),
    "no arguments": (
        [{"Name": "A", "Type": "Training"}],
        "missing-arguments",
        "/Steps/0",
        "Training step A has no Arguments",
    ),
    "a cluster step without a program": (
        [step("A", "EMR", Arguments={"ClusterId": "j", "StepConfig": {"HadoopJarStep": {}}})],
        "missing-member",
        "/Steps/0/Arguments/StepConfig/HadoopJarStep",
        "EMR step A has no Jar",
    ),
    "a serverless job without a job": (
        [step("A", "EMRServerless", Arguments={"ApplicationId": "a"})],
        "missing-member",
        "/Steps/0/Arguments",
        "EMRServerless step A has no JobConfig",
    ),
    "a cluster without instances": (
        [step("A", "EMR", Arguments={"ClusterConfig": {"Instances": {}}, "StepConfig": JAR})],
        "one-of-arguments",
        "/Steps/0/Arguments/ClusterConfig/Instances",
        (
            "EMR step A has neither InstanceGroups nor InstanceFleets "
            "(InstanceGroups or InstanceFleets expected)"
        ),
    ),
    "a step type that is empty": (
        [{"Name": "A", "Type": ""}],
        "unknown-step-type",
        "/Steps/0/Type",
        "unknown step Type '' of step A",
    ),
    "a cluster step without arguments": (
        [{"Name": "A", "Type": "EMR"}],
        "missing-arguments",
        "/Steps/0",
        "EMR step A has no Arguments",
    ),
    "no error message": (
        [step("A", "Fail")],
        "missing-member",
        "/Steps/0/Arguments",
        "Fail step A has no ErrorMessage",
    ),
    "both clusters": (
        [step("A", "EMR", Arguments={"ClusterId": "j", "ClusterConfig": {}, "StepConfig": JAR})],
        "one-of-arguments",
        "/Steps/0/Arguments",
        "EMR step A has both ClusterId and ClusterConfig (exactly one expected)",
    ),
    "a step that is none": (
        ["A"],
        "wrong-type",
        "/Steps/0",
        "a step is the string 'A' (an object expected)",
    ),
    "DependsOn one name": (
        [step("A"), step("B", DependsOn="A")],
        "wrong-type",
        "/Steps/1/DependsOn",
        "DependsOn of step B is the string 'A' (an array of step names expected)",
    ),
    "check type": (
        [step("A", "ClarifyCheck", CheckType="DATA_QUALITY")],
        "check-type",
        "/Steps/0/CheckType",
        (
            "ClarifyCheck step A has CheckType 'DATA_QUALITY' "
            "(DATA_BIAS, MODEL_BIAS or MODEL_EXPLAINABILITY expected)"
        ),
    ),
    "no check type": (
        [step("A", "QualityCheck")],
        "check-type",
        "/Steps/0",
        "QualityCheck step A has no CheckType (DATA_QUALITY or MODEL_QUALITY expected)",
    ),
    "output type": (
        [step("A", OutputParameters=[{"OutputName": "o", "OutputType": "Str"}])],
        "output-type",
        "/Steps/0/OutputParameters/0/OutputType",
        (
            "OutputType of an output parameter of step A is the string 'Str' "
            "(String, Integer, Boolean or Float expected)"
        ),
    ),
    "depending on Fail": (
        [
            gate(other=[step("Stop", "Fail", Arguments={"ErrorMessage": ""})]),
            step("B", DependsOn=["Stop"]),
        ],
        "depends-on-fail-step",
        "/Steps/1/DependsOn/0",
        "a Fail step ('Stop') cannot be named in DependsOn",
    ),
    "referring to Fail": (
        [
            step("Stop", "Fail", Arguments={"ErrorMessage": ""}),
            uses(get("Steps.Stop.ErrorMessage"), "B"),
        ],
        "refers-to-fail-step",
        "/Steps/1/Arguments/x/Get",
        "step B refers to Fail step 'Stop', which has no outputs",
    ),
    "unknown condition type": (
        [gate({"Type": "Not", "Condition": equals(1, 2, "GreaterThen")})],
        "unknown-condition-type",
        "/Steps/0/Arguments/Conditions/0/Condition/Type",
        "unknown condition Type 'GreaterThen' in Gate (did you mean 'GreaterThan'?)",
    ),
    "half a condition": (
        [gate({"Type": "Or", "Conditions": [{"Type": "Equals", "LeftValue": 1}]})],
        "missing-member",
        "/Steps/0/Arguments/Conditions/0/Conditions/0",
        "the Equals condition in Gate has no RightValue",
    ),
    "an object compared": (
        [gate(equals({"a": 1}, 1))],
        "wrong-type",
        "/Steps/0/Arguments/Conditions/0/LeftValue",
        "LeftValue in Gate is an object (a string, number, boolean or expression expected)",
    ),
    "no conditions": (
        [step("Gate", "Condition")],
        "missing-member",
        "/Steps/0/Arguments",
        "step Gate has no Conditions",
    ),
    "branches of another type": (
        [step("Gate", "Condition", Arguments={"Conditions": [], "IfSteps": "A"})],
        "wrong-type",
        "/Steps/0/Arguments/IfSteps",
        "IfSteps of Gate is the string 'A' (an array of steps expected)",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str) -> None:
    steps, code, pointer, message = ERRORS[case]
    assert only(findings(*steps)) == ("error", code, pointer, message)


def test_two_property_files_that_are_not_declared() -> None:
    reads = [
        {"Std:JsonGet": {"PropertyFile": get(f"Steps.Eval.PropertyFiles.{name}"), "Path": "a"}}
        for name in ("Metrics", "Report")
    ]
    found = findings(processing("Eval", REPORT), uses(reads))
    assert only(found) == (
        "error",
        "unknown-property-file",
        "/Steps/1/Arguments/x/0/Std:JsonGet/PropertyFile/Get",
        (
            "JsonGet in A reads property file 'Metrics', which step Eval does not declare "
            "(it declares 'Report')"
        ),
    )


WARNINGS: dict[str, tuple[Any, str, str]] = {
    "an unknown member": (
        [step("A", DependOn=[])],
        "/Steps/0/DependOn",
        "Lambda step A has no member 'DependOn' (did you mean 'DependsOn'?)",
    ),
    "a member of another type": (
        [step("A", "Model", CacheConfig={"Enabled": True})],
        "/Steps/0/CacheConfig",
        (
            "CacheConfig has no effect on Model step A (steps that take it: AutoML, Callback, "
            "ClarifyCheck, EMR, EMRServerless, Lambda, Processing, QualityCheck, Training, "
            "Transform, Tuning)"
        ),
    ),
    "a Fail step that says more": (
        [step("A", "Fail", Arguments={"ErrorMessage": "x", "Cause": "y"})],
        "/Steps/0/Arguments/Cause",
        "Fail step A has no member 'Cause'",
    ),
    "null for nothing": (
        [step("A", DependsOn=None)],
        "/Steps/0/DependsOn",
        "DependsOn of step A is null (an array of step names expected)",
    ),
    "text against a number": (
        [gate(equals(get("Parameters.Count"), "3"))],
        "/Steps/0/Arguments/Conditions/0",
        "a condition in Gate compares number with text: the step fails when it runs",
    ),
    "booleans by size": (
        [gate(equals(True, False, "LessThan"))],
        "/Steps/0/Arguments/Conditions/0",
        "a condition in Gate compares booleans by size: the step fails when it runs",
    ),
    "a condition in a branch": (
        [gate(then=[gate(name="Inner")])],
        "/Steps/0/Arguments/IfSteps/0",
        "Condition step Inner stands in a branch; SageMaker's guide rules that out (it runs here)",
    ),
    "an expression with company": (
        [uses({"Get": "Parameters.Count", "Other": 1})],
        "/Steps/0/Arguments/x",
        (
            "'Get' in step A stands beside other members: "
            "the object is taken as plain data, not as an expression"
        ),
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings(case: str) -> None:
    steps, pointer, message = WARNINGS[case]
    found = findings(*steps, Parameters=[{"Name": "Count", "Type": "Integer"}])
    severity, _, at, text = only(found)
    assert (severity, at, text) == ("warning", pointer, message)


def test_instances_that_only_the_service_knows() -> None:
    chosen = {"Instances": {"Get": "Steps.Make.OutputParameters['Instances']"}}
    outputs = [{"OutputName": "Instances", "OutputType": "String"}]
    making = {"FunctionArn": "arn:aws:lambda:us-east-1:111122223333:function:f"}
    assert not findings(
        step("Make", "Lambda", Arguments={}, OutputParameters=outputs, **making),
        step("A", "EMR", Arguments={"ClusterConfig": chosen, "StepConfig": JAR}),
    )
