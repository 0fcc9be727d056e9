"""What 1,000 deferred jobs cost a triggerer.

The real triggers run in the event loop of one new process, as in Airflow's TriggerRunner, which
adds one asyncio task and one log line for each trigger. The jobs are on a fake AWS in another
process, which counts the calls. A coroutine that wants to run every 100 ms, as the watchdog of the
TriggerRunner does, measures how long the triggers delay others.

After a minute, in which new jobs are looked at more often, two minutes are measured. Then all jobs
end, and the last event is waited for. Prints a Markdown table; exits with 1 if a limit is exceeded.

The Amazon provider's row is calculated: its SageMakerTrigger describes each job every 30 seconds
(``waiter_delay``), and once more when it has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

JOBS = int(os.environ.get("BENCH_JOBS", "1000"))
NEW, MEASURED = 60.0, 120.0
MEGABYTE = 2**20
CALLS_LIMIT, DELAY_LIMIT = 40.0, 1.0
"""Calls per minute for all jobs; seconds by which another trigger may be late."""
EXECUTION = "0123456789ab"


def main() -> int:
    """Returns 1 if a limit is exceeded."""
    from tests.faulty_aws.control import run_process
    from tests.faulty_aws.job_scripts import JobScript

    with tempfile.TemporaryDirectory() as folder, run_process(Path(folder)) as aws:
        aws.add_scripts(JobScript(statuses=("InProgress",)))
        names = [f"pipelines-{EXECUTION}-{number:04}" for number in range(JOBS)]
        client = aws.client("sagemaker")
        for name in names:
            client.create_training_job(TrainingJobName=name, **request())
        environment = {
            **os.environ,
            **aws.environment(),
            "AIRFLOW_HOME": folder,
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }
        command = [sys.executable, __file__, "triggers", aws.url]
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        time.sleep(NEW)
        aws.clear_requests()
        time.sleep(MEASURED)
        calls = len(aws.all_requests()) / MEASURED * 60
        aws.add_scripts(JobScript(statuses=("Completed",), running=True))
        found = json.loads(process.stdout.readline())
        process.wait(30)
        ending = len(aws.requests("DescribeTrainingJob")) / JOBS
    print(
        "| 1,000 deferred jobs | memory | CPU | calls a minute | another trigger is late | ended |"
    )
    print("|---|---|---|---|---|---|")
    print(
        f"| sagebridge | {found['memory']:.0f} MB more | {found['cpu']:.1%} of a core "
        f"| {calls:.0f} for all jobs | by at most {found['late'] * 1000:.0f} ms; once by "
        f"{found['first'] * 1000:.0f} ms, while the first client is made "
        f"| {ending:.2f} calls for each job; all known after {found['ended']:.0f} s |"
    )
    print(f"| Amazon provider | | | {JOBS * 2:,} (calculated) | | 1 call for each job |")
    return int(calls > CALLS_LIMIT or found["late"] > DELAY_LIMIT)


def request() -> dict[str, Any]:
    return {
        "RoleArn": "arn:aws:iam::111122223333:role/r",
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/model"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    }


async def triggers() -> dict[str, float]:
    """Runs the triggers; returns MB, share of a core, and seconds."""
    import psutil

    from sagebridge_operators.airflow.deferral.trigger import JobTrigger

    late = 0.0

    async def heartbeat() -> None:
        nonlocal late
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.1)
            late = max(late, time.monotonic() - began - 0.1)

    async def first_event(name: str) -> float:
        trigger = JobTrigger(
            execution=EXECUTION,
            type="Training",
            job=name,
            deadline=(datetime.now(UTC) + timedelta(days=1)).isoformat(),
            not_before="",
            time_limit="",
            connection={
                "aws_conn_id": None,
                "region_name": None,
                "verify": None,
                "botocore_config": None,
            },
        )
        event = await anext(trigger.run())
        assert event.payload["status"] == "ended", event
        return time.monotonic()

    process = psutil.Process()
    before = process.memory_info().rss
    beats = asyncio.create_task(heartbeat())
    events = [
        asyncio.create_task(first_event(f"pipelines-{EXECUTION}-{number:04}"))
        for number in range(JOBS)
    ]
    await asyncio.sleep(NEW)
    first, late = late, 0.0
    cpu = process.cpu_times()
    await asyncio.sleep(MEASURED)
    after, memory = process.cpu_times(), process.memory_info().rss
    ends = await asyncio.gather(*events)
    beats.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beats
    used = after.user + after.system - cpu.user - cpu.system
    return {
        "memory": (memory - before) / MEGABYTE,
        "cpu": used / MEASURED,
        "first": first,
        "late": late,
        "ended": max(ends) - min(ends),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["triggers"]:
        logging.disable(logging.WARNING)
        print(json.dumps(asyncio.run(triggers())), flush=True)
    else:
        sys.exit(main())
