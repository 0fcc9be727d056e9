"""Tuning jobs: real searches with real training jobs, and their results."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sagebridge.model import local_rejections
from sagebridge.model.local_differences import refusals
from sagebridge_operators.backends.local import LocalBackend, supervisor, tuning_job, tuning_search
from tests.local.api_requests import INSTANCE, ROLE
from tests.local.test_client import assert_shape

if TYPE_CHECKING:
    from tests.local.conftest import Bench

SCRIPT = """
import argparse, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--point", type=float, default=1)
parser.add_argument("--kind", default="a")
parser.add_argument("--seconds", type=float, default=0)
given = parser.parse_args()
print("ready", flush=True)
time.sleep(given.seconds)
if given.kind == "broken":
    sys.exit("this kind is broken")
open("/opt/ml/model/point", "w").write(str(given.point))
if given.kind != "silent":
    print(f"loss={(given.point - 2) ** 2}")
"""
IMAGE = "0.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.2-1"


def definition(code: Path, **more: Any) -> dict[str, Any]:
    """A definition of training jobs that run SCRIPT."""
    code.mkdir(exist_ok=True)
    (code / "train.py").write_text(SCRIPT)
    static = {"sagemaker_program": "train.py", "sagemaker_submit_directory": f"file://{code}"}
    return {
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "HyperParameterTuningResourceConfig": INSTANCE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **more,
        "StaticHyperParameters": static | more.get("StaticHyperParameters", {}),
    }


def config(strategy: str, jobs: int | None = None, *, best: str = "Minimize", **more: Any) -> Any:
    limits: dict[str, Any] = {"MaxParallelTrainingJobs": 2}
    if jobs is not None:
        limits["MaxNumberOfTrainingJobs"] = jobs
    return {
        "Strategy": strategy,
        "ResourceLimits": limits | more.pop("limits", {}),
        "HyperParameterTuningJobObjective": {"Type": best, "MetricName": "loss"},
        **more,
    }


def categories(**values: list[str]) -> dict[str, Any]:
    return {
        "CategoricalParameterRanges": [
            {"Name": name, "Values": given} for name, given in values.items()
        ]
    }


class Tuner:
    """A client with real jobs in the folder of a bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.backend = LocalBackend(bench.home, bench.base)
        self.client = self.backend.client("sagemaker")

    def start(self, config: dict[str, Any], **more: Any) -> None:
        if "TrainingJobDefinitions" not in more:
            more.setdefault("TrainingJobDefinition", definition(self.bench.base / "code"))
        self.client.create_hyper_parameter_tuning_job(
            HyperParameterTuningJobName="tune", HyperParameterTuningJobConfig=config, **more
        )

    def run(self, config: dict[str, Any], **more: Any) -> dict[str, Any]:
        self.start(config, **more)
        self.bench.wait("Tuning", "tune")
        return self.describe()

    def describe(self) -> dict[str, Any]:
        return dict(
            self.client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune")
        )

    def trials(self, **more: Any) -> list[dict[str, Any]]:
        found = self.client.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName="tune", MaxResults=100, **more
        )
        return list(found["TrainingJobSummaries"])

    def ranked(self, order: str) -> list[dict[str, Any]]:
        return self.trials(SortBy="FinalObjectiveMetricValue", SortOrder=order)

    def log(self) -> str:
        return self.bench.log("Tuning", "tune")

    def wait_for_trials(self, number: int) -> list[str]:
        """The names of running training jobs, once ``number`` of their scripts run."""
        give_up = time.monotonic() + 60
        while True:
            names = [one["TrainingJobName"] for one in self.trials()]
            ready = [name for name in names if "ready" in self.bench.log("Training", name)]
            if len(ready) >= number:
                return ready
            assert time.monotonic() < give_up, self.log()
            time.sleep(0.05)


@pytest.fixture
def tuner(bench: Bench) -> Tuner:
    return Tuner(bench)


