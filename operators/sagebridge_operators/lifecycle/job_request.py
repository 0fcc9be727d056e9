"""The create request of a step's job, from the step's arguments."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from sagebridge.authoring.request_shapes import (
    ApiShape,
    inner_shape,
    operation_shape,
    request_shape,
)
from sagebridge.model.code_steps import RETURN_VALUE, CarriedStep
from sagebridge.model.expressions import Get, is_expression
from sagebridge.model.local_differences import notes
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import ABSENT, Object, Value
from sagebridge_operators.lifecycle.attempt import Attempt
from sagebridge_operators.lifecycle.attempt_job import name_of, token_of
from sagebridge_operators.lifecycle.caching import StepCache, cache_of
from sagebridge_operators.lifecycle.for_each_items import item_of, owner_of
from sagebridge_operators.lifecycle.masking import mask, named_secrets
from sagebridge_operators.lifecycle.outages import code_of, is_outage
from sagebridge_operators.lifecycle.outputs import job_outputs
from sagebridge_operators.lifecycle.resolve import Resolver, text_of
from sagebridge_operators.lifecycle.step_task import Log, StepTask
from sagebridge_operators.lifecycle.user_code.step_context import rendered, stored, with_loaded
from sagebridge_operators.run_errors import ExperimentRejected, StepFailed
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.job_type import JobType


@dataclass(slots=True)
class JobRequests:
    """The create requests of a step: one per job name, so that all calls send the same."""

    task: StepTask
    log: Log
    _made: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def request(self, name: str, token: str) -> Mapping[str, Any]:
        """The resolved request, which is also logged and shown. Raises StepFailed."""
        if name not in self._made:
            self._made[name] = self._make(name, token)
        return self._made[name]

    def handle(self, name: str, token: str, started: str) -> str:
        """The handle of a job that an attempt, which has ``started``, is about to create."""
        job_type = JOB_TYPES[self.task.step.type]
        if type(job_type).handle is JobType.handle:
            return name
        attempt = datetime.fromisoformat(started)
        since = attempt if job_type.since_attempt else self.task.execution.started
        return job_type.handle(name, self.request(name, token), since)

    def show(self, attempt: Attempt) -> None:
        """Shows the request of a job that another worker has created, if it can be resolved."""
        job_type, token = JOB_TYPES[self.task.step.type], token_of(attempt)
        name = name_of(attempt, job_type, self.prefix())
        if name not in self._made:
            with suppress(Exception):
                self._made[name] = self._make(name, token, logged=False)

    def _make(self, name: str, token: str, *, logged: bool = True) -> Mapping[str, Any]:
        task, step, job_type = self.task, self.task.step, JOB_TYPES[self.task.step.type]
        row = STEP_TYPES.get(step.type)  # an AWS call has none
        resolve = resolver(task, name)
        arguments = resolve({} if step.arguments is ABSENT else step.arguments)
        if not isinstance(arguments, Mapping):
            text = f"Arguments of step {step.name!r}: expected an object, got {arguments!r}"
            raise StepFailed(text, kind="unresolvable")
        if row is not None:
            arguments = with_strings(step.type, step.arguments, arguments)
        if names := experiment_config(task, resolve):
            create_once(task, names)
            own = arguments.get("ExperimentConfig") or {}
            arguments = {**arguments, "ExperimentConfig": {**names, **own}}
        keys = row.members.values() if row is not None else ()
        own = {key: step.extra[key] for key in keys if key in step.extra}
        more = resolve({**own, **job_type.also_resolved})
        step = replace(step, extra=Object({**step.extra, **more}))
        arguments = job_type.prepare(step, arguments, name=name, services=task.backend)
        role = task.role or task.backend.default_role
        made = job_type.request(step, arguments, name=name, token=token, role=role)
        shown = mask(made)
        task.on_secrets(named_secrets(made))
        task.on_request(shown)
        if logged:
            text = json.dumps(shown, indent=2)
            self.log.info("%s.%s %s", job_type.service, job_type.create_method(made), text)
            if task.backend.name == "local" and job_type.stop is None:  # otherwise in the job's log
                for line in notes(step.type, made):
                    self.log.info("on this machine: %s", line)
        return made

    def prefix(self) -> str | None:
        """The prefix of the job's name, if the step's arguments have a name."""
        job_type = JOB_TYPES[self.task.step.type]
        given = job_type.given_name(self.task.step)
        return None if given is ABSENT else job_type.name_prefix(resolver(self.task)(given))

    def outputs(self, attempt: Attempt, description: Mapping[str, Any]) -> dict[str, Any]:
        """The step's outputs, from the description of its successful job."""
        task, job_type = self.task, JOB_TYPES[self.task.step.type]
        description = job_type.judge(description, task.backend)
        outputs = job_outputs(
            attempt,
            job_type,
            description,
            task.step,
            task.references,
            lambda: job_type.client(task.backend),
            lambda value: stored(task.records, attempt, RETURN_VALUE, value),
        )
        for violation in outputs.get("violations", ()):
            self.log.warning("violation, which FailOnViolation allows: %s", violation)
        return outputs

    def cache(self) -> StepCache | None:
        """The cache of the step, if it is enabled and its type has one."""
        task = self.task
        row = STEP_TYPES.get(task.step.type)
        if task.step.cache_config and not (row and row.cached_by):
            self.log.info("%s steps are not cached; CacheConfig has no effect", task.step.type)
        return cache_of(task.step, task.execution.pipeline, task.backend.name, resolver(task))

    def announce_hit(self, attempt: Attempt) -> None:
        """Shows that the step reuses a job from its cache."""
        part, source = attempt.parts[-1], attempt.cached_from
        text = "found %s %s of %s in the cache of the step; no job is started"
        self.log.info(text, attempt.type, part.shown, source)
        for made in self._made.values():
            self.task.on_request({"CachedFrom": source, **mask(made)})
        self.task.on_job(part.as_job())


