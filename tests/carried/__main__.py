"""``.venvs/airflow/bin/python -m tests.carried [FILE…]``: run files and their translations.

Without files: those of ``tests/carried``, and those of ``$SAGEBRIDGE_CORPUS/code`` that have a
scenario. ``--originals`` only runs the files and prints what they do. ``--examples`` runs files
without a scenario (by default the example DAGs that Airflow installs) and counts equal tasks.
Needs PYTHONPATH as in CONTRIBUTING.md, and both environments.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from tests.carried.examples import files_in, installed, verdicts
from tests.carried.outcomes import RunError, engine_of, open_desk
from tests.carried.scenarios import CORPUS, OWN, Scenario

HERE = Path(__file__).parent


def files() -> list[Path]:
    found = sorted([*HERE.glob("dags/*.py"), *HERE.glob("flows/*.py")])
    if corpus := os.environ.get("SAGEBRIDGE_CORPUS"):
        code = Path(corpus) / "code"
        there = sorted([*code.glob("dags/*.py"), *code.glob("flows/*.py")])
        found += [one for one in there if one.stem in CORPUS]
    return found


def main(given: list[str]) -> int:
    if "--examples" in given:
        return compare_examples([Path(one) for one in given if not one.startswith("-")])
    originals = "--originals" in given
    chosen = [Path(one).resolve() for one in given if not one.startswith("-")] or files()
    failed = 0
    with open_desk() as desk:
        for file in chosen:
            scenarios = OWN.get(file.stem) or CORPUS.get(file.stem) or (Scenario(),)
            for number, scenario in enumerate(scenarios, start=1):
                start = time.monotonic()
                engine, name = engine_of(file), f"{file.name} #{number}"
                try:
                    if originals:
                        copied = desk.prepared(file, scenario)
                        ran = desk.run(engine, copied, scenario, name=scenario.name)
                        print(name, json.dumps(asdict(ran), indent=1), flush=True)
                        continue
                    found = desk.differences(engine, file, scenario)
                except RunError as error:
                    found = [f"broke: {error}"]
                failed += bool(found)
                word = "differs" if found else "same"
                print(f"{name}: {word} ({time.monotonic() - start:.0f} s)", flush=True)
                for line in found:
                    print(f"    {line}", flush=True)
    return 1 if failed else 0


def compare_examples(given: Sequence[Path]) -> int:
    words: Counter[str] = Counter()
    equal = reported = tasks = 0
    with open_desk(limit=100) as desk:
        for file in chain.from_iterable(map(files_in, given)) if given else installed():
            for one in verdicts(desk, file):
                words[one.word] += 1
                equal, tasks = equal + one.equal, tasks + one.tasks
                reported += one.reported
                print(f"{one.name}: {one.word} ({one.equal} of {one.tasks} tasks)", flush=True)
                for line in one.lines:
                    print(f"    {line}", flush=True)
    print(f"{equal} of {tasks} tasks did the same ({equal / max(tasks, 1):.1%}),")
    print(f"{reported} have a loss, {tasks - equal - reported} have none; {dict(words)}")
    return 1 if words["differs"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
