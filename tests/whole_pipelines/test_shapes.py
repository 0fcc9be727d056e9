"""Unusual jobs send what their definition says: Spark, functions, notebooks, several containers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.whole_pipelines.definitions import definitions, pipeline_of
from tests.whole_pipelines.in_process import run
from tests.whole_pipelines.scenarios import scenarios
from tests.whole_pipelines.trace import EXECUTION, Trace
from tests.whole_pipelines.world import World

SHAPES = (
    "function-and-notebook",
    "hand-notebookjob",
    "hand-pipelinemodel",
    "hand-spark",
    "hand-stepdecorator-mixed",
    "models",
    "notebook-job",
    "processing",
    "pyspark-param",
    "stepdec",
    "stepdec-condition",
    "v3-hand-stepdecorator",
)
FILES = [path for path in definitions() if path.stem in SHAPES]
FILLED_IN = {
    "ClientToken",
    "ExperimentConfig",
    "ModelName",
    "ProcessingJobName",
    "TrainingJobName",
    "TransformJobName",
}
TYPES = ("Processing", "Training", "Transform", "Model", "RegisterModel")


def executed(world: World, path: Path) -> Trace:
    pipeline = pipeline_of(path)
    return run(world, pipeline, scenarios(pipeline)[0])


def request(trace: Trace, step: str) -> Any:
    (made,) = trace.steps[step]["requests"]
    return made["request"]


def own(name: str) -> Path:
    return next(path for path in FILES if path.stem == name)


def nested_steps(steps: list[Any]) -> list[Any]:
    inner = [one.get("Arguments", {}) for one in steps]
    found = [step for one in inner for key in ("IfSteps", "ElseSteps") for step in one.get(key, [])]
    return [*steps, *(nested_steps(found) if found else [])]


def differences(argument: Any, sent: Any, where: str = "") -> list[str]:
    """Where a request is not what the arguments say; an expression may have any value."""
    match argument, sent:
        case {"Get": _} | {"Std:Join": _} | {"Std:JsonGet": _}, str() | int() | float():
            return []
        case dict(), dict():
            lacking = [f"{where}/{key}" for key in argument.keys() ^ sent.keys()]
            both = argument.keys() & sent.keys()
            inner = (differences(argument[key], sent[key], f"{where}/{key}") for key in both)
            return [*lacking, *(one for found in inner for one in found)]
        case list(), list() if len(argument) == len(sent):
            pairs = enumerate(zip(argument, sent, strict=True))
            return [one for n, pair in pairs for one in differences(*pair, f"{where}/{n}")]
    return [] if argument == sent and type(argument) is type(sent) else [where]


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_create_requests_are_the_arguments(path: Path, world: World) -> None:
    trace = executed(world, path)
    steps = nested_steps(json.loads(path.read_text())["Steps"])
    compared = 0
    for step in steps:
        if step["Type"] not in TYPES or "requests" not in trace.steps[step["Name"]]:
            continue
        sent, given = request(trace, step["Name"]), step["Arguments"]
        added = FILLED_IN - given.keys() if "ModelName" in given else FILLED_IN
        kept = {key: value for key, value in sent.items() if key not in added}
        wanted = {key: value for key, value in given.items() if key not in added}
        assert differences(wanted, kept) == [], step["Name"]
        compared += 1
    assert compared


def test_spark_job_gets_its_instances_entry_point_and_outputs(world: World) -> None:
    sent = request(executed(world, own("processing")), "Spark")
    assert sent["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 2
    assert sent["AppSpecification"]["ContainerEntrypoint"][0] == "smspark-submit"
    assert sent["AppSpecification"]["ContainerArguments"] == ["--rows", "2"]
    assert [one["InputName"] for one in sent["ProcessingInputs"]] == ["sharded", "athena"]
    assert sent["ProcessingOutputConfig"]["Outputs"][0]["FeatureStoreOutput"]


def test_function_gets_its_execution_and_its_properties_in_order(world: World) -> None:
    trace = executed(world, own("function-and-notebook"))
    arguments = request(trace, "Function")["AlgorithmSpecification"]["ContainerArguments"]
    given = dict(zip(arguments[:8:2], arguments[1:8:2], strict=True))
    assert given["--pipeline_execution_id"] == EXECUTION
    assert arguments[8:] == [
        "--property_references",
        "Parameters.Name",
        arguments[10],
        "--serialize_output_to_json",
        "true",
    ]
    assert request(trace, "Function")["OutputDataConfig"]["S3OutputPath"] == (
        f"s3://example/2026-01-01/{EXECUTION}/Function/results"
    )
    notebook = request(trace, "Notebook")
    assert notebook["AlgorithmSpecification"]["ContainerEntrypoint"] == [
        "amazon_sagemaker_scheduler"
    ]
    assert notebook["HyperParameters"]["name"] == arguments[10]
    assert trace.steps["Use"]["requests"][0]["request"]["Payload"]


def test_model_with_several_containers_keeps_their_order(world: World) -> None:
    trace = executed(world, own("models"))
    artifact = request(trace, "Chain")["Containers"][0]["ModelDataUrl"]
    assert artifact.endswith("/output/model.tar.gz")
    second = request(trace, "Chain")["Containers"][1]["ModelDataSource"]["S3DataSource"]
    assert second["S3Uri"] == f"s3://example/{EXECUTION}"
    (registered,) = request(trace, "Register")["InferenceSpecification"]["Containers"]
    assert registered["ModelDataUrl"] == artifact
    assert request(trace, "Predict")["ModelName"] == request(trace, "One")["ModelName"]
