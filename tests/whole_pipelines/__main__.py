"""Runs definitions to their ends on the faulty AWS.

``python -m tests.whole_pipelines`` prints the runs of every definition with the lifecycle alone;
with names, their traces. ``--on airflow`` or ``--on prefect`` runs all of them on an engine and
compares the traces. Definitions of the corpus need SAGEBRIDGE_CORPUS.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faulty_aws.server import FaultyAws
from tests.whole_pipelines.definitions import WHOLE, definitions, missing_types, pipeline_of
from tests.whole_pipelines.in_process import run
from tests.whole_pipelines.scenarios import scenarios
from tests.whole_pipelines.world import World, opened


def main() -> int:
    parser = argparse.ArgumentParser(description="Run definitions to their ends.")
    parser.add_argument("names", nargs="*", help="definitions, such as seed-abalone")
    parser.add_argument("--on", choices=("airflow", "prefect"), help="compare with this engine")
    given = parser.parse_args()
    if given.on:
        os.environ[WHOLE] = "all"
        chosen = ["-k", " or ".join(f"[{name}]" for name in given.names)] if given.names else []
        return pytest.main([f"{Path(__file__).parent}/test_{given.on}.py", "-q", *chosen])
    logging.disable()
    with FaultyAws() as aws, tempfile.TemporaryDirectory() as folder:
        for path in definitions():
            if not given.names or path.stem in given.names:
                with opened(aws, Path(folder) / path.stem) as world:
                    show(world, path, given.names)
    return 0


def show(world: World, path: Path, names: Sequence[str]) -> None:
    pipeline = pipeline_of(path)
    if missing := missing_types(pipeline):
        print(f"{path.stem}: missing {', '.join(missing)}")
        return
    for scenario in scenarios(pipeline):
        trace = run(world, pipeline, scenario)
        if names:
            print(json.dumps({"run": scenario.name, **trace.as_json()}, indent=2))
        else:
            forced = f" (forced: {', '.join(scenario.forced)})" if scenario.forced else ""
            print(f"{path.stem}: {scenario.name or 'its only run'}: {trace.status}{forced}")


if __name__ == "__main__":
    sys.exit(main())
