"""Two Airflows with the same DAG id and run id: ``python -m tests.kills.two_airflows``.

Each has its own home and records, like two installations; both use one fake AWS. Each must create
its own job and succeed. Needs Airflow; takes about a minute.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from sagebridge.model.expressions import plain
from sagebridge.model.pipeline import Pipeline, Step
from sagebridge_operators.launch.airflow_engine import PrivateAirflow
from tests.faulty_aws.server import FaultyAws
from tests.lifecycle.conftest import ARGUMENTS

_DAG, _RUN = "nightly", "nightly-2026-11-21"


def state(folder: Path, aws: FaultyAws) -> str:
    """Runs the DAG in a new Airflow; returns the state of the run."""
    pipeline = Pipeline(
        steps=(Step("Train", "Training", arguments=plain(ARGUMENTS["Training"])),), name=_DAG
    )
    variables = {
        **aws.environment(),
        "SAGEBRIDGE_BACKEND": "aws",
        "SAGEBRIDGE_HOME": str(folder / "home"),
    }
    airflow = PrivateAirflow(
        folder, pipeline, dag_id=_DAG, run_id=_RUN, execution="", parallelism=2, variables=variables
    )
    with airflow:
        airflow.trigger({})
        until = time.monotonic() + 240
        ask = partial(airflow.api.run_state, _DAG, _RUN)
        while (found := airflow.patiently(ask)) not in ("success", "failed"):
            if time.monotonic() > until:
                return f"still {found}"
            time.sleep(0.5)
        return found


def main() -> int:
    with FaultyAws() as aws, tempfile.TemporaryDirectory() as folder:
        states = [state(Path(folder) / name, aws) for name in ("one", "two")]
        jobs = sorted(one.name for one in aws.requests("CreateTrainingJob") if one.done)
    print(f"runs: {', '.join(states)}; jobs: {', '.join(jobs)}")
    return 0 if states == ["success"] * 2 and len(set(jobs)) == 2 else 1


if __name__ == "__main__":
    sys.exit(main())