def test_grid_runs_each_combination_once_and_a_failed_one_does_not_matter(tuner: Tuner) -> None:
    space = categories(point=["1", "2", "3"], kind=["a", "broken"])

    described = tuner.run(config("Grid", ParameterRanges=space))

    assert described["HyperParameterTuningJobStatus"] == "Completed", tuner.log()
    trials = tuner.trials()
    tried = sorted(
        (one["TunedHyperParameters"]["point"], one["TunedHyperParameters"]["kind"])
        for one in trials
    )
    assert tried == [(point, kind) for point in "123" for kind in ("a", "broken")]
    assert described["TrainingJobStatusCounters"] == {
        "Completed": 3,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 3,
        "Stopped": 0,
    }
    assert described["ObjectiveStatusCounters"] == {"Succeeded": 3, "Pending": 0, "Failed": 3}
    best = described["BestTrainingJob"]
    assert best["TunedHyperParameters"] == {"point": "2", "kind": "a"}
    assert best["FinalHyperParameterTuningJobObjectiveMetric"] == {
        "Type": "Minimize",
        "MetricName": "loss",
        "Value": 0.0,
    }
    ranked = tuner.ranked("Ascending")
    assert ranked[0] == best
    assert len(ranked) == 3
    # They are ordinary training jobs, with the model where the SDK looks for the best one.
    name = best["TrainingJobName"]
    assert name.startswith(("tune-003-", "tune-004-"))
    job = tuner.client.describe_training_job(TrainingJobName=name)
    assert job["TuningJobArn"] == described["HyperParameterTuningJobArn"]
    assert job["HyperParameters"]["_tuning_objective_metric"] == "loss"
    assert tuner.bench.store.exists(f"s3://bucket/models/{name}/output/model.tar.gz")
    assert len(tuner.client.list_training_jobs()["TrainingJobSummaries"]) == 6
    assert f"{name} Completed: loss 0" in tuner.log()
    for operation in (
        "DescribeHyperParameterTuningJob",
        "ListTrainingJobsForHyperParameterTuningJob",
    ):
        assert_shape(tuner.backend, operation, {"HyperParameterTuningJobName": "tune"})
    assert_shape(tuner.backend, "ListHyperParameterTuningJobs", {})
    assert_shape(tuner.backend, "DescribeTrainingJob", {"TrainingJobName": name})


def test_maximize_ranks_in_the_other_order(tuner: Tuner) -> None:
    points = categories(point=["1.5", "4", "3"])
    described = tuner.run(config("Grid", best="Maximize", ParameterRanges=points))

    order = [one["TunedHyperParameters"]["point"] for one in tuner.ranked("Descending")]
    assert order == ["4", "3", "1.5"]
    assert described["BestTrainingJob"]["TunedHyperParameters"] == {"point": "4"}


def test_several_definitions_have_their_own_ranges(tuner: Tuner) -> None:
    objective = {"Type": "Minimize", "MetricName": "loss"}
    definitions = [
        definition(
            tuner.bench.base / "code",
            DefinitionName=name,
            TuningObjective=objective,
            HyperParameterRanges=ranges,
            StaticHyperParameters={"point": "5"} if "kind" in str(ranges) else {},
        )
        for name, ranges in {
            "points": categories(point=["1", "2"]),
            "kinds": categories(kind=["a", "silent"]),
        }.items()
    ]
    grid = {"Strategy": "Grid", "ResourceLimits": {"MaxParallelTrainingJobs": 2}}

    described = tuner.run(grid, TrainingJobDefinitions=definitions)

    found = [(one["TrainingJobDefinitionName"], one["ObjectiveStatus"]) for one in tuner.trials()]
    assert sorted(found) == [
        ("kinds", "Failed"),
        ("kinds", "Succeeded"),
        ("points", "Succeeded"),
        ("points", "Succeeded"),
    ]
    assert described["BestTrainingJob"]["TrainingJobDefinitionName"] == "points"


def test_tuning_fails_once_five_training_jobs_have_failed(tuner: Tuner) -> None:
    space = {"ContinuousParameterRanges": [{"Name": "point", "MinValue": "0", "MaxValue": "1"}]}
    code = tuner.bench.base / "code"
    described = tuner.run(
        config("Random", 20, ParameterRanges=space),
        TrainingJobDefinition=definition(code, StaticHyperParameters={"kind": "broken"}),
    )
    assert described["HyperParameterTuningJobStatus"] == "Failed"
    reason = "No training job succeeded after [56] attempts.*this kind is broken"
    assert re.search(reason, described["FailureReason"], re.DOTALL)
    assert "BestTrainingJob" not in described


def test_tuning_fails_if_no_training_job_has_a_metric(tuner: Tuner) -> None:
    space = categories(kind=["silent"])
    described = tuner.run(config("Grid", ParameterRanges=space))
    assert described["HyperParameterTuningJobStatus"] == "Failed"
    assert "No objective metrics found after running 1 training jobs" in described["FailureReason"]


def sleeping(tuner: Tuner, strategy: str = "Random", **more: Any) -> None:
    """Start a tuning job whose training jobs take ten minutes."""
    space = {"IntegerParameterRanges": [{"Name": "point", "MinValue": "0", "MaxValue": "9"}]}
    code = tuner.bench.base / "code"
    slow = definition(code, StaticHyperParameters={"seconds": "600"})
    tuner.start(config(strategy, 20, ParameterRanges=space, **more), TrainingJobDefinition=slow)


