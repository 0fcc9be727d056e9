"""A Hypothesis strategy for whole, realistic pipelines with odd strings.

:func:`tests.strategies.definitions` draws arbitrary constructs. These pipelines could be in use:
they have every step type with its request, references to existing steps, and branches of depth
four. Names and strings are those that a generated file is most likely to get wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.strategies import SCALARS, TEXT

ROLE = "arn:aws:iam::111122223333:role/r"
ODD_TEXTS = (
    "0123",
    "true",
    "1e5",
    "None",
    "{{ x }}",
    "{% raw %}{# c #}",
    "{x} {0} {{}}",
    "%(x)s %s",
    "'''",
    '"""',
    "'\"",
    "\\N{BULLET} \\",
    "\N{BULLET}\u2028\x85",
    "${x} $(id) `id`",
    "two\nlines\r\n\t",
    "a: b\n    Args:\n        P: q",
    "<b onclick='x'>&amp;</b> [l](javascript:x)",
    "# sagebridge: no",
    "\ud800",
    "\x00\x1b[31m",
    "",
    " ",
    "x" * 300,
    "word " * 60,
    "Parameters.P",
    "Steps.A.ModelName",
    "runbook.md",
)
NUMBERS = (0, -0.0, 1, 1.0, -1, 1e22, 5e-324, 1.7976931348623157e308, 10**30, -(10**30), 0.1, True)
STEP_NAMES = (
    *("A", "Train", "AbaloneTrain", "a-b", "a_b", "A-B", "a--b", "-", "_", "__", "1st", "0"),
    *("class", "match", "None", "print", "list", "self", "DAG", "Param", "flow", "get", "join"),
    *("training", "begin", "finish", "step", "execution", "dag", "ABSENT", "l", "O", "Literal"),
    *("object", "watch_failures", "x" * 64, "x" * 63 + "-", "X" * 64, "x" * 61 + "_step"),
    *("InputData", "return_state", "Steps", "Outcome", "properties", "None-step", "list_step"),
)
ILLEGAL_NAMES = ("é", "日本", "a b", "a.b", "a'b", 'a"b', "a]b", "x" * 300, "\n", "", "{{ x }}")
PARAMETER_NAMES = (
    *("P", "InputData", "class", "in-count", "in_count", "in.count", "_x", "l", "copy", "é"),
    *("model_config", "return_state", "parameters", "training", "Args", "x" * 256, "print", "1st"),
)
TRIGGERS: tuple[dict[str, Any], ...] = (
    {},
    *({"Trigger": one} for one in ("Completed", "Failed", "Stopped", "Any", "Sometimes")),
)
texts = st.sampled_from(ODD_TEXTS) | TEXT
plain_values = st.sampled_from(NUMBERS) | texts | SCALARS
Draw = st.DrawFn


def _maybe(draw: Draw, chance: int = 3) -> bool:
    return draw(st.integers(1, chance)) == 1


