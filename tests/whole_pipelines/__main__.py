"""Runs definitions to their ends on the faulty AWS.

``python -m tests.whole_pipelines`` prints the runs of every definition with the lifecycle alone;
with names, their traces. ``--on airflow`` or ``--on prefect`` runs all of them on an engine and
compares the traces. ``--local`` runs those that can on this machine instead. Definitions of the
corpus need SAGEBRIDGE_CORPUS.
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
from tests.whole_pipelines import local_runs, local_world
from tests.whole_pipelines.definitions import WHOLE, definitions, missing_types, pipeline_of
from tests.whole_pipelines.in_process import run
from tests.whole_pipelines.scenarios import scenarios
from tests.whole_pipelines.world import World, opened

_TESTS = ("test_trace_equals_that_of_the_lifecycle", "test_definition_runs_on_this_machine")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run definitions to their ends.")
    parser.add_argument("names", nargs="*", help="definitions, such as seed-abalone")
    parser.add_argument("--on", choices=("airflow", "prefect"), help="compare with this engine")
    parser.add_argument("--local", action="store_true", help="on this machine")
    given = parser.parse_args()
    if given.on:
        os.environ[WHOLE] = "all"
        test = _TESTS[given.local]
        file = f"{Path(__file__).parent}/test_{given.on}.py"
        chosen = [f"{file}::{test}[{name}]" for name in given.names] or [f"{file}::{test}"]
        return pytest.main(["-q", *chosen])
    logging.disable()
    if given.local:
        return run_here(given.names)
    with FaultyAws() as aws, tempfile.TemporaryDirectory() as folder:
        for path in definitions():
            if not given.names or path.stem in given.names:
                with opened(aws, Path(folder) / path.stem) as world:
                    show(world, path, given.names)
    return 0


def run_here(names: Sequence[str]) -> int:
    """Run definitions on this machine; return 1 if one does not run in full."""
    failed = False
    for path in definitions():
        if names and path.stem not in names:
            continue
        pipeline = pipeline_of(path)
        if (why := local_runs.why_not_here(pipeline)) is not None:
            print(f"{path.stem}: cannot run: {why}")
            continue
        with tempfile.TemporaryDirectory() as folder, local_world.opened(Path(folder)) as world:
            for scenario in local_world.local_scenarios(pipeline):
                trace = run(world, pipeline, scenario)
                problem = ""
                try:
                    local_runs.require_in_full(pipeline, scenario, trace)
                except AssertionError as error:
                    problem, failed = f": NOT IN FULL: {error}", True
                print(f"{path.stem}: {scenario.name or 'its only run'}: {trace.status}{problem}")
    return int(failed)


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
