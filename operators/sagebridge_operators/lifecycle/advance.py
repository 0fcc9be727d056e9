"""Advances an attempt of a job, one call to the service at a time.

Every function may be repeated: a lost worker leaves a record and perhaps a job, and the next worker
finds both. No function waits. The caller decides when to look again and how to handle a service
that does not answer.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from sagebridge_operators.lifecycle import policy
from sagebridge_operators.lifecycle.attempt import Attempt, Part, as_text
from sagebridge_operators.lifecycle.attempt_job import (
    Description,
    deadline_of,
    token_of,
    verdict_of,
)
from sagebridge_operators.lifecycle.outages import (
    code_of,
    is_outage,
    is_service_fault,
)
from sagebridge_operators.lifecycle.ports import Ports, lost_answer
from sagebridge_operators.run_errors import StepFailed
from sagebridge_operators.steps.job_type import ResourceBusy

BUSY_FOR = timedelta(seconds=30)
"""The pause between two attempts to change a resource that another user is changing."""
UNSEEN_FOR = timedelta(seconds=60)
"""How long a job may be missing after its create request, since descriptions lag behind."""


def advance(attempt: Attempt, ports: Ports) -> Attempt:
    """Makes the next call for an attempt.

    Returns an attempt unchanged if it must wait, or if it has ended and no policy retries it.
    """
    match attempt.phase:
        case "waiting" if ports.stop_requested():
            return _end_without_job(attempt, ports)
        case "waiting" | "planned" if _waits(attempt, ports):
            return attempt
        case "waiting":
            return plan(replace(attempt, started=ports.now()), ports)
        case "planned":
            return create(attempt, ports)
        case "created" | "stopping":
            return look(attempt, ports)
    return after(attempt, ports)


def plan(attempt: Attempt, ports: Ports) -> Attempt:
    """Records the attempt with the name of its job, before the job exists.

    Stops jobs of earlier generations that still run, since the step was run again. The attempt
    succeeds at once if the step's cache has a job; not if the step was run again or is retried.
    Raises :class:`Unresolvable` and other errors of resolving the request.
    """
    others = ports.records.attempts(attempt.execution, attempt.step, attempt.index)
    key = attempt.generation, attempt.number
    for other in others:
        if (other.generation, other.number) == key and other.phase != "waiting":
            return other  # another worker of the same attempt recorded it meanwhile
    for other in others:
        if other.order > attempt.order:
            text = "not started because the step was run again"
            return ports.records.save(attempt.with_failure("stopped", text, state="Stopped"))
        if other.running and other.order < attempt.order:
            _stop_earlier(other, ports)
    unrecorded = None if others else _find_unrecorded(attempt, ports)
    if unrecorded is not None:
        attempt = unrecorded
    name = ports.name(attempt)
    if unrecorded is not None:
        ports.on_unrecorded(name)
    request = ports.request(name, token_of(attempt))
    handle = ports.handle(name, token_of(attempt), attempt.started)
    planned = replace(
        attempt,
        phase="planned",
        next_look="",
        parts=(Part(handle),),
        deadline=deadline_of(request, attempt.started),
        digest=""
        if ports.cache is None
        else ports.cache.key(ports.job_type.key_attributes(request)),
    )
    hit = None if others or unrecorded else _find_hit(planned, ports)
    if hit is not None:
        ports.on_hit(hit)
    return ports.records.save(hit or planned)


def _find_unrecorded(attempt: Attempt, ports: Ports) -> Attempt | None:
    """The last attempt that an earlier try began without a record that this worker can read.

    That try ran on another machine, with records on its disk. Job names follow from the number, so
    the names of 0, 1, 2 and so on are described until one is missing.
    """
    if attempt.engine_try < 2 and ports.first_call:  # neither a later try nor one that resumes
        return None
    found, before = None, ""
    for number in itertools.count(attempt.number):
        # Policies or the user's retries began the attempts; the latter if there are no policies.
        following = replace(attempt, number=number, tries=0 if ports.policies else number)
        name = ports.name(following)
        handle = ports.handle(name, token_of(following), following.started)
        # A name that the definition gives is the same for every number.
        if handle == before or ports.find(handle) is None:
            return found
        found, before = following, handle
    raise AssertionError("unreachable")


def _find_hit(planned: Attempt, ports: Ports) -> Attempt | None:
    """The attempt, ended with the job of an earlier run; None without such a job.

    Describes the job again, as this pipeline may refer to other properties than the earlier run.
    """
    if ports.cache is None or (stored := ports.records.cached(planned.digest)) is None:
        return None
    if not ports.cache.covers(stored["ended"], ports.clock()):
        return None
    if (found := ports.find(stored["job"])) is None:
        return None
    part = Part(stored["job"], found.get(ports.job_type.arn_key))
    hit = replace(planned, parts=(part,))
    ended = verdict_of(hit, ports.job_type, found, ports.outputs, ports.now())
    if ended.end is None or ended.end.state != "Succeeded":
        return None
    source = f"{stored['execution']}/{stored['step']}"
    return replace(ended, end=replace(ended.end, at=ports.now(), cached_from=source), deadline="")


def create(attempt: Attempt, ports: Ports) -> Attempt:
    """Sends the create request, unless an earlier worker sent it or a stop was requested.

    The attempt fails if the service rejects the request. A fault of the service is raised
    unchanged, unless a retry policy handles it. The same attempt then goes on later, since its job
    may exist although the service did not answer.
    """
    try:
        return _create(attempt, ports)
    except ResourceBusy as busy:
        if attempt.deadline and ports.clock() > datetime.fromisoformat(attempt.deadline):
            return ports.records.save(attempt.with_failure("service", str(busy), at=ports.now()))
        later = as_text(ports.clock() + BUSY_FOR)
        return ports.records.save(replace(attempt, next_look=later))
    except StepFailed as refused:
        text = str(refused)
        if refused.code:  # an earlier request, whose answer was lost, may have been carried out
            text += ports.send_stop(attempt)
        return ports.records.save(
            attempt.with_failure(refused.kind, text, refused.code, at=ports.now())
        )
    except Exception as error:
        if ports.job_type.if_unanswered(attempt.parts[-1].name) == "fail":
            raise  # a retry would start it twice; the next call ends the attempt
        retry = policy.after_fault(attempt, ports.policies, error, ports.clock())
        if retry is not None:
            ports.on_retry(attempt, retry)
            waiting = replace(attempt, next_look=as_text(retry.at), uses=retry.uses)
            return ports.records.save(waiting)
        if not policy.handles(attempt, ports.policies, error):
            raise
        text = f"{error}{ports.send_stop(attempt)}"
        return ports.records.save(
            attempt.with_failure("service", text, code_of(error), at=ports.now())
        )


def _create(attempt: Attempt, ports: Ports) -> Attempt:
    if ports.job_type.synchronous:
        return _call(attempt, ports)
    name = attempt.parts[-1].name
    found = ports.find(name)
    stopping = ports.stop_requested()
    if found is None:
        if stopping:
            return _end_without_job(attempt, ports)
        if ports.job_type.found_by == "list" or ports.job_type.if_unanswered(name):
            marked = _before_request(attempt, ports)
            if marked is None or marked.end is not None:
                return marked or attempt
            attempt = marked
        name = _send_create(attempt, ports)
        stopping = ports.stop_requested()
        if not stopping:
            with suppress(Exception):  # the next look meets the same error
                found = ports.find(name)
    elif ports.first_call and _stopped_elsewhere(found, ports):  # before this worker began
        return _plan_next_number(attempt, ports)
    part = Part(name, None, ports.now())
    if found is not None:
        known = ports.job_type.known_as(name, found)
        part = Part(known, found.get(ports.job_type.arn_key), ports.now())
    created = replace(attempt, phase="created", parts=(part,), next_look="")
    created = replace(created, next_look=ports.next_look(created))
    if found is not None:
        ports.on_description(created, found)
        ended = _verdict(created, ports, found)
        if not ended.running:
            return ports.records.save(ended)
    created = ports.records.save(created)
    if created.end is not None:  # the attempt was ended elsewhere while its request was sent
        ports.job_type.request_stop(ports.client(False), name)
        return created
    return stop(created, ports) if stopping else created


def _before_request(attempt: Attempt, ports: Ports) -> Attempt | None:
    """Records that the create request is sent now; None if one was sent a short time ago.

    The service has no client token and rejects no second request, and its lists lag behind.
    """
    attempt = _recorded(attempt, ports)
    part, clock = attempt.parts[-1], ports.clock()
    unanswered = ports.job_type.if_unanswered(part.name)
    if part.created and unanswered == "fail":
        text = (
            f"the answer of {part.shown} was lost, and the API has no token that makes the call "
            "repeatable; check whether it was carried out, and run the step again if not"
        )
        return ports.records.save(attempt.with_failure("request", text))
    sent = datetime.fromisoformat(part.created) if part.created and not unanswered else None
    if sent is not None and clock < sent + UNSEEN_FOR:
        return None
    return ports.records.save(replace(attempt, parts=(replace(part, created=as_text(clock)),)))


def _recorded(attempt: Attempt, ports: Ports) -> Attempt:
    """The attempt as recorded: an error of its request has left the caller with an earlier one."""
    known = ports.records.attempts(attempt.execution, attempt.step, attempt.index)
    return next((one for one in known if one.order == attempt.order), attempt)


def recalled(attempt: Attempt, ports: Ports) -> Attempt:
    """The attempt with what its call has started, if the answer to the call was lost.

    For an API with a client token the call is made again. Raises StepFailed if it is rejected.
    """
    attempt = _recorded(attempt, ports) if attempt.phase == "planned" else attempt
    part = attempt.parts[-1] if attempt.called else None
    if part is None or ports.job_type.if_unanswered(part.name) != "repeat":
        return attempt
    made = Part(_send_create(attempt, ports), None, ports.now())
    return ports.records.save(replace(attempt, phase="created", parts=(made,), next_look=""))


def _call(attempt: Attempt, ports: Ports) -> Attempt:
    """Makes a call whose answer is the outcome. A part with a time was called before."""
    part, stop_requested = attempt.parts[-1], ports.stop_requested()
    if stop_requested:
        known = part.created and ports.find(part.name) is not None
        return stop(attempt, ports) if known else _end_without_job(attempt, ports)
    if part.created:
        ports.on_repeat(attempt)
    else:
        called = replace(attempt, parts=(replace(part, created=ports.now()),))
        attempt = ports.records.save(called)
    if attempt.end is not None:
        return attempt
    try:
        found = ports.send(attempt, ports.job_type.call)
    except Exception as error:
        if is_service_fault(error):
            ports.on_repeat(attempt)
        raise
    created = replace(attempt, phase="created", next_look="")
    ports.on_description(created, found)
    ended = _verdict(created, ports, found)
    if ended.state == "Succeeded" and ports.stop_requested():
        text = f"stopped; {ports.job_type.noun} {part.shown} cannot be stopped and ran to its end"
        ended = created.with_failure("stopped", text, state="Stopped")
    return ports.records.save(ended)


def look(attempt: Attempt, ports: Ports) -> Attempt:
    """Looks at the job. Changes the record when the job has ended or its ARN becomes known."""
    part, job_type = attempt.parts[-1], ports.job_type
    try:
        found = ports.find(part.name)
    except StepFailed as unknown:  # the answer of the service means nothing
        text = f"{unknown}{ports.send_stop(attempt)}"
        return ports.records.save(attempt.with_failure(unknown.kind, text))
    if ports.missing_for(found is not None) < UNSEEN_FOR and found is None:
        return attempt
    if found is None:
        # It may exist all the same, so that it is stopped, and not started a second time.
        text = f"{job_type.type} {part.shown} has disappeared"
        stopped = ports.send_stop(attempt)
        return ports.records.save(attempt.with_failure("service", f"{text}{stopped}"))
    if attempt.phase == "created" and ports.first_call and _stopped_elsewhere(found, ports):
        return _plan_next_number(attempt, ports)
    if part.arn is None:
        known = replace(part, arn=found.get(job_type.arn_key))
        attempt = ports.records.save(replace(attempt, parts=(*attempt.parts[:-1], known)))
    ports.on_description(attempt, found)
    ended = _verdict(attempt, ports, found)
    if not ended.running:
        return ports.records.save(ended)
    if attempt.phase == "stopping" and job_type.status(found) != "Stopping":
        job_type.request_stop(ports.client(False), part.name)  # the earlier stop request was lost
    return attempt


def stop(attempt: Attempt, ports: Ports) -> Attempt:
    """Asks the service to stop the job. An attempt without a job ends at once."""
    name = attempt.parts[-1].name
    if attempt.phase == "planned" and ports.find(name) is None:
        return _end_without_job(attempt, ports)
    if left := ports.job_type.left_by_stop(name):
        found = ports.find(name)
        ended = attempt if found is None else _verdict(attempt, ports, found)
        if ended.running:
            ended = attempt.with_failure("stopped", left, state="Stopped")
        return ports.records.save(ended)
    ports.job_type.request_stop(ports.client(False), name)
    return ports.records.save(replace(attempt, phase="stopping"))


def after(attempt: Attempt, ports: Ports) -> Attempt:
    """The attempt that follows an ended one under the step's retry policies, or the same attempt.

    The following attempt is the same for each worker, so that two workers record it once.
    """
    retry = policy.after_failure(attempt, ports.policies)
    if retry is None or ports.stop_requested():
        return attempt
    ports.on_retry(attempt, retry)
    return ports.records.save(
        replace(
            attempt,
            number=attempt.number + 1,
            phase="waiting",
            started=attempt.ended,
            begun=attempt.begun or attempt.started,
            next_look=as_text(retry.at),
            uses=retry.uses,
            deadline="",
            parts=(),
            end=None,
            log_position=0,
        )
    )


def _verdict(attempt: Attempt, ports: Ports, found: Description) -> Attempt:
    ended = verdict_of(attempt, ports.job_type, found, ports.outputs, ports.now())
    if not ended.running:
        try:
            ports.job_type.clean_up(ports.client(False), attempt.parts[-1].name, found)
        except Exception as error:
            if is_outage(error):
                raise
            ports.on_left(f"{attempt.type} {attempt.parts[-1].name}: {error}; check what it left")
    return ended


def _stopped_elsewhere(found: Description, ports: Ports) -> bool:
    """Whether a job was stopped although no stop of the execution was requested."""
    return ports.job_type.state(found) == "Stopped" and not ports.stop_requested()


def _plan_next_number(attempt: Attempt, ports: Ports) -> Attempt:
    job = attempt.parts[-1].shown
    text = f"{ports.job_type.type} job {job} was stopped outside this execution"
    ports.records.save(attempt.with_failure("stopped", text, state="Stopped"))
    following = replace(
        attempt,
        number=attempt.number + 1,
        phase="planned",
        parts=(),
        started=ports.now(),
        log_position=0,
    )
    return plan(following, replace(ports, first_call=False))


def _send_create(attempt: Attempt, ports: Ports) -> str:
    """Sends the create request; returns the name that describes the new job."""
    start, handle = ports.job_type.start, attempt.parts[-1].name
    return ports.send(attempt, lambda client, request: start(client, request, handle))


def _waits(attempt: Attempt, ports: Ports) -> bool:
    """Whether a policy lets the attempt wait, and no stop was requested."""
    if not attempt.next_look or ports.clock() >= datetime.fromisoformat(attempt.next_look):
        return False
    return not ports.stop_requested()


def _end_without_job(attempt: Attempt, ports: Ports) -> Attempt:
    """Ends an attempt whose job was not found.

    The job is stopped all the same: its create request may have been carried out without an answer,
    and descriptions lag behind.
    """
    with suppress(StepFailed):  # the call is rejected, so that there is nothing to stop
        attempt = recalled(attempt, ports)
        if attempt.job is not None:
            return stop(attempt, ports)
    text = "stopped before its job was created"
    if lost_answer(attempt):
        text = "stopped"
    elif attempt.called:
        text = f"stopped; {attempt.parts[-1].shown} had been called and cannot be stopped"
    if attempt.parts:
        text += ports.send_stop(attempt)
    ended = attempt.with_failure("stopped", text, state="Stopped")
    # Another worker may have recorded the job meanwhile, which must not be given up.
    return ports.records.save(ended, over=attempt.phase)


def _stop_earlier(earlier: Attempt, ports: Ports) -> None:
    """Stops the job of an earlier generation and ends its attempt."""
    text = "stopped because the step was run again"
    while earlier.running:  # its worker may record the job meanwhile, which is then stopped
        if earlier.parts:  # a description may not show the job yet
            ports.job_type.request_stop(ports.client(False), earlier.parts[-1].name)
        ended = earlier.with_failure("stopped", text, state="Stopped")
        earlier = ports.records.save(ended, over=earlier.phase)
