"""Random histories of one step: workers that die or go stale, stops, clears, faults, lost records.

Every call to the service and every access to a record is a point at which another worker may go on,
or the worker may be killed. Time and service are fake. Run many histories with::

    python -m tests.lifecycle.state_machine --examples 10000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sagebridge.model.step_settings import RetryPolicy
from sagebridge_operators.lifecycle import advance, opening
from sagebridge_operators.lifecycle.attempt import Attempt, as_text
from sagebridge_operators.lifecycle.ending import Ending
from sagebridge_operators.lifecycle.outages import is_outage
from sagebridge_operators.lifecycle.ports import Ports
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.sweep import lost_attempts
from sagebridge_operators.run_errors import StepFailed, SupersededWorker
from sagebridge_operators.steps import JOB_TYPES
from tests.lifecycle.fake_world import CAPACITY, EXECUTION, Job, Worker, World

TRAINING = JOB_TYPES["Training"]
POLICIES = (
    RetryPolicy(("SageMaker.CAPACITY_ERROR",), 60, 2.0, max_attempts=2),
    RetryPolicy(("SageMaker.RESOURCE_LIMIT",), 30, 1, max_attempts=1),
    RetryPolicy(("Step.THROTTLING", "Step.SERVICE_FAULT"), 5, 1, max_attempts=2),
)
MOST = (2, 1, 2)
_LAST_STEPS = 2000


class StepHistory(RuleBasedStateMachine):
    """The rules are events around one Training step; the invariants hold after each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.records = ExecutionRecords(self.world)
        self.workers: list[Worker] = []
        self.policies: tuple[RetryPolicy, ...] = ()
        self.generation = self.engine_try = 0
        self.ended: dict[tuple[int, int], Attempt] = {}
        self.lost = False

    @initialize(policies=st.booleans(), lag=st.sampled_from((0, 0, 20)))
    def begin(self, policies: bool, lag: int) -> None:
        self.policies = POLICIES if policies else ()
        self.world.lag = timedelta(seconds=lag)
        self.start_worker()

    # What workers do

    def _work(self, generation: int, engine_try: int) -> Callable[[Worker], None]:
        def work(worker: Worker) -> None:
            wanted = opening.first_attempt(
                EXECUTION, "Train", "Training", generation=generation, engine_try=engine_try
            )
            at = as_text(self.world.now)
            wanted = replace(wanted, started=at, begun=at)
            try:
                attempt, _ = opening.choose_attempt(self.records, wanted)
            except SupersededWorker:
                return
            worker.result = self._drive(worker, attempt, self._ports(worker, generation))

        return work

    def _drive(self, worker: Worker, attempt: Attempt, ports: Ports) -> Attempt:
        """What the driver does, without waiting."""
        while True:
            before = attempt
            try:
                if worker.terminated and attempt.phase == "created":
                    attempt = advance.stop(attempt, ports)
                elif attempt.phase == "planned" and not attempt.parts:
                    if self.records.stop_requested(EXECUTION):
                        text = "stopped before it started"
                        stopped = attempt.with_failure("stopped", text, state="Stopped")
                        return self.records.save(stopped)
                    attempt = advance.plan(attempt, ports)
                else:
                    attempt = advance.advance(attempt, ports)
            except StepFailed as refused:
                return self.records.save(attempt.with_failure(refused.kind, str(refused)))
            except Exception as error:
                if not is_outage(error):
                    raise
            else:
                ports = replace(ports, first_call=ports.first_call and not before.parts)
                if before.end is not None and attempt.end is not None:
                    return attempt
            if attempt == before:
                worker.pause()

    def _ports(self, worker: Worker, generation: int) -> Ports:
        missing: list[datetime] = []

        def missing_for(found: bool) -> timedelta:
            if found:
                missing.clear()
            elif not missing:
                missing.append(self.world.now)
            return self.world.now - missing[0] if missing else timedelta()

        def outputs(attempt: Attempt, description: Mapping[str, Any]) -> dict[str, Any]:
            return {"job_name": description["TrainingJobName"]}

        return Ports(
            records=self.records,
            job_type=TRAINING,
            client=lambda fresh: self.world,
            request=lambda name, token: {"TrainingJobName": name, "Generation": generation},
            outputs=outputs,
            stop_requested=lambda: worker.terminated or self.records.stop_requested(EXECUTION),
            on_description=lambda attempt, description: None,
            missing_for=missing_for,
            first_call=True,
            policies=self.policies,
            clock=lambda: self.world.now,
        )

    def _alive(self) -> list[Worker]:
        return [one for one in self.workers if not one.done]

    # Events

    @precondition(lambda self: len(self._alive()) < 3)
    @rule()
    def start_worker(self) -> None:
        """The engine starts a try, since it believes that the worker before is lost."""
        self.engine_try += 1
        self.workers.append(Worker(self.world, self._work(self.generation, self.engine_try)))

    @precondition(lambda self: self._alive())
    @rule(which=st.integers(0, 2), steps=st.integers(1, 25))
    def run_worker(self, which: int, steps: int) -> None:
        alive = self._alive()
        alive[which % len(alive)].resume(steps)

    @precondition(lambda self: self._alive())
    @rule(which=st.integers(0, 2))
    def kill_worker(self, which: int) -> None:
        alive = self._alive()
        alive[which % len(alive)].kill()

    @precondition(lambda self: self._alive())
    @rule(which=st.integers(0, 2))
    def terminate_worker(self, which: int) -> None:
        """SIGTERM: the worker stops its job."""
        alive = self._alive()
        alive[which % len(alive)].terminated = True

    @precondition(lambda self: self._is_recorded())
    @rule()
    def clear(self) -> None:
        """A user runs the step again; the worker before may not have noticed it."""
        self.generation += 1
        self.start_worker()

    @rule(seconds=st.sampled_from((1, 10, 30, 70, 200)))
    def wait(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule(fault=st.sampled_from(("throttled", "failed", "limit", "unanswered")))
    def fail_next_create(self, fault: str) -> None:
        self.world.faults.append(fault)

    @precondition(lambda self: any(job.live for job in self.world.jobs.values()))
    @rule(
        which=st.integers(0, 9),
        end=st.sampled_from(("Completed", "Failed", "Failed", CAPACITY, "Stopped")),
    )
    def end_job(self, which: int, end: str) -> None:
        live = [job for job in self.world.jobs.values() if job.live]
        self._end(live[which % len(live)], end)

    @precondition(lambda self: self._is_recorded())
    @rule()
    def request_stop(self) -> None:
        """``executions stop``."""
        self.records.request_stop(EXECUTION)
        ending = self._ending()
        ending.mark_lost("a stop was requested")
        ending.stop_jobs()

    @precondition(lambda self: self._can_lose_records())
    @rule()
    def lose_records(self) -> None:
        """The step goes on at a machine with other records."""
        for worker in self._alive():
            worker.kill()
        self.world.store.clear()
        self.ended.clear()
        self.lost = True

    def _end(self, job: Job, end: str) -> None:
        job.status = end if end in ("Completed", "Failed", "Stopped") else "Failed"
        job.reason = end if end == CAPACITY else "AlgorithmError" if end == "Failed" else ""
        job.visible = self.world.now
        over = [part.name for one in self.world.attempts() if one.end for part in one.parts]
        job.discarded = job.name in over

    def _is_recorded(self) -> bool:
        """Whether the records have every job whose result is wanted, if they were lost before.

        A worker that meets a stop request does not look for jobs that its records do not have.
        """
        names = {part.name for one in self.world.attempts() for part in one.parts}
        jobs = self.world.jobs.values()
        wanted = [job.name for job in jobs if job.live or job.status == "Completed"]
        return not self.lost or names.issuperset(wanted)

    def _can_lose_records(self) -> bool:
        """Without records, only the numbers of the current generation are found again."""
        jobs = self.world.jobs.values()
        numbers = sorted(int(job.name[-1]) for job in jobs if job.generation == self.generation)
        other = any(job.live for job in jobs if job.generation != self.generation)
        stopped = any(job.stopped or job.status == "Stopped" for job in jobs)
        return not other and not stopped and numbers == list(range(len(numbers)))

    def _ending(self) -> Ending:
        backend = SimpleNamespace(client=lambda service: self.world)
        return Ending(self.records, EXECUTION, lambda attempt: cast("Any", backend))

    # What always holds

    @invariant()
    def one_live_job_per_generation(self) -> None:
        live = [job for job in self.world.jobs.values() if job.live and not job.stopped]
        generations = [job.generation for job in live]
        assert len(generations) == len(set(generations)), f"two live jobs: {live}"

    @invariant()
    def success_needs_a_completed_job(self) -> None:
        for one in self.world.attempts():
            if one.state == "Succeeded":
                job = self.world.jobs[one.parts[-1].name]
                assert job.status == "Completed", f"{one} succeeded with {job}"
                assert (one.outputs or {})["job_name"] == job.name

    @invariant()
    def ends_stay(self) -> None:
        for one in self.world.attempts():
            key = (one.generation, one.number)
            assert self.ended.get(key) in (None, one), f"{self.ended[key]} became {one}"
            if one.end is not None:
                self.ended[key] = one

    @invariant()
    def policies_keep_their_limits(self) -> None:
        for one in self.world.attempts():
            assert all(used <= most for used, most in zip(one.uses, MOST, strict=False)), one

    def teardown(self) -> None:
        """Lets everything end, then checks that no job and no output was lost."""
        try:
            self._finish()
        finally:
            for worker in self._alive():
                worker.kill()

    def _finish(self) -> None:
        self.world.faults.clear()
        for worker in self.workers[:-1]:
            if not worker.done:
                worker.kill()
        self.start_worker()
        last = self.workers[-1]
        for _ in range(_LAST_STEPS):
            for worker in self._alive():
                worker.resume()
            self.world.now += timedelta(seconds=5)
            current = self.world.attempts()[-1:]
            for job in self.world.jobs.values():
                if job.status == "Stopping":
                    self._end(job, "Stopped")
                elif job.live and current and current[0].job and current[0].job.name == job.name:
                    self._end(job, "Completed")
            if last.done:
                break
        assert last.done, "the last worker does not end"
        self._check_outputs(last)
        self.records.objects.put(f"{EXECUTION}/end.json", {"status": "Failed", "reason": ""})
        ending = self._ending()
        lost = [one.attempt for one in lost_attempts(ending, timedelta())]
        ending.stop_attempts(lost, "swept", patience=0)
        left = [job for job in self.world.jobs.values() if job.live and not job.stopped]
        assert not left, f"nothing stops {left}"

    def _check_outputs(self, last: Worker) -> None:
        completed = [
            job.name
            for job in self.world.jobs.values()
            if (job.generation, job.status) == (self.generation, "Completed")
            and not (job.stopped or job.discarded)
        ]
        if completed:
            outputs = (last.result.outputs if last.result is not None else None) or {}
            found = outputs.get("job_name")
            assert found == completed[-1], f"{completed} lost in {last.result}"


def check(examples: int, *, shrink: bool = True, derandomize: bool = False) -> None:
    """Runs random histories; raises AssertionError with one that fails, the shortest if shrunk."""
    run_state_machine_as_test(
        StepHistory,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            phases=(Phase.generate, *((Phase.shrink,) if shrink else ())),
            deadline=None,
            derandomize=derandomize,
            report_multiple_bugs=False,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000)
    given = parser.parse_args()
    began = time.monotonic()
    check(given.examples)
    print(f"{given.examples} histories in {time.monotonic() - began:.0f} s: no fault")
