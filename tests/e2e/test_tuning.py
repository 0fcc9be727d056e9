"""A tuning job on an engine: the best of its models is registered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.definitions import pipeline
from tests.e2e.desk import REPOSITORY, Desk

pytestmark = pytest.mark.slow

EXAMPLE = REPOSITORY / "pipelines" / "abalone"
BUCKET = "s3://sagebridge-abalone"
TRIALS = 6


def tuning(train: dict[str, Any]) -> dict[str, Any]:
    """The example's training as a tuning job of six training jobs."""
    ranges = {
        "ContinuousParameterRanges": [
            {"Name": "eta", "MinValue": "0.01", "MaxValue": "0.5", "ScalingType": "Logarithmic"}
        ],
        "IntegerParameterRanges": [{"Name": "max_depth", "MinValue": "1", "MaxValue": "6"}],
    }
    config = {
        "Strategy": "Bayesian",
        "RandomSeed": 1,
        "ResourceLimits": {"MaxNumberOfTrainingJobs": TRIALS, "MaxParallelTrainingJobs": 2},
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
        "ParameterRanges": ranges,
    }
    parts = ("AlgorithmSpecification", "RoleArn", "InputDataConfig", "ResourceConfig")
    definition = {part: train[part] for part in (*parts, "StoppingCondition")}
    static = {"objective": "reg:squarederror", "num_round": "20"}
    output = {"S3OutputPath": f"{BUCKET}/tuned"}
    definition |= {"StaticHyperParameters": static, "OutputDataConfig": output}
    arguments = {"HyperParameterTuningJobConfig": config, "TrainingJobDefinition": definition}
    return {"Name": "Tune", "Type": "Tuning", "Arguments": arguments}


def definition() -> dict[str, Any]:
    """A definition; the model's URI is what TuningStep.get_top_model_s3_uri returns."""
    example = json.loads((EXAMPLE / "definition.json").read_text())
    steps = {step["Name"]: step for step in example["Steps"]}
    (register, *_) = steps["AbaloneMSECond"]["Arguments"]["IfSteps"]
    del register["Arguments"]["ModelMetrics"]
    best = {"Get": "Steps.Tune.TrainingJobSummaries[0].TrainingJobName"}
    values = ["s3:/", "sagebridge-abalone/tuned", best, "output/model.tar.gz"]
    (container,) = register["Arguments"]["InferenceSpecification"]["Containers"]
    container["ModelDataUrl"] = {"Std:Join": {"On": "/", "Values": values}}
    found = pipeline(steps["AbaloneProcess"], tuning(steps["AbaloneTrain"]["Arguments"]), register)
    return found | {"Parameters": example["Parameters"]}


def test_best_of_six_models_is_registered(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    maker = [sys.executable, str(EXAMPLE / "sample_data.py"), "sample"]
    subprocess.run(maker, cwd=desk.folder, check=True, capture_output=True)
    source = desk.write("tuned.json", definition())
    code = f"--upload={EXAMPLE / 'preprocessing.py'}={BUCKET}/code/preprocessing.py"
    running = desk.run(source, code, f"--upload={desk.folder / 'sample'}={BUCKET}/data")
    try:
        assert running.wait() == 0, running.output
    finally:
        running.end()

    shown = desk.show(running.execution)["steps"]
    job = shown["Tune"]["job"]
    jobs = desk.sagemaker.list_training_jobs(NameContains=f"{job}-")["TrainingJobSummaries"]
    trained = [
        desk.sagemaker.describe_training_job(TrainingJobName=one["TrainingJobName"]) for one in jobs
    ]
    errors = {
        one["TrainingJobName"]: metric["Value"]
        for one in trained
        for metric in one["FinalMetricDataList"]
        if metric["MetricName"] == "validation:rmse"
    }
    assert len(errors) == TRIALS
    best = min(errors, key=lambda name: errors[name])
    assert shown["Tune"]["made"] == {"best training job": best}
    (package,) = desk.sagemaker.list_model_packages(ModelPackageGroupName="sagebridge-abalone")[
        "ModelPackageSummaryList"
    ]
    registered = desk.sagemaker.describe_model_package(ModelPackageName=package["ModelPackageArn"])[
        "InferenceSpecification"
    ]["Containers"][0]["ModelDataUrl"]
    assert registered == f"{BUCKET}/tuned/{best}/output/model.tar.gz"
    assert desk.stored(registered).is_file()
    log = desk.type("executions", "logs", running.execution, "Tune").stdout
    assert f"{best} Completed: validation:rmse" in log
