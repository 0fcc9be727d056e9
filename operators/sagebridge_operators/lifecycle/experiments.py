"""The experiment and trial of an execution, which its jobs are added to.

SageMaker Pipelines creates both from ``PipelineExperimentConfig`` when an execution starts ("Amazon
SageMaker Experiments Integration" in its guide). Here the first job with an ``ExperimentConfig``
creates them. An existing experiment or trial is used as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagebridge.model.expressions import Get
from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle.outages import code_of, is_outage
from sagebridge_operators.lifecycle.resolve import Resolver
from sagebridge_operators.lifecycle.step_task import StepTask
from sagebridge_operators.run_errors import ExperimentRejected
from sagebridge_operators.steps import JOB_TYPES

_MEMBERS = ("ExperimentName", "TrialName")


def experiment_config(task: StepTask, resolve: Resolver) -> dict[str, str]:
    """The names for the ``ExperimentConfig`` of a job; empty if the pipeline has no experiment."""
    config = task.execution.experiment_config
    wanted = JOB_TYPES[task.step.type].takes_experiment and task.backend.has_experiments
    if not wanted or config is None or config is ABSENT:
        return {}
    return {one: resolve(Get.parse(f"PipelineExperimentConfig.{one}")) for one in _MEMBERS}


def create_once(task: StepTask, names: Mapping[str, str]) -> None:
    """Creates the experiment and the trial once per execution. Raises ExperimentRejected."""
    objects, key = task.records.objects, f"{task.execution.id}/experiment.json"
    if objects.read(key) is not None:
        return
    client = task.backend.client("sagemaker")
    experiment = {"ExperimentName": names["ExperimentName"]}
    _create(client, "experiment", experiment, experiment)
    _create(client, "trial", dict(names), {"TrialName": names["TrialName"]})
    objects.put(key, names)


def _create(client: Any, kind: str, request: dict[str, str], name: dict[str, str]) -> None:
    """Creates one of the two, unless a description shows that it exists.

    The error of a name in use is a ValidationException like any other.
    """
    from botocore.exceptions import ClientError

    try:
        getattr(client, f"create_{kind}")(**request)
    except ClientError as error:
        if is_outage(error):
            raise
        try:
            getattr(client, f"describe_{kind}")(**name)
        except ClientError as missing:
            if is_outage(missing):
                raise
            (text,) = name.values()
            raise ExperimentRejected(kind, text, str(error), code_of(error)) from None
