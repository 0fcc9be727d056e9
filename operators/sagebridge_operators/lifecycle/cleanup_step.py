"""Runs a Cleanup step in the worker: finds what other steps of the execution have written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sagebridge.model.values import ABSENT
from sagebridge_operators.lifecycle.for_each_items import owner_of
from sagebridge_operators.lifecycle.lineage import bucket_and_key, s3_uris
from sagebridge_operators.lifecycle.outages import code_of, is_outage
from sagebridge_operators.lifecycle.resolve import Resolver
from sagebridge_operators.lifecycle.step_task import Log, StepTask
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps import JOB_TYPES
from sagebridge_operators.steps.cleanup import Written, clean, sources


def run(task: StepTask, resolve: Resolver, log: Log) -> dict[str, Any]:
    """The outputs of the step: ``cleaned_steps`` and ``skipped_steps``.

    A step that has not run, or whose result was reused from its cache, is skipped. Raises
    StepFailed if anything could not be deleted, after the rest was.
    """
    from botocore.exceptions import ClientError

    step = task.step
    arguments = resolve({} if step.arguments is ABSENT else step.arguments)
    task.on_request(arguments if isinstance(arguments, Mapping) else {})
    try:
        wanted = list(sources(arguments))
    except (AttributeError, ValueError) as error:
        raise StepFailed(f"Arguments of step {step.name!r}: {error}", kind="request") from None
    cleaned, skipped, failed = list[str](), list[str](), list[str]()
    for name, uris in wanted:
        if not (jobs := list(_written(task, name))):
            skipped.append(name)
            log.info("%s has no output of this execution; skipped", name)
            continue
        try:
            problems = clean(task.backend.client("s3"), jobs, uris)
        except ClientError as error:
            if is_outage(error):
                raise
            problems = [f"{code_of(error)}: {error}"]
        for problem in problems:
            log.warning("%s: %s", name, problem)
        failed += [f"step {name!r}: {problem}" for problem in problems]
        if not problems:
            cleaned.append(name)
            log.info("deleted the output of %s", name)
    if failed:
        raise StepFailed("; ".join(failed), kind="request")
    return {
        "step": step.name,
        "type": step.type,
        "cleaned_steps": cleaned,
        "skipped_steps": skipped,
    }


def _written(task: StepTask, step: str) -> Iterator[Written]:
    """Where the jobs that this execution has run for a step have written.

    The retries of a step have one job each. Jobs that still run may write again, so that they are
    left to a later run of the Cleanup step. In the body of a ForEach these are the jobs of this
    iteration: the others may still be read.
    """
    same = owner_of(task.pipeline, step) is owner_of(task.pipeline, task.step.name)
    for attempt in task.records.attempts(task.execution.id, step):
        if task.index and same and attempt.index not in ((), task.index):
            continue
        job_type = JOB_TYPES.get(attempt.type)
        if job_type is None or attempt.job is None or attempt.cached_from:
            continue
        if job_type.s3_outputs is None:
            continue
        found = job_type.find(job_type.client(task.backend), attempt.job.name)
        if found is None or job_type.state(found) == "Executing":
            continue
        ended = job_type.ended(found)
        if ended is None:  # such as an endpoint configuration, whose endpoint writes later
            continue
        outputs = s3_uris(job_type.s3_outputs, found)
        own = ("/".join(bucket_and_key(uri)) for uri in s3_uris(job_type.s3_folder, found))
        folders = tuple(f"s3://{place}" for place in own)
        until = datetime.fromisoformat(ended)
        yield Written(folders, tuple(outputs), found["CreationTime"], until)