class _Writer:
    """Draws one definition. ``known`` has the steps so far."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        pool = [*STEP_NAMES, *(ILLEGAL_NAMES if _maybe(draw, 4) else ())]
        self.names = [*(f"Step{number}" for number in range(60)), *draw(st.permutations(pool))]
        self.known: list[dict[str, Any]] = []
        self.parameters: list[dict[str, Any]] = []
        count = draw(st.integers(0, 5))
        self.parameters = [self.parameter(name) for name in self._some(PARAMETER_NAMES, count)]

    def _some(self, pool: tuple[str, ...], count: int) -> list[str]:
        return self.draw(
            st.lists(st.sampled_from(pool), min_size=count, max_size=count, unique=True)
        )

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def text(self) -> str:
        return self.draw(texts)

    # Values

    def get(self) -> Any:
        """A reference, mostly to something that exists, in one of its spellings."""
        kind = self.pick("parameter", "step", "step", "execution", "unknown")
        if kind == "parameter" and self.parameters:
            return {"Get": f"Parameters.{self.pick(*self.parameters)['Name']}"}
        names = [step["Name"] for step in self.known if step["Type"] != "Fail"]
        if kind == "unknown":
            names = ["Absent"]
        if kind in ("step", "unknown") and names:
            name = self.pick(*names)
            step = self.pick(f"Steps.{name}", f"Steps.{name}", f'Steps["{name}"]')
            path = self.pick(
                ".ModelArtifacts.S3ModelArtifacts",
                ".ProcessingOutputConfig.Outputs['train'].S3Output.S3Uri",
                '.ProcessingOutputConfig.Outputs["a.b:c"].S3Output.S3Uri',
                ".ProcessingOutputConfig.Outputs['it\"s'].S3Output.S3Uri",
                ".TrainingJobSummaries[0].TrainingJobName",
                ".FinalMetricDataList['validation:rmse'].Value",
                ".OutputParameters['class']",
                ".class._x.None",
                ".a-b.1",
                ".Environment['{{ x }}']",
                "",
            )
            return {"Get": step + path}
        return {"Get": f"Execution.{self.pick('PipelineExecutionId', 'StartDateTime', 'Odd')}"}

    def value(self, depth: int = 2) -> Any:
        """Most often a string; otherwise a number, a reference, a join, a read, or nested JSON."""
        kind = self.pick("text", "text", "plain", "get", "get", "join", "read", "nest")
        if kind == "get":
            return self.get()
        if depth and kind == "join":
            join: dict[str, Any] = {"Values": [self.value(0) for _ in range(self.pick(0, 1, 2, 3))]}
            if not _maybe(self.draw, 4):
                join["On"] = self.pick("", "/", "{{ }}", "'")
            return {"Std:Join": join}
        if depth and kind == "read":
            return self.read()
        if depth and kind == "nest":
            return self.pick(
                {},
                [],
                [[]],
                [None],
                {"": {}},
                {"a": self.value(depth - 1)},
                [self.value(depth - 1)],
            )
        return self.draw(plain_values) if kind == "plain" else self.text()

    def read(self) -> Any:
        path = self.pick("a.b[0]['k']", "$.x", "{{ x }}")
        files = [
            f"Steps.{step['Name']}.PropertyFiles.{file['PropertyFileName']}"
            for step in self.known
            for file in step.get("PropertyFiles") or ()
            if isinstance(file, dict)
        ]
        if files:
            return {"Std:JsonGet": {"PropertyFile": {"Get": self.pick(*files)}, "Path": path}}
        uri = {"Std:Join": {"On": "/", "Values": [self.get(), "results.json"]}}
        return {"Std:JsonGet": {"S3Uri": uri, "Path": path}}

    # Parts of a definition other than steps

    def parameter(self, name: str) -> dict[str, Any]:
        type_, default = self.pick(
            ("String", self.text()),
            ("String", self.text()),
            ("Integer", self.pick(0, -3, 10**30, "7", "x", 1.0)),
            ("Float", self.pick(6.0, -0.0, 1, 1e22, "6.0")),
            ("Boolean", self.pick(True, False, "true", "TRUE")),
            ("Date", "2026-01-01"),
        )
        found: dict[str, Any] = {"Name": name, "Type": type_}
        if _maybe(self.draw, 6):
            del found["Type"]
        if not _maybe(self.draw, 4):
            found["DefaultValue"] = self.pick(default, default, default, None)
        if _maybe(self.draw, 4):
            found["EnumValues"] = self.pick(
                [default], [default, self.text()], [self.text(), self.text()], [], None, [1, "1"]
            )
        if _maybe(self.draw):
            found["Description"] = self.pick(self.text(), self.text(), None)
        if _maybe(self.draw, 8):
            found["Odd"] = self.value()
        return found

    # Steps

    def steps(self, depth: int, least: int = 1) -> list[dict[str, Any]]:
        """Steps in any order. Each refers only to steps drawn before."""
        made = [self.step(depth) for _ in range(self.pick(*range(least, 6)))]
        return made if _maybe(self.draw, 2) else self.draw(st.permutations(made))

    def step(self, depth: int) -> dict[str, Any]:
        type_ = self.pick(*_ARGUMENTS, *(["Condition"] * 5 if depth else []))
        step: dict[str, Any] = {"Name": self.names.pop(), "Type": type_}
        self.common(step)
        if type_ == "Condition":
            step["Arguments"] = self.branches(step, depth)
        else:
            step["Arguments"] = _ARGUMENTS[type_](self)
            self.known.append(step)
        if _maybe(self.draw, 12):
            step["Arguments"] = self.pick(None, [], {}, "x")
        elif _maybe(self.draw, 20):
            del step["Arguments"]
        return step

    def branches(self, step: dict[str, Any], depth: int) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "Conditions": [self.condition() for _ in range(self.pick(0, 1, 1, 2))]
        }
        self.known.append(step)
        arguments["IfSteps"] = self.steps(depth - 1, least=0)
        if not _maybe(self.draw, 4):
            arguments["ElseSteps"] = self.steps(depth - 1, least=0)
        if _maybe(self.draw, 8):
            arguments[self.pick("Odd", "IfSteps")] = self.pick(None, "x")
        return arguments

    def condition(self, depth: int = 2) -> dict[str, Any]:
        compared = (
            *("Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo"),
            "NotEquals",
        )
        kind = self.pick("two", "two", "two", "all", "in", "in", "not", "or", "odd")
        if kind == "in":
            type_ = self.pick("In", "NotIn")
            query, among = self.pick(("QueryValue", "Values"), ("Value", "In"))
            values = [self.value(0) for _ in range(self.pick(0, 1, 2))]
            found = {"Type": type_, query: self.value(1), among: values}
        elif kind == "not" and depth:
            found = {"Type": "Not", "Condition": self.condition(depth - 1)}
        elif kind == "or" and depth:
            inner = [self.condition(depth - 1) for _ in range(self.pick(0, 1, 2))]
            found = {"Type": "Or", "Conditions": inner}
        elif kind == "all" and depth:
            sides = {"LeftValue": self.value(0), "RightValue": self.value(0)}
            found = {"Type": "Or", "Conditions": [{"Type": one, **sides} for one in compared]}
        elif kind == "odd":
            found = self.pick({"Type": "Equals"}, {"Type": "XOr", "a": self.value()}, {})
        else:
            sides = {"LeftValue": self.value(1), "RightValue": self.value(0)}
            found = {"Type": self.pick(*compared), **sides}
        if _maybe(self.draw, 12):
            found["Odd"] = self.value(0)
        return found

    def common(self, step: dict[str, Any]) -> None:
        """Keys of any step type, sometimes null or of a wrong type."""
        draws: dict[str, Callable[[], Any]] = {
            "DependsOn": self.depends_on,
            "DisplayName": self.text,
            "Description": self.text,
            "CacheConfig": lambda: self.pick(
                {"Enabled": True, "ExpireAfter": self.pick("30d", "PT1H", "T12H", "p30dT5h", "x")},
                {"Enabled": False},
                {"Enabled": {"Get": "Parameters.P"}, "Odd": 1},
                {},
            ),
            "RetryPolicies": lambda: [self.retry_policy() for _ in range(self.pick(0, 1, 2))],
            "PropertyFiles": self.property_files,
            "OutputParameters": lambda: [
                {"OutputName": self.text(), "OutputType": kind}
                for kind in self.draw(st.lists(st.sampled_from(("String", "Integer", "x"))))[:2]
            ],
            "SkipCheck": self.value,
            "FunctionArn": self.text,
            self.text() or "Odd": self.value,
        }
        for name, make in draws.items():
            if name in ("Name", "Type", "Arguments"):
                continue
            if _maybe(self.draw, 4):
                step[name] = make() if not _maybe(self.draw, 10) else self.pick(None, [], {}, "x")

    def depends_on(self) -> list[Any]:
        names = [*(step["Name"] for step in self.known), "Absent"]
        return [
            self.pick(name, name, *({"Step": name, **one} for one in TRIGGERS))
            for name in self.draw(st.lists(st.sampled_from(names), max_size=3))
        ]

    def retry_policy(self) -> dict[str, Any]:
        types = ("Step.SERVICE_FAULT", "Step.THROTTLING", "SageMaker.JOB_INTERNAL_ERROR")
        found: dict[str, Any] = {"ExceptionType": self.pick(list(types[:2]), types[2], [], [""])}
        limits = (("MaxAttempts", 3), ("ExpireAfterMin", 60), ("MaxAttempts", None), ("Odd", 1))
        found.update([self.pick(*limits)])
        if _maybe(self.draw, 2):
            found["IntervalSeconds"] = self.pick(1, 30, 1.5)
            found["BackoffRate"] = self.pick(2.0, 2, "2")
        return found

    def property_files(self) -> list[dict[str, Any]]:
        names = self.draw(st.lists(st.sampled_from(("F", "a b", "class", "F'", "{{f}}"))))[:2]
        return [
            {"PropertyFileName": name, "OutputName": self.text(), "FilePath": "evaluation.json"}
            for name in names
        ]

    # Arguments

    def environment(self) -> dict[str, Any]:
        count = self.pick(0, 1, 2)
        return {self.text(): self.value() for _ in range(count)}

    def processing(self) -> dict[str, Any]:
        code = {"S3Uri": self.value(), "LocalPath": "/opt/ml/processing/input/code"}
        output = {"S3Uri": self.value(), "LocalPath": "/opt/ml/x", "S3UploadMode": "EndOfJob"}
        found: dict[str, Any] = {
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": self.pick(1, self.get()),
                    "InstanceType": self.value(),
                    "VolumeSizeInGB": 30,
                }
            },
            "AppSpecification": {
                "ImageUri": self.text(),
                "ContainerArguments": [self.value() for _ in range(self.pick(0, 2))],
                "ContainerEntrypoint": ["python3", self.text()],
            },
            "RoleArn": ROLE,
            "ProcessingInputs": [{"InputName": "code", "AppManaged": False, "S3Input": code}],
            "ProcessingOutputConfig": {
                "Outputs": [{"OutputName": "train", "AppManaged": False, "S3Output": output}]
            },
            "Environment": self.environment(),
        }
        for name in list(found):
            if _maybe(self.draw, 8):
                del found[name]
        return found

    def training(self) -> dict[str, Any]:
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": self.value()}}
        return {
            "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": self.text()},
            "OutputDataConfig": {"S3OutputPath": self.value()},
            "StoppingCondition": {"MaxRuntimeInSeconds": self.pick(86400, 1.0, 10**30)},
            "ResourceConfig": {"VolumeSizeInGB": 30, "InstanceCount": 1, "InstanceType": "m"},
            "RoleArn": ROLE,
            "InputDataConfig": [{"DataSource": source, "ChannelName": self.text()}],
            "HyperParameters": self.environment(),
            "ExperimentConfig": self.pick(None, {}, {"TrialComponentDisplayName": self.text()}),
        }

    def tuning(self) -> dict[str, Any]:
        limits = {"MaxNumberOfTrainingJobs": self.pick(1, self.get()), "MaxParallelTrainingJobs": 1}
        job = {"StaticHyperParameters": self.environment(), **self.training()}
        return {
            "HyperParameterTuningJobConfig": {"Strategy": "Bayesian", "ResourceLimits": limits},
            **self.pick({"TrainingJobDefinition": job}, {"TrainingJobDefinitions": [job, {}]}),
        }

    def auto_ml(self) -> dict[str, Any]:
        channel = {"DataSource": {"S3DataSource": {"S3Uri": self.value()}}}
        return {
            "InputDataConfig": [{**channel, "TargetAttributeName": self.text()}],
            "OutputDataConfig": {"S3OutputPath": self.value()},
            "AutoMLJobConfig": {"Mode": "ENSEMBLING"},
            "RoleArn": ROLE,
        }

    def container(self) -> dict[str, Any]:
        return {
            "Image": self.text(),
            "ModelDataUrl": self.value(),
            "Environment": self.environment(),
        }

    def model(self) -> dict[str, Any]:
        made = self.container()
        return {
            "ExecutionRoleArn": ROLE,
            **self.pick({"PrimaryContainer": made}, {"Containers": [made, self.container()]}),
        }

    def register(self) -> dict[str, Any]:
        return {
            "ModelPackageGroupName": self.value(),
            "ModelMetrics": {"ModelQuality": {"Statistics": {"S3Uri": self.value()}}},
            "InferenceSpecification": {"Containers": [self.container()]},
            "ModelApprovalStatus": self.get(),
            "Description": self.text(),
        }

    def transform(self) -> dict[str, Any]:
        return {
            "ModelName": self.value(),
            "TransformInput": {"DataSource": {"S3DataSource": {"S3Uri": self.value()}}},
            "TransformOutput": {"S3OutputPath": self.value()},
            "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
        }

    def endpoint_config(self) -> dict[str, Any]:
        return {"ProductionVariants": [{"ModelName": self.value(), "VariantName": self.text()}]}

    def endpoint(self) -> dict[str, Any]:
        return {"EndpointConfigName": self.value(), "EndpointName": self.text()}

    def emr(self) -> dict[str, Any]:
        jar = {"Jar": "command-runner.jar", "Args": [self.value(), self.text()]}
        where = self.pick(
            {"ClusterId": self.value()},
            {"ClusterConfig": {"Instances": {"InstanceGroups": []}, "ReleaseLabel": "6"}},
        )
        return {**where, "StepConfig": {"HadoopJarStep": jar}}

    def serverless(self) -> dict[str, Any]:
        job = {"executionRoleArn": ROLE, "jobDriver": {"sparkSubmit": {"entryPoint": self.value()}}}
        return {"ExecutionRoleArn": ROLE, "ApplicationId": self.value(), "JobConfig": job}

    def event(self) -> dict[str, Any]:
        return {**self.environment(), self.text(): self.value()}

    def failure(self) -> dict[str, Any]:
        return {"ErrorMessage": self.value()}


_ARGUMENTS: dict[str, Callable[[_Writer], Any]] = {
    "Processing": _Writer.processing,
    "Training": _Writer.training,
    "Tuning": _Writer.tuning,
    "AutoML": _Writer.auto_ml,
    "Model": _Writer.model,
    "RegisterModel": _Writer.register,
    "Transform": _Writer.transform,
    "EndpointConfig": _Writer.endpoint_config,
    "Endpoint": _Writer.endpoint,
    "InferenceComponent": _Writer.endpoint,
    "EMR": _Writer.emr,
    "EMRServerless": _Writer.serverless,
    "Lambda": _Writer.event,
    "Callback": _Writer.event,
    "Fail": _Writer.failure,
    "ClarifyCheck": _Writer.processing,
    "QualityCheck": _Writer.processing,
    "Athena": _Writer.event,
}


@st.composite
def definitions(draw: Draw) -> dict[str, Any]:
    """A whole definition with unique names."""
    writer = _Writer(draw)
    found: dict[str, Any] = {
        "Version": "2020-12-01",
        "Metadata": draw(st.sampled_from(({}, {"a": "{{ x }}"}, {"": "\n"}))),
        "Parameters": writer.parameters,
        "PipelineExperimentConfig": writer.pick(
            None,
            {},
            {"ExperimentName": {"Get": "Execution.PipelineName"}, "TrialName": writer.value()},
            {"ExperimentName": {"On": "-", "Values": [writer.value(0), "x"]}},
        ),
        "MlflowConfig": writer.pick(
            None, {"MlflowResourceArn": writer.value(), "MlflowExperimentName": writer.text()}
        ),
        "Steps": writer.steps(4),
    }
    for name in ("Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Version"):
        if _maybe(draw, 6):
            del found[name]
    return found


@st.composite
def requests(draw: Draw) -> dict[str, Any]:
    """A CreatePipeline request, with the fields next to the definition."""
    found: dict[str, Any] = {
        "PipelineName": draw(st.sampled_from(("p", "a-b", "x" * 256, "class", "{{ x }}", "é/b"))),
        "PipelineDefinition": json.dumps(draw(definitions())),
    }
    optional: dict[str, st.SearchStrategy[Any]] = {
        "PipelineDisplayName": texts,
        "PipelineDescription": texts,
        "RoleArn": st.just(ROLE) | texts,
        "Tags": st.lists(st.fixed_dictionaries({"Key": texts, "Value": texts}), max_size=2),
        "ParallelismConfiguration": st.builds(
            lambda most: {"MaxParallelExecutionSteps": most}, st.integers(1, 50)
        ),
    }
    for name, strategy in optional.items():
        if _maybe(draw):
            found[name] = draw(strategy)
    return found
