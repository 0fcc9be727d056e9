"""Tuning jobs: training jobs of this machine with hyperparameters that a search chooses.

Each training job has its own supervisor, which stops it if the tuning job dies. The results of a
tuning job are read from the records of its training jobs.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sagebridge_operators.backends.local import supervisor
from sagebridge_operators.backends.local.api import ApiError
from sagebridge_operators.backends.local.database import Records
from sagebridge_operators.backends.local.job_api import Jobs
from sagebridge_operators.backends.local.local_job_type import LocalJobType, local_job_type
from sagebridge_operators.backends.local.supervised_job import (
    STOP_POLL_SECONDS,
    TERMINAL,
    Job,
    Outcome,
    image_parts,
)
from sagebridge_operators.backends.local.tuning_search import (
    BayesianSearch,
    Candidate,
    InvalidRange,
    Range,
    Search,
    grid_search,
    grid_size,
    random_search,
    ranges_of,
)
from sagebridge_operators.run_errors import RecordsError

Body = Mapping[str, Any]

NAME_LIMIT = 32
NUMBER_SUFFIX = 4
"""Bytes of the random end of a training job's name: ``<tuning job>-001-0a1b2c3d``."""
HOPELESS = 5
"""The service gives up if none of the first five training jobs succeeds."""
IMPROVED = 0.01
"""The share by which a result must be better to count as an improvement."""
OBJECTIVE = "FinalObjectiveMetricValue"
METRIC = "FinalHyperParameterTuningJobObjectiveMetric"
_PASSED = (
    *("AlgorithmSpecification", "RoleArn", "InputDataConfig", "VpcConfig", "OutputDataConfig"),
    *("StoppingCondition", "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption"),
    *("EnableManagedSpotTraining", "RetryStrategy", "ResourceConfig"),
)
"""Keys of a definition that are keys of CreateTrainingJob too."""
_SHOWN = (
    *("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "CreationTime"),
    *("TrainingStartTime", "TrainingEndTime", "FailureReason"),
)
_NO_METRIC = (
    "No objective metrics found after running {} training jobs. Please ensure that the custom "
    "algorithm is emitting the objective metric as defined by the regular expression provided."
)
_NONE_SUCCEEDED = (
    "No training job succeeded after {} attempts. Please take a look at the training job failures "
    "to get more details."
)


def definitions_of(request: Body) -> list[Body]:
    """The definitions of training jobs; the objective and ranges of the job are in each."""
    one, several = request.get("TrainingJobDefinition"), request.get("TrainingJobDefinitions")
    config = request["HyperParameterTuningJobConfig"]
    shared = {
        "TuningObjective": config.get("HyperParameterTuningJobObjective"),
        "HyperParameterRanges": config.get("ParameterRanges", {}),
    }
    return [{**shared, **definition} for definition in ([one] if one else several or ())]


def spaces_of(definitions: Iterable[Body]) -> list[tuple[Range, ...]]:
    """The ranges of each definition."""
    return [ranges_of(definition["HyperParameterRanges"]) for definition in definitions]


def limit_of(request: Body) -> int | None:
    """The number of training jobs; None if only time limits it."""
    limits = request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    found = limits.get("MaxNumberOfTrainingJobs")
    return None if found is None else int(found)


def _check(request: Body, records: Records, region: str) -> None:
    if problem := _problem(request):
        raise ApiError("ValidationException", problem)


def _problem(request: Body) -> str:
    """Why a request cannot run here; empty if it can."""
    config, definitions = request["HyperParameterTuningJobConfig"], definitions_of(request)
    strategy = config["Strategy"]
    if len(request["HyperParameterTuningJobName"]) > NAME_LIMIT:
        return f"a tuning job's name has at most {NAME_LIMIT} characters"
    if ("TrainingJobDefinition" in request) == ("TrainingJobDefinitions" in request):
        return "exactly one of TrainingJobDefinition and TrainingJobDefinitions is required"
    for definition in definitions:
        if problem := _definition_problem(definition):
            return problem
    if len({definition["TuningObjective"]["Type"] for definition in definitions}) > 1:
        return "all definitions of training jobs need the same Type of TuningObjective"
    try:
        spaces = spaces_of(definitions)
        total = grid_size(spaces) if strategy == "Grid" else None
    except InvalidRange as error:
        return str(error)
    limit = limit_of(request)
    if total is not None and limit not in (None, total):
        return f"MaxNumberOfTrainingJobs is {limit}, but the Grid has {total} combinations"
    if total is None and limit is None and "MaxRuntimeInSeconds" not in config["ResourceLimits"]:
        return "MaxNumberOfTrainingJobs or MaxRuntimeInSeconds is required"
    return ""


def _definition_problem(definition: Body) -> str:
    name = definition.get("DefinitionName", "TrainingJobDefinition")
    if definition["TuningObjective"] is None:
        return f"{name} has no objective"
    specification = definition["AlgorithmSpecification"]
    metric = definition["TuningObjective"]["MetricName"]
    built_in = "xgboost" in image_parts(specification.get("TrainingImage", ""))[
        0
    ] and "sagemaker_program" not in definition.get("StaticHyperParameters", {})
    known = [one["Name"] for one in specification.get("MetricDefinitions") or ()]
    if metric not in known and not built_in:
        return f"{name}: the objective {metric} is not one of its MetricDefinitions ({known})"
    return ""


def run(job: Job) -> Outcome:
    """Run training jobs until the search or its limits end, and stop those that still run."""
    return _Tuning(job).run()


class _Tuning:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.config = job.request["HyperParameterTuningJobConfig"]
        self.definitions = definitions_of(job.request)
        self.spaces = spaces_of(self.definitions)
        self.limit = limit_of(job.request)
        self.search = self._search()
        self.api = Jobs(job.home, job.store.base, job.region, job.records)
        self.running: dict[str, Candidate] = {}
        self.started = 0
        processors = len(os.sched_getaffinity(0))
        wanted = int(self.config["ResourceLimits"]["MaxParallelTrainingJobs"])
        self.parallel = min(wanted, processors)
        self.threads = processors // self.parallel

    def _search(self) -> Search:
        seed, strategy = self.config.get("RandomSeed"), self.config["Strategy"]
        if strategy == "Grid":
            return grid_search(self.spaces)
        if strategy == "Bayesian":
            objective = self.definitions[0]["TuningObjective"]["Type"]
            return BayesianSearch(self.spaces, objective, seed, self.limit or 0)
        return random_search(self.spaces, seed)

    def run(self) -> Outcome:
        try:
            while not (end := self._end()):
                if len(self.running) < self.parallel and (candidate := self._next()):
                    self._start(candidate)
                    continue
                if not self.running:
                    break
                time.sleep(STOP_POLL_SECONDS)
                self._collect()
        finally:
            self._stop_all()
        if end:
            self.job.note(end)
        if self.job.stop_requested():
            return Outcome("Stopped")
        found = summaries(self.job.records, self.job.name)
        if best_of(found):
            return Outcome("Completed")
        trained = any(one["TrainingJobStatus"] == "Completed" for one in found)
        reason = (_NO_METRIC if trained else _NONE_SUCCEEDED).format(len(found))
        failures = [one["FailureReason"] for one in found if "FailureReason" in one]
        last = f" The last failure: {failures[-1]}" if failures else ""
        return Outcome("Failed", {"FailureReason": f"{reason}{last}"})

    def _end(self) -> str:
        """Why no more training jobs run; empty if the search goes on."""
        if self.job.stop_requested():
            return "stop requested"
        seconds = self.config["ResourceLimits"].get("MaxRuntimeInSeconds")
        if seconds is not None and time.time() > self.job.request["CreationTime"] + int(seconds):
            return f"running for more than MaxRuntimeInSeconds ({seconds})"
        found = summaries(self.job.records, self.job.name)
        ended = [one for one in found if one["ObjectiveStatus"] != "Pending"]
        best = best_of(found)
        if best is None:
            return "no training job succeeded" if len(ended) >= HOPELESS else ""
        criteria = self.config.get("TuningJobCompletionCriteria", {})
        target = criteria.get("TargetObjectiveMetricValue")
        if target is not None and not _is_better(target, best[OBJECTIVE], best[METRIC]["Type"]):
            return f"TargetObjectiveMetricValue {target} is reached"
        most = criteria.get("BestObjectiveNotImproving", {}).get(
            "MaxNumberOfTrainingJobsNotImproving"
        )
        if most is not None and (count := not_improving(found)) >= most:
            return f"the best result has not improved in {count} training jobs"
        return ""

    def _next(self) -> Candidate | None:
        if self.limit is not None and self.started >= self.limit:
            return None
        return self.search.ask()

    def _start(self, candidate: Candidate) -> None:
        self.started += 1
        definition = self.definitions[candidate.space]
        name = f"{self.job.name}-{self.started:03}-{secrets.token_hex(NUMBER_SUFFIX)}"
        tuned = {
            "parameters": dict(candidate.parameters),
            "objective": definition["TuningObjective"],
            "definition": definition.get("DefinitionName"),
        }
        self.job.note(f"{name} starts: {_listed(candidate.parameters)}")
        self.api.create(
            local_job_type("Training"),
            _training(definition, name, candidate.parameters, self.threads),
            TuningJobArn=self.job.arn,
            _owner=("Tuning", self.job.name),
            _tuned=tuned,
        )
        self.running[name] = candidate

    def _collect(self) -> None:
        """Report the results of ended training jobs to the search."""
        if self._is_removed():
            self.running.clear()  # they end with the working folder
        for name in list(self.running):
            body = supervisor.reap(self.job.records, "Training", name)
            if body["TrainingJobStatus"] not in TERMINAL:
                continue
            summary = _summary(body)
            value = summary.get(OBJECTIVE)
            self.search.tell(self.running.pop(name), value)
            metric = body["_tuned"]["objective"]["MetricName"]
            result = summary.get("FailureReason", f"no {metric}")
            if value is not None:
                result = f"{metric} {value:g}"
            self.job.note(f"{name} {body['TrainingJobStatus']}: {result}")

    def _stop_all(self) -> None:
        """Stop the running training jobs and wait for their end."""
        if self._is_removed():
            return
        for name in self.running:
            with suppress(RecordsError):  # they stop by themselves once this process has ended
                supervisor.request_stop(self.job.home, "Training", name)
        while self.running:
            try:
                self._collect()
            except RecordsError:
                return
            time.sleep(STOP_POLL_SECONDS)

    def _is_removed(self) -> bool:
        """Whether the working folder was deleted; a use of the records would create it again."""
        return not self.job.records.path.exists()


def _training(
    definition: Body, name: str, parameters: Mapping[str, str], threads: int
) -> dict[str, Any]:
    """The CreateTrainingJob request of a candidate."""
    request = {key: definition[key] for key in _PASSED if key in definition}
    resources = definition.get("HyperParameterTuningResourceConfig", {})
    request.setdefault("ResourceConfig", (resources.get("InstanceConfigs") or [resources])[0])
    if checkpoints := definition.get("CheckpointConfig"):
        # Training jobs that run at the same time must not continue each other's work.
        folder = f"{checkpoints['S3Uri'].rstrip('/')}/{name}"
        request["CheckpointConfig"] = {**checkpoints, "S3Uri": folder}
    return {
        **request,
        "TrainingJobName": name,
        "HyperParameters": {
            **definition.get("StaticHyperParameters", {}),
            **parameters,
            "_tuning_objective_metric": definition["TuningObjective"]["MetricName"],
        },
        "Environment": {"OMP_NUM_THREADS": str(threads), **definition.get("Environment", {})},
    }


def summaries(records: Records, tuning: str) -> list[dict[str, Any]]:
    """A HyperParameterTrainingJobSummary for each training job of a tuning job, oldest first."""
    return [
        _summary(supervisor.reap(records, "Training", body["TrainingJobName"]))
        for body in records.list("Training", f"{tuning}-")
        if body.get("_owner") == ["Tuning", tuning]
    ]


def _summary(body: Body) -> dict[str, Any]:
    """The summary of a training job, with its result as FinalObjectiveMetricValue for sorting."""
    tuned = body["_tuned"]
    found: dict[str, Any] = {key: body[key] for key in _SHOWN if key in body}
    found["TunedHyperParameters"] = tuned["parameters"]
    if tuned["definition"]:
        found["TrainingJobDefinitionName"] = tuned["definition"]
    objective, status = tuned["objective"], body["TrainingJobStatus"]
    values = [
        metric["Value"]
        for metric in body.get("FinalMetricDataList", ())
        if metric["MetricName"] == objective["MetricName"] and math.isfinite(metric["Value"])
    ]
    if status not in TERMINAL:
        return found | {"ObjectiveStatus": "Pending"}
    if status == "Failed" or not values:
        return found | {"ObjectiveStatus": "Failed"}
    return found | {
        "ObjectiveStatus": "Succeeded",
        OBJECTIVE: values[0],
        METRIC: {**objective, "Value": values[0]},
    }


SUMMARY = (
    *_SHOWN,
    *("TunedHyperParameters", "TrainingJobDefinitionName", "ObjectiveStatus", METRIC),
)
"""The fields of HyperParameterTrainingJobSummary."""


def best_of(found: Iterable[Body]) -> Body | None:
    """The summary with the best result, in the order of the List response; None without results."""
    ranked = sorted(
        (one for one in found if OBJECTIVE in one),
        key=lambda one: (one[OBJECTIVE], one["CreationTime"]),
    )
    if not ranked:
        return None
    return ranked[0 if ranked[0][METRIC]["Type"] == "Minimize" else -1]


def _is_better(value: float, than: float, objective: str) -> bool:
    return value < than if objective == "Minimize" else value > than


def not_improving(found: Sequence[Body]) -> int:
    """The number of training jobs, in the order of their ends, since the last improvement."""
    best: float | None = None
    since = 0
    for one in sorted((one for one in found if OBJECTIVE in one), key=_ended):
        value, objective = one[OBJECTIVE], one[METRIC]["Type"]
        if best is None:
            best = value
            continue
        step = IMPROVED * abs(best) * (-1 if objective == "Minimize" else 1)
        since = 0 if _is_better(value, best + step, objective) else since + 1
        best = value if _is_better(value, best, objective) else best
    return since


def _ended(summary: Body) -> float:
    return float(summary["TrainingEndTime"])


def _details(body: Body, records: Records) -> dict[str, Any]:
    """The results so far, from the records of the training jobs."""
    found = summaries(records, body["HyperParameterTuningJobName"])
    statuses = Counter(one["TrainingJobStatus"] for one in found)
    objectives = Counter(one["ObjectiveStatus"] for one in found)
    until = body.get("HyperParameterTuningEndTime", time.time())
    fields: dict[str, Any] = {
        "TrainingJobStatusCounters": {
            "Completed": statuses["Completed"],
            "InProgress": statuses["InProgress"] + statuses["Stopping"],
            "RetryableError": 0,
            "NonRetryableError": statuses["Failed"],
            "Stopped": statuses["Stopped"],
        },
        "ObjectiveStatusCounters": {
            status: objectives[status] for status in ("Succeeded", "Pending", "Failed")
        },
        "TuningJobCompletionDetails": {
            "NumberOfTrainingJobsObjectiveNotImproving": not_improving(found)
        },
        "ConsumedResources": {"RuntimeInSeconds": round(until - body["CreationTime"])},
    }
    if best := best_of(found):
        fields["BestTrainingJob"] = {key: best[key] for key in SUMMARY if key in best}
    return fields


def _listed(parameters: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(parameters.items()))


def _expected(request: Body, name: str) -> dict[str, Any]:
    """Fields of the List response."""
    config = request["HyperParameterTuningJobConfig"]
    return {"Strategy": config["Strategy"], "ResourceLimits": config["ResourceLimits"]}


JOB = LocalJobType(
    kind="Tuning",
    run=run,
    check=_check,
    expected=_expected,
    details=_details,
    summary=(
        *("Strategy", "ResourceLimits", "TrainingJobStatusCounters", "ObjectiveStatusCounters"),
    ),
    undescribed=("Strategy", "ResourceLimits"),
)