def test_stop_ends_the_training_jobs_that_run_in_parallel(tuner: Tuner) -> None:
    sleeping(tuner)
    number = min(2, len(os.sched_getaffinity(0)))
    tuner.wait_for_trials(number)
    assert tuner.describe()["TrainingJobStatusCounters"]["InProgress"] == number

    tuner.client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune")

    assert tuner.describe()["HyperParameterTuningJobStatus"] == "Stopping"
    tuner.bench.wait("Tuning", "tune")
    assert tuner.describe()["HyperParameterTuningJobStatus"] == "Stopped"
    assert [one["TrainingJobStatus"] for one in tuner.trials()] == ["Stopped"] * number


def test_training_jobs_stop_if_the_tuning_job_is_killed(tuner: Tuner) -> None:
    sleeping(tuner)
    names = tuner.wait_for_trials(1)
    record = tuner.bench.records.get("Tuning", "tune")
    assert record

    os.kill(record["_supervisor"]["pid"], signal.SIGKILL)

    assert "supervisor" in tuner.bench.wait("Tuning", "tune")["FailureReason"]
    started = tuner.trials()
    for one in started:
        name = one["TrainingJobName"]
        assert tuner.bench.wait("Training", name, 20)["TrainingJobStatus"] in ("Stopped", "Failed")
    assert len(tuner.trials()) == len(started) >= len(names)


def test_removed_folder_ends_the_jobs_and_stays_removed(tuner: Tuner) -> None:
    sleeping(tuner)
    names = tuner.wait_for_trials(min(2, len(os.sched_getaffinity(0))))
    found = [tuner.bench.records.get("Tuning", "tune")]
    found += [tuner.bench.records.get("Training", name) for name in names]
    running = [Path(f"/proc/{body['_supervisor']['pid']}") for body in found if body]

    trash = tuner.bench.base / "trash"
    tuner.bench.home.rename(trash)  # at once, although jobs still write files
    shutil.rmtree(trash, ignore_errors=True)

    give_up = time.monotonic() + 30
    while any(process.exists() for process in running):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    assert not tuner.bench.home.exists()


def test_killed_training_job_counts_as_a_failed_one(tuner: Tuner) -> None:
    space = categories(seconds=["0", "600"])
    static = {"point": "1"}
    tuner.start(
        config("Grid", ParameterRanges=space),
        TrainingJobDefinition=definition(tuner.bench.base / "code", StaticHyperParameters=static),
    )
    slow: list[dict[str, Any]] = []
    give_up = time.monotonic() + 60
    while not slow:
        assert time.monotonic() < give_up, tuner.log()
        slow = [
            body
            for body in tuner.bench.records.list("Training")
            if body["HyperParameters"]["seconds"] == "600" and "_supervisor" in body
        ]
    record = slow[0]
    os.kill(record["_supervisor"]["pid"], signal.SIGKILL)

    assert tuner.bench.wait("Tuning", "tune")["HyperParameterTuningJobStatus"] == "Completed"
    assert tuner.describe()["TrainingJobStatusCounters"]["NonRetryableError"] == 1


def test_limits_and_criteria_end_the_search(tuner: Tuner) -> None:
    points = categories(point=["5", "2"], seconds=["0", "600"])
    described = tuner.run(
        config(
            "Grid",
            ParameterRanges=points,
            TuningJobCompletionCriteria={"TargetObjectiveMetricValue": 10.0},
        )
    )
    assert described["HyperParameterTuningJobStatus"] == "Completed"
    assert described["TrainingJobStatusCounters"]["Completed"] == 1
    assert "TargetObjectiveMetricValue 10.0 is reached" in tuner.log()


