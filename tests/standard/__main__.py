"""Prints the table of cases and job types: ``python -m tests.standard``."""

from __future__ import annotations

from tests.standard.cases import CASES
from tests.standard.samples import SAMPLES


def main() -> None:
    print("| case |", " | ".join(SAMPLES), "|")
    print("|---" * (len(SAMPLES) + 1) + "|")
    for case in CASES:
        cells = [case.why_not(sample.job_type) or "yes" for sample in SAMPLES.values()]
        print("|", case.name, "|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
