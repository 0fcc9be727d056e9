"""Run every benchmark, and write their tables and the machine into benchmarks/README.md.

    python benchmarks/write_page.py     # from the environment `airflow`; `make bench` does this

A table replaces what is between `<!-- name -->` and `<!-- end -->` in the page.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "benchmarks" / "README.md"
PREFECT = str(ROOT / ".venvs" / "prefect" / "bin" / "python")
PACKAGES = ("apache-airflow", "apache-airflow-providers-amazon", "networkx", "ruff")


def main() -> int:
    """Returns 1 if a benchmark failed or exceeded its limit; the page is written in any case."""
    python = sys.executable
    runs: dict[str, list[list[str]]] = {
        "parse": [[python, "parse.py"]],
        "translate": [[python, "translate.py"]],
        "deferred": [[python, "deferred.py"]],
        "overhead": [[python, "overhead.py", "airflow"], [PREFECT, "overhead.py", "prefect"]],
    }
    failed = False
    tables = {"machine": describe_machine()}
    for name, commands in runs.items():
        lines: list[str] = []
        for command in commands:
            print(f"running {name}: {' '.join(command[1:])}", flush=True)
            done = subprocess.run(
                command, cwd=PAGE.parent, stdout=subprocess.PIPE, text=True, check=False
            )
            failed |= done.returncode != 0
            rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
            lines += rows[2:] if lines else rows  # one heading for all rows
        tables[name] = "\n".join(lines)
        print(tables[name], flush=True)
    page = PAGE.read_text()
    for name, table in tables.items():
        before, start, rest = page.partition(f"<!-- {name} -->\n")
        end = rest.index("<!-- end -->")
        page = f"{before}{start}{table}\n{rest[end:]}"
    PAGE.write_text(page)
    return int(failed)


def describe_machine() -> str:
    """The machine, its load, the versions and the commit, as they are at the start."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    changed = " with local changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    processor = model[1] if model else platform.machine()
    gigabytes = int(memory[1]) / 2**20 if memory else 0
    lines = (
        f"- {processor}, {os.cpu_count()} cores, {gigabytes:.1f} GB; load at the start: {load}",
        f"- Python {platform.python_version()}, {packages}",
        f"- commit {commit}{changed}, {datetime.now(UTC):%Y-%m-%d}",
    )
    return "\n".join(lines)


def git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