def resolver(
    task: StepTask, name: str | None = None, *, tagged: bool = False, tries: int = 0
) -> Resolver:
    """The resolver of a step's expressions; ``name`` is the name of its job.

    ``tagged`` keeps the tags of values that JSON cannot express. ``tries`` are the retries so far.
    """
    backend, records, execution = task.backend, task.records, task.execution
    item = None
    if task.index and (owner := owner_of(task.pipeline, task.step.name)) is not None:
        loop, index = owner.name, task.index[-1]
        item = partial(item_of, records, execution.id, loop, index)

    def upstream(step: str) -> Mapping[str, Any] | None:
        outputs = with_loaded(records, task.upstream(step))
        # As in Airflow (PlainXComArg.resolve in airflow/sdk/definitions/xcom_arg.py), the result of
        # a task that did not run is None for a task that its trigger rule lets run.
        if outputs is None and task.step.engine.trigger_rule and task.pipeline is not None:
            found = task.pipeline.step(step)
            return {RETURN_VALUE: None} if isinstance(found, CarriedStep) else None
        return outputs

    return Resolver(
        execution,
        upstream,
        backend.read_object,
        backend.arn,
        name,
        item,
        render=partial(rendered, task, tries),
        tagged=tagged,
        lenient=task.step.engine.trigger_rule not in ("", "all_success"),
    )


# The experiment and trial of an execution, which its jobs are added to.
#
# SageMaker Pipelines creates both from ``PipelineExperimentConfig`` when an execution starts
# ("Amazon SageMaker Experiments Integration" in its guide). Here the first job with an
# ``ExperimentConfig`` creates them. An existing experiment or trial is used as it is.
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


# Numbers and Booleans of references in the strings of a create request.
#
# SDK 3 writes parameters of every type into string fields: a ParameterInteger among hyperparameters
# is compiled to a plain reference. AWS does not document the conversion; here a value becomes the
# string that Std:Join makes of it.
_ShapeOf = Callable[[], ApiShape | None]
"""Returns a shape: most steps need none of the table, which is slow to load."""


def with_strings(step_type: str, given: Value, resolved: Any) -> Any:
    """The resolved arguments of a step, with strings for references where the API wants strings.

    Literals stay as they are. ``given`` are the arguments before they were resolved.
    """
    if not isinstance(given, Mapping):
        return resolved
    return {
        name: _converted(item, resolved[name], partial(_argument_shape, step_type, name))
        for name, item in given.items()
    }


def _converted(given: Value, resolved: Any, shape_of: _ShapeOf) -> Any:
    if is_expression(given):
        if not isinstance(resolved, bool | int | float):
            return resolved
        shape = shape_of()
        return text_of(resolved) if shape is not None and shape.type == "string" else resolved
    match given:
        case Mapping():
            return {
                name: _converted(item, resolved[name], partial(_inside, shape_of, name))
                for name, item in given.items()
            }
        case list() | tuple():
            inside = partial(_inside, shape_of, None)
            return [
                _converted(item, one, inside) for item, one in zip(given, resolved, strict=True)
            ]
    return resolved


def _inside(shape_of: _ShapeOf, name: str | None) -> ApiShape | None:
    return inner_shape(shape_of(), name)


def _argument_shape(step_type: str, name: str) -> ApiShape | None:
    operation = STEP_TYPES[step_type].requests.get(name)
    if operation is not None:
        return operation_shape(operation)
    return inner_shape(request_shape(step_type), name)
