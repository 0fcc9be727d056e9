"""docs/local-pipelines.md lists the definitions that this machine can run, and why not the others.

The rows of the corpus are compared only if SAGEBRIDGE_CORPUS is set.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sagebridge.model.pipeline import walk
from tests.whole_pipelines import local_runs
from tests.whole_pipelines.definitions import definitions, pipeline_of

FILE = Path(__file__).parent.parent.parent / "docs" / "local-pipelines.md"
HEAD = """\
# Pipelines that this machine runs

These pipelines have been tried with the [local backend](local.md): 50 published and hand-written
ones, then those in `tests/definitions`. Written by
`pytest tests/whole_pipelines/test_local_list.py --update-golden`; do not edit.

The check is the one that rejects a pipeline before its first job. All pipelines that pass it run to
their ends on Airflow and on Prefect, with the same requests, branches and results:

```sh
python -m tests.whole_pipelines --local --on airflow
python -m tests.whole_pipelines --local --on prefect
```

A definition contains the S3 URIs of its scripts and data, not their content. In these runs, generic
scripts and rows of numbers take their place (`tests/whole_pipelines/stand_ins.py`): a script writes
the files that later steps read, and each condition takes both branches if the values that it
compares allow it. A pipeline with your own scripts and data runs the same way if these work with
the packages of the job.
"""
CORPUS = "## Published and hand-written pipelines\n"
OWN = "## Pipelines in `tests/definitions`\n"


def page() -> str:
    own = [path for path in definitions() if _is_own(path)]
    if os.environ.get("SAGEBRIDGE_CORPUS"):
        corpus = "\n".join(table([path for path in definitions() if not _is_own(path)]))
    else:
        corpus = FILE.read_text().partition(CORPUS)[2].partition(OWN)[0].strip()
    return "\n".join([HEAD, CORPUS, f"{corpus}\n", OWN, *own_list(own)]) + "\n"


def _is_own(path: Path) -> bool:
    return path.parent.parent == Path(__file__).parent.parent


def own_list(paths: Sequence[Path]) -> Iterator[str]:
    """The names of those that run; the others name images without a command, or run on AWS."""
    here = [path.stem for path in paths if local_runs.why_not_here(pipeline_of(path)) is None]
    yield f"{len(here)} of {len(paths)} run here: {', '.join(here)}."


def table(paths: Sequence[Path]) -> Iterator[str]:
    reasons = {path: local_runs.why_not_here(pipeline_of(path)) for path in paths}
    yield f"{list(reasons.values()).count(None)} of {len(paths)} run here.\n"
    yield "| pipeline | steps | runs here |"
    yield "|---|---|---|"
    for path, why in reasons.items():
        counts = Counter(step.type for step in walk(pipeline_of(path)))
        steps = ", ".join(f"{count} {type_}" for type_, count in sorted(counts.items()))
        yield f"| {path.stem} | {steps} | {'yes' if why is None else f'no: {why}'} |"


def test_page_is_up_to_date(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--update-golden"):
        FILE.write_text(page())
    assert FILE.read_text() == page()