def test_runtime_limit_without_a_result_is_a_failure(
    tuner: Tuner, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = supervisor.start

    def start_later(home: Path, kind: str, name: str, *more: Any) -> None:
        body = tuner.bench.records.get(kind, name) or {}
        old = {"CreationTime": body["CreationTime"] - 119}
        tuner.bench.records.update(kind, name, lambda body: body.update(old))
        start(home, kind, name, *more)

    monkeypatch.setattr(supervisor, "start", start_later)
    sleeping(tuner, "Hyperband", limits={"MaxRuntimeInSeconds": 120})
    tuner.bench.wait("Tuning", "tune")
    assert tuner.describe()["HyperParameterTuningJobStatus"] == "Failed"
    assert "running for more than MaxRuntimeInSeconds (120)" in tuner.log()
    assert "Strategy: runs as Random" in tuner.log()


def numeric(name: str = "x", low: str = "0", high: str = "1", **more: str) -> dict[str, Any]:
    return {
        "ContinuousParameterRanges": [{"Name": name, "MinValue": low, "MaxValue": high, **more}]
    }


RANGES = {
    "ContinuousParameterRanges": [
        {"Name": "wide", "MinValue": "0.0001", "MaxValue": "1", "ScalingType": "Auto"},
        {"Name": "narrow", "MinValue": "0", "MaxValue": "1", "ScalingType": "Auto"},
        {"Name": "log", "MinValue": "0.01", "MaxValue": "100", "ScalingType": "Logarithmic"},
        {
            "Name": "near",
            "MinValue": "0",
            "MaxValue": "0.9999",
            "ScalingType": "ReverseLogarithmic",
        },
    ],
    "IntegerParameterRanges": [
        {"Name": "few", "MinValue": "1", "MaxValue": "3", "ScalingType": "Linear"},
        {"Name": "many", "MinValue": "1", "MaxValue": "10000", "ScalingType": "Logarithmic"},
    ],
    "CategoricalParameterRanges": [{"Name": "kind", "Values": ["a", "b"]}],
}


def drawn(search: tuning_search.Search, number: int) -> list[dict[str, str]]:
    found = [search.ask() for _ in range(number)]
    return [dict(one.parameters) for one in found if one is not None]


def test_random_values_follow_range_and_scale() -> None:
    space = tuning_search.ranges_of(RANGES)
    found = drawn(tuning_search.random_search([space], 7), 999)
    values = {
        name: sorted(float(one[name]) for one in found) for name in found[0] if name != "kind"
    }
    middle = {name: some[len(some) // 2] for name, some in values.items()}

    assert {one["few"] for one in found} == {"1", "2", "3"}
    assert {one["kind"] for one in found} == {"a", "b"}
    assert 0.005 < middle["wide"] < 0.02
    assert 0.4 < middle["narrow"] < 0.6
    assert 0.5 < middle["log"] < 2
    assert 0.98 < middle["near"] < 0.995
    assert 60 < middle["many"] < 160
    assert values["many"][0] == 1
    assert all(some[0] >= 0 and some[-1] <= 10000 for some in values.values())
    assert found == drawn(tuning_search.random_search([space], 7), 999)
    assert found != drawn(tuning_search.random_search([space], 8), 999)


def played(best: tuning_search.Objective, seed: int = 3) -> list[float]:
    """The points that the Bayesian search tries for the distance to 0.3."""
    space = tuning_search.ranges_of(numeric("narrow"))
    search = tuning_search.BayesianSearch([space], best, seed, 24)
    points = []
    for _ in range(24):
        candidate = search.ask()
        points.append(float(candidate.parameters["narrow"]))
        search.tell(candidate, (points[-1] - 0.3) ** 2)
    return points


def test_bayesian_search_follows_the_results() -> None:
    near, far = played("Minimize"), played("Maximize")
    assert near[:6] == far[:6]
    assert near[6:] != far[6:]
    assert sum(abs(point - 0.3) < 0.2 for point in near[6:]) > 12
    assert sum(abs(point - 0.3) > 0.4 for point in far[6:]) > 12
    assert near == played("Minimize")


def test_jobs_that_have_not_improved_are_counted() -> None:
    def ended(at: int, value: float) -> dict[str, Any]:
        metric = {"Type": "Maximize", "MetricName": "auc", "Value": value}
        return {"TrainingEndTime": at, tuning_job.OBJECTIVE: value, tuning_job.METRIC: metric}

    values = [0.5, 0.7, 0.703, 0.6]
    assert tuning_job.not_improving([ended(*one) for one in enumerate(values)]) == 2
    assert tuning_job.not_improving([]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (config("Random", 3, ParameterRanges=numeric(low="2")), "2.0 is not below 1.0"),
        (config("Random", 3, ParameterRanges=numeric(low="few")), "could not convert"),
        (
            config("Random", 3, ParameterRanges=numeric(ScalingType="Logarithmic")),
            "Logarithmic scaling needs values above 0",
        ),
        (
            config("Random", 3, ParameterRanges=numeric(ScalingType="ReverseLogarithmic")),
            "from 0 to below 1",
        ),
        (config("Grid", ParameterRanges=numeric()), "only categorical ranges, and x is numeric"),
        (
            config("Grid", 3, ParameterRanges=categories(x=["1", "2"])),
            "MaxNumberOfTrainingJobs is 3, but the Grid has 2 combinations",
        ),
        (config("Random", ParameterRanges=numeric()), "MaxRuntimeInSeconds is required"),
        (
            {
                **config("Random", 3),
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "mse"},
            },
            "the objective mse is not one of its MetricDefinitions",
        ),
    ],
)
def test_invalid_requests_are_rejected(
    sagemaker: Any, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        sagemaker.create_hyper_parameter_tuning_job(
            HyperParameterTuningJobName="tune",
            HyperParameterTuningJobConfig=change,
            TrainingJobDefinition=definition(tmp_path / "code"),
        )


def test_bayesian_search_needs_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = {"HyperParameterTuningJobConfig": {"Strategy": "Bayesian"}}
    assert list(refusals("Tuning", request)) == []

    monkeypatch.setattr(local_rejections, "find_spec", lambda name: None)

    (line,) = refusals("Tuning", request)
    assert line.endswith("install the extra 'tuning', or use Random")
