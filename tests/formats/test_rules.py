"""Findings for steps, expressions and conditions: code, pointer and message."""

from __future__ import annotations

from typing import Any

import pytest

from tests.definition import (
    LAMBDA,
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

OUTPUTS = [{"OutputName": f"o{number}", "OutputType": "String"} for number in range(51)]
JAR = {"HadoopJarStep": {"Jar": "j"}}
CLUSTER = {"Instances": {"MasterInstanceType": "m5.xlarge"}}
ERRORS: dict[str, tuple[Any, str, str, str]] = {
    "unknown step": (
        [step("Train"), uses(output_of("Trian"), "Eval")],
        "unknown-step",
        "/Steps/1/Arguments/x/Get",
        "step Eval: reference to unknown step 'Trian' (did you mean 'Train'?)",
    ),
    "unknown step in DependsOn": (
        [step("B", DependsOn=["Train"])],
        "unknown-step",
        "/Steps/0/DependsOn/0",
        "step B: unknown step 'Train' in DependsOn",
    ),
    "undefined parameter": (
        [uses(get("Parameters.Bucket"))],
        "unknown-parameter",
        "/Steps/0/Arguments/x/Get",
        "step A: unknown parameter 'Bucket'",
    ),
    "unknown variable": (
        [uses(get("Execution.PipelineNme"))],
        "unknown-variable",
        "/Steps/0/Arguments/x/Get",
        "step A: unknown variable 'Execution.PipelineNme' (did you mean 'PipelineName'?)",
    ),
    "too many outputs": (
        [step("A", OutputParameters=OUTPUTS)],
        "too-many-outputs",
        "/Steps/0/OutputParameters",
        "step A: 51 output parameters; at most 50 are allowed",
    ),
    "flag of a wrong type": (
        [step("A", "QualityCheck", CheckType="DATA_QUALITY", SkipCheck="no")],
        "wrong-type",
        "/Steps/0/SkipCheck",
        "SkipCheck of step A: expected true, false or an expression, got 'no'",
    ),
    "unsupported mode of AutoML": (
        [step("A", "AutoML", Arguments={"AutoMLJobConfig": {"Mode": "HYPERPARAMETER_TUNING"}})],
        "unsupported-argument",
        "/Steps/0/Arguments/AutoMLJobConfig/Mode",
        "AutoML step A: Mode must be ENSEMBLING, got 'HYPERPARAMETER_TUNING'",
    ),
    "deployment by AutoML": (
        [step("A", "AutoML", Arguments={"ModelDeployConfig": {}})],
        "unsupported-argument",
        "/Steps/0/Arguments/ModelDeployConfig",
        "AutoML step A: ModelDeployConfig is not allowed; the service sets it",
    ),
    "EMR step without a step config": (
        [step("A", "EMR", Arguments={"ClusterId": "j-1"})],
        "missing-member",
        "/Steps/0/Arguments",
        "EMR step A: missing key 'StepConfig'",
    ),
    "cluster with a name": (
        [
            step(
                "A", "EMR", Arguments={"ClusterConfig": {**CLUSTER, "Name": "x"}, "StepConfig": JAR}
            )
        ],
        "unsupported-argument",
        "/Steps/0/Arguments/ClusterConfig/Name",
        "EMR step A: Name is not allowed; the service sets it",
    ),
    "role without a cluster id": (
        [
            step(
                "A",
                "EMR",
                Arguments={"ClusterConfig": CLUSTER, "ExecutionRoleArn": "r", "StepConfig": JAR},
            )
        ],
        "unsupported-argument",
        "/Steps/0/Arguments/ExecutionRoleArn",
        "EMR step A: ExecutionRoleArn is only allowed together with ClusterId",
    ),
    "instance groups and fleets": (
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
        ("EMR step A: expected either InstanceGroups or InstanceFleets, got both"),
    ),
    "unknown root": (
        [uses(get("Parameter.X"))],
        "unknown-expression",
        "/Steps/0/Arguments/x/Get",
        ("step A: unknown reference 'Parameter.X' (did you mean 'Parameters'?)"),
    ),
    "unknown function": (
        [uses({"Std:Jion": {}})],
        "unknown-expression",
        "/Steps/0/Arguments/x",
        "step A: unknown function 'Std:Jion' (did you mean 'Std:Join'?)",
    ),
    "malformed reference": (
        [step("B"), uses(get("Steps.B.Outputs[x]"))],
        "expression-form",
        "/Steps/1/Arguments/x/Get",
        (
            "step A: malformed reference 'Steps.B.Outputs[x]'; expected a path such as "
            "Steps.A.Outputs['x'].S3Uri"
        ),
    ),
    "step without a property": (
        [step("B"), uses(get("Steps.B"))],
        "expression-form",
        "/Steps/1/Arguments/x/Get",
        "step A: 'Steps.B' is a step; expected one of its properties",
    ),
    "Get of a number": (
        [uses({"Get": 5})],
        "expression-form",
        "/Steps/0/Arguments/x/Get",
        "step A: Get expects a string such as 'Parameters.Name', got 5",
    ),
    "Join of a string": (
        [uses({"Std:Join": {"On": "", "Values": "ab"}})],
        "expression-form",
        "/Steps/0/Arguments/x/Std:Join/Values",
        "Std:Join in step A: Values expects an array, got 'ab'",
    ),
    "Join of objects": (
        [uses({"Std:Join": {"On": "", "Values": [{"a": 1}]}})],
        "expression-form",
        "/Steps/0/Arguments/x/Std:Join/Values/0",
        "Std:Join in step A: expected a string, number, boolean or expression, got an object",
    ),
    "property file outside JsonGet": (
        [processing("Eval", REPORT), uses(get("Steps.Eval.PropertyFiles.Report"))],
        "expression-form",
        "/Steps/1/Arguments/x/Get",
        (
            "step A: 'Steps.Eval.PropertyFiles.Report' can only be used as PropertyFile of "
            "Std:JsonGet"
        ),
    ),
    "JsonGet without a source": (
        [uses({"Std:JsonGet": {"Path": "a"}})],
        "expression-form",
        "/Steps/0/Arguments/x/Std:JsonGet",
        ("Std:JsonGet in step A: expected either PropertyFile or S3Uri"),
    ),
    "unknown output": (
        [step("B"), uses(get("Steps.B.OutputParameters['oo']"))],
        "unknown-output",
        "/Steps/1/Arguments/x/Get",
        "step A: step B has no output 'oo' (did you mean 'o'?)",
    ),
    "unknown processing output": (
        [
            processing("Eval"),
            uses(get("Steps.Eval.ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri")),
        ],
        "unknown-output",
        "/Steps/1/Arguments/x/Get",
        "step A: step Eval has no output 'train' (it has 'evaluation')",
    ),
    "property file of an unknown output": (
        [processing("Eval", {**REPORT, "OutputName": "evaluatoin"})],
        "unknown-output",
        "/Steps/0/PropertyFiles/0/OutputName",
        (
            "property file of step Eval: the step has no output 'evaluatoin' (did you mean "
            "'evaluation'?)"
        ),
    ),
    "duplicate property file": (
        [processing("Eval", REPORT, REPORT)],
        "duplicate-property-file",
        "/Steps/0/PropertyFiles/1/PropertyFileName",
        "step Eval: two PropertyFiles have the PropertyFileName 'Report'",
    ),
    "duplicate step in a branch": (
        [step("A"), gate(then=[step("A")])],
        "duplicate-step",
        "/Steps/1/Arguments/IfSteps/0/Name",
        "two steps are named 'A' (the first is at /Steps/0)",
    ),
    "step in both branches": (
        [gate(then=[step("A")], other=[step("A")])],
        "duplicate-step",
        "/Steps/0/Arguments/ElseSteps/0/Name",
        "step 'A' is in both IfSteps and ElseSteps of Gate",
    ),
    "name with a space": (
        [step("my step")],
        "step-name",
        "/Steps/0/Name",
        "invalid step name 'my step'; expected 1 to 64 letters, digits, hyphens and underscores",
    ),
    "missing name": ([LAMBDA], "missing-member", "/Steps/0", "step: missing key 'Name'"),
    "missing function ARN": (
        [{"Name": "A", "Type": "Lambda"}],
        "missing-member",
        "/Steps/0",
        "Lambda step A: missing key 'FunctionArn'",
    ),
    "function ARN of a wrong type": (
        [step("A", FunctionArn=1)],
        "wrong-type",
        "/Steps/0/FunctionArn",
        "FunctionArn of step A: expected a string or expression, got 1",
    ),
    "function ARN from an undefined parameter": (
        [step("A", FunctionArn=get("Parameters.F"))],
        "unknown-parameter",
        "/Steps/0/FunctionArn/Get",
        "step A: unknown parameter 'F'",
    ),
    "unknown step type": (
        [step("A", "Trainning")],
        "unknown-step-type",
        "/Steps/0/Type",
        "step A: unknown Type 'Trainning' (did you mean 'Training'?)",
    ),
    "missing arguments": (
        [{"Name": "A", "Type": "Training"}],
        "missing-arguments",
        "/Steps/0",
        "Training step A: missing key 'Arguments'",
    ),
    "EMR step without a jar": (
        [step("A", "EMR", Arguments={"ClusterId": "j", "StepConfig": {"HadoopJarStep": {}}})],
        "missing-member",
        "/Steps/0/Arguments/StepConfig/HadoopJarStep",
        "StepConfig.HadoopJarStep of step A: missing key 'Jar'",
    ),
    "serverless step without a job": (
        [step("A", "EMRServerless", Arguments={"ApplicationId": "a"})],
        "missing-member",
        "/Steps/0/Arguments",
        "EMRServerless step A: missing key 'JobConfig'",
    ),
    "cluster without instances": (
        [step("A", "EMR", Arguments={"ClusterConfig": {"Instances": {}}, "StepConfig": JAR})],
        "one-of-arguments",
        "/Steps/0/Arguments/ClusterConfig/Instances",
        ("EMR step A: expected either InstanceGroups or InstanceFleets, got neither"),
    ),
    "empty step type": (
        [{"Name": "A", "Type": ""}],
        "unknown-step-type",
        "/Steps/0/Type",
        "step A: unknown Type ''",
    ),
    "EMR step without arguments": (
        [{"Name": "A", "Type": "EMR"}],
        "missing-arguments",
        "/Steps/0",
        "EMR step A: missing key 'Arguments'",
    ),
    "missing error message": (
        [step("A", "Fail")],
        "missing-member",
        "/Steps/0/Arguments",
        "Fail step A: missing key 'ErrorMessage'",
    ),
    "cluster id and cluster config": (
        [
            step(
                "A",
                "EMR",
                Arguments={"ClusterId": "j", "ClusterConfig": CLUSTER, "StepConfig": JAR},
            )
        ],
        "one-of-arguments",
        "/Steps/0/Arguments",
        "EMR step A: expected either ClusterId or ClusterConfig, got both",
    ),
    "step that is a string": (
        ["A"],
        "wrong-type",
        "/Steps/0",
        "step: expected an object, got 'A'",
    ),
    "DependsOn with a string": (
        [step("A"), step("B", DependsOn="A")],
        "wrong-type",
        "/Steps/1/DependsOn",
        "DependsOn of step B: expected an array of step names, got 'A'",
    ),
    "check type of another step": (
        [step("A", "ClarifyCheck", CheckType="DATA_QUALITY")],
        "check-type",
        "/Steps/0/CheckType",
        (
            "ClarifyCheck step A: CheckType expects DATA_BIAS, MODEL_BIAS or "
            "MODEL_EXPLAINABILITY, got 'DATA_QUALITY'"
        ),
    ),
    "missing check type": (
        [step("A", "QualityCheck")],
        "check-type",
        "/Steps/0",
        "QualityCheck step A: missing key 'CheckType'; expected DATA_QUALITY or MODEL_QUALITY",
    ),
    "unknown output type": (
        [step("A", OutputParameters=[{"OutputName": "o", "OutputType": "Str"}])],
        "output-type",
        "/Steps/0/OutputParameters/0/OutputType",
        (
            "output parameter of step A: OutputType expects String, Integer, Boolean or Float, "
            "got 'Str'"
        ),
    ),
    "DependsOn a Fail step": (
        [
            gate(other=[step("Stop", "Fail", Arguments={"ErrorMessage": ""})]),
            step("B", DependsOn=["Stop"]),
        ],
        "depends-on-fail-step",
        "/Steps/1/DependsOn/0",
        "step B: DependsOn names the Fail step 'Stop', and no step can run after a Fail step",
    ),
    "reference to a Fail step": (
        [
            step("Stop", "Fail", Arguments={"ErrorMessage": ""}),
            uses(get("Steps.Stop.ErrorMessage"), "B"),
        ],
        "refers-to-fail-step",
        "/Steps/1/Arguments/x/Get",
        "step B: reference to Fail step 'Stop', which has no outputs",
    ),
    "unknown condition type": (
        [gate({"Type": "Not", "Condition": equals(1, 2, "GreaterThen")})],
        "unknown-condition-type",
        "/Steps/0/Arguments/Conditions/0/Condition/Type",
        "step Gate: unknown condition type 'GreaterThen' (did you mean 'GreaterThan'?)",
    ),
    "condition without a value": (
        [gate({"Type": "Or", "Conditions": [{"Type": "Equals", "LeftValue": 1}]})],
        "missing-member",
        "/Steps/0/Arguments/Conditions/0/Conditions/0",
        "Equals condition in step Gate: missing key 'RightValue'",
    ),
    "comparison with an object": (
        [gate(equals({"a": 1}, 1))],
        "wrong-type",
        "/Steps/0/Arguments/Conditions/0/LeftValue",
        "LeftValue in step Gate: expected a string, number, boolean or expression, got an object",
    ),
    "missing conditions": (
        [step("Gate", "Condition")],
        "missing-member",
        "/Steps/0/Arguments",
        "Condition step Gate: missing key 'Conditions'",
    ),
    "branch of a wrong type": (
        [step("Gate", "Condition", Arguments={"Conditions": [], "IfSteps": "A"})],
        "wrong-type",
        "/Steps/0/Arguments/IfSteps",
        "IfSteps of step Gate: expected an array of steps, got 'A'",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str) -> None:
    steps, code, pointer, message = ERRORS[case]
    assert only(findings(*steps)) == ("error", code, pointer, message)


def test_unknown_property_files_are_errors() -> None:
    reads = [
        {"Std:JsonGet": {"PropertyFile": get(f"Steps.Eval.PropertyFiles.{name}"), "Path": "a"}}
        for name in ("Metrics", "Report")
    ]
    found = findings(processing("Eval", REPORT), uses(reads))
    assert only(found) == (
        "error",
        "unknown-property-file",
        "/Steps/1/Arguments/x/0/Std:JsonGet/PropertyFile/Get",
        ("step A: step Eval has no property file 'Metrics' (it has 'Report')"),
    )


WARNINGS: dict[str, tuple[Any, str, str]] = {
    "unknown key": (
        [step("A", DependOn=[])],
        "/Steps/0/DependOn",
        "Lambda step A: unknown key 'DependOn' (did you mean 'DependsOn'?)",
    ),
    "key of another step type": (
        [step("A", "Model", CacheConfig={"Enabled": True})],
        "/Steps/0/CacheConfig",
        (
            "Model step A: CacheConfig has no effect; only AutoML, Callback, "
            "ClarifyCheck, EMR, EMRServerless, Endpoint, EndpointConfig, Job, Lambda, Processing, "
            "QualityCheck, Training, Transform, Tuning steps use it"
        ),
    ),
    "unknown key of a Fail step": (
        [step("A", "Fail", Arguments={"ErrorMessage": "x", "Cause": "y"})],
        "/Steps/0/Arguments/Cause",
        "Fail step A: unknown key 'Cause'",
    ),
    "null for an optional key": (
        [step("A", DependsOn=None)],
        "/Steps/0/DependsOn",
        "DependsOn of step A: expected an array of step names, got null",
    ),
    "string against a number": (
        [gate(equals(get("Parameters.Count"), "3"))],
        "/Steps/0/Arguments/Conditions/0",
        "condition in step Gate: a number cannot be compared with a string; the step will fail",
    ),
    "order of booleans": (
        [gate(equals(True, False, "LessThan"))],
        "/Steps/0/Arguments/Conditions/0",
        "condition in step Gate: booleans cannot be compared with LessThan; the step will fail",
    ),
    "condition in a branch": (
        [gate(then=[gate(name="Inner")])],
        "/Steps/0/Arguments/IfSteps/0",
        (
            "Condition step Inner is inside a branch, which SageMaker does not allow; "
            "Airflow and Prefect run it"
        ),
    ),
    "expression with other keys": (
        [uses({"Get": "Parameters.Count", "Other": 1})],
        "/Steps/0/Arguments/x",
        ("step A: the object has other keys next to 'Get', so it is plain data, not an expression"),
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings(case: str) -> None:
    steps, pointer, message = WARNINGS[case]
    found = findings(*steps, Parameters=[{"Name": "Count", "Type": "Integer"}])
    severity, _, at, text = only(found)
    assert (severity, at, text) == ("warning", pointer, message)


def test_instances_may_be_an_expression() -> None:
    file = {"Get": "Steps.Make.PropertyFiles.Report"}
    chosen = {"Instances": {"Std:JsonGet": {"PropertyFile": file, "Path": "instances"}}}
    assert not findings(
        processing("Make", REPORT),
        step("A", "EMR", Arguments={"ClusterConfig": chosen, "StepConfig": JAR}),
    )


def test_code_takes_all_properties_of_a_step() -> None:
    code = step("A", "sagebridge.ShellCommand", Arguments={"command": get("Steps.Eval")})
    found = codes(findings(processing("Eval", REPORT), code))
    assert ("expression-form", "/Steps/1/Arguments/command/Get") not in found
