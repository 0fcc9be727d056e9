"""One worker of one step: ``python -m tests.kills.worker FOLDER CASE EXECUTION DIE_AT``.

The case is a type of job, with ``+retried`` for a step with a retry policy or ``+cached`` for
one with a cache.

It counts a boundary before and after each call to the service and the records, and kills itself
with SIGKILL at boundary DIE_AT; 0 means never.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Step
from sagebridge.model.step_settings import CacheConfig, RetryPolicy
from sagebridge.model.values import ABSENT
from sagebridge_operators.backends.aws import AwsBackend
from sagebridge_operators.lifecycle import advance
from sagebridge_operators.lifecycle.drive import StepDriver
from sagebridge_operators.lifecycle.execution import Execution
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.records import ExecutionRecords
from sagebridge_operators.lifecycle.step_task import StepTask
from tests.lifecycle.conftest import ARGUMENTS, MORE

_STARTED = datetime(2026, 11, 21, 5, 43, tzinfo=UTC)


CALLS = (
    "add_",
    "create",
    "describe",
    "get_job",
    "invoke",
    "list_",
    "receive_",
    "run_job",
    "send_",
    "start_job",
    "update",
)
"""How the methods begin that a worker may be killed before and after."""


class Boundaries:
    """Counts boundaries and kills this process at one of them."""

    def __init__(self, die_at: int) -> None:
        self.left = die_at

    def pass_one(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, names: tuple[str, ...]) -> Any:
        """``owner`` with a boundary before and after each call of the methods ``names``."""
        boundaries = self

        class Counted:
            def __getattr__(self, name: str) -> Any:
                found = getattr(owner, name)
                if not name.startswith(names):
                    return found

                def call(*args: Any, **kwargs: Any) -> Any:
                    boundaries.pass_one()
                    result = found(*args, **kwargs)
                    boundaries.pass_one()
                    return result

                return call

        return Counted()


class Backend(AwsBackend):
    poll_seconds = (0.25, 0.25)  # each look is a boundary, and waiting is to have few of them
    boundaries: Boundaries

    def client(self, service: str) -> Any:
        return self.boundaries.around(AwsBackend.client(self, service), CALLS)


def step_of(case: str) -> Step:
    """The step of a case."""
    type_, _, more = case.partition("+")
    policies = [RetryPolicy(["SageMaker.JOB_INTERNAL_ERROR"], max_attempts=3)]
    return Step(
        "Step",
        type_,
        arguments=plain(ARGUMENTS[type_]),
        **MORE.get(type_, {}),
        retry_policies=policies if more == "retried" else [],
        cache_config=CacheConfig(True) if more == "cached" else ABSENT,
    )


def main(folder: str, case: str, execution: str, die_at: str) -> None:
    advance.BUSY_FOR = timedelta(seconds=0.25)
    logging.disable(logging.WARNING)  # the retries are expected
    backend = Backend()
    backend.boundaries = boundaries = Boundaries(int(die_at))
    objects = boundaries.around(Folder(Path(folder)), ("create", "replace", "read"))
    StepDriver(
        StepTask(
            step=step_of(case),
            execution=Execution(execution, "p", "airflow", "d/r", _STARTED, {}),
            backend=backend,
            records=ExecutionRecords(objects),
            upstream=lambda step: None,
        )
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
