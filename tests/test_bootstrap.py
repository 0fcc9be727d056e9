"""tools/bootstrap.py without downloads. CI also runs it for real, with an empty HOME."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).parent.parent / "tools" / "bootstrap.py"

# A fake uv: `uv venv ... DIR` creates the folder and counts its calls.
UV = """#!/bin/sh
for last; do :; done
if [ "$1" = venv ]; then
    mkdir -p "$last/bin" && ln -sf "$(command -v sh)" "$last/bin/python"
    echo made >> "$COUNT"
    sleep 0.2
fi
if [ "$1" = pip ]; then exit "${PIP_EXIT:-0}"; fi
"""

# A fake python of version `$VERSION` without the venv module.
PYTHON = """#!/bin/sh
case "$2" in
    *version_info*) echo "$VERSION" ;;
    *) exit 1 ;;
esac
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder to put first on PATH."""
    folder = tmp_path / "path"
    folder.mkdir()
    return folder


def command(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    file.chmod(0o755)
    return file


def bootstrap(path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BOOTSTRAP, "--venvs", path.parent / "venvs", *arguments],
        env={"PATH": f"{path}:/usr/bin:/bin", "COUNT": str(path.parent / "count"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def times_made(path: Path) -> int:
    return len((path.parent / "count").read_text().split())


def test_second_run_does_nothing(path: Path) -> None:
    command(path, "uv", UV)
    first = bootstrap(path, "airflow")
    again = bootstrap(path, "airflow")
    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert " MB, " in first.stdout
    assert again.stdout == ""
    assert times_made(path) == 1


def test_changed_metadata_reinstalls_only_the_project(path: Path) -> None:
    command(path, "uv", UV)
    bootstrap(path, "airflow")
    (path.parent / "venvs/airflow/project").write_text("of an older pyproject.toml")
    assert bootstrap(path, "airflow").returncode == 0
    assert times_made(path) == 1
    assert (path.parent / "venvs/airflow/project").read_text() != "of an older pyproject.toml"


def test_parallel_runs_install_once(path: Path) -> None:
    command(path, "uv", UV)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: bootstrap(path, "airflow"), range(2)))
    assert [result.returncode for result in results] == [0, 0]
    assert times_made(path) == 1
    assert any("waiting for another bootstrap" in result.stdout for result in results)


def test_failed_install_is_reported_and_retried(path: Path) -> None:
    command(path, "uv", UV)
    failed = bootstrap(path, "airflow", PIP_EXIT="2")
    assert failed.returncode == 1
    assert "uv ended with 2" in failed.stderr
    assert "network" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert bootstrap(path, "airflow").returncode == 0
    assert times_made(path) == 2


def test_unsupported_python(path: Path) -> None:
    old = command(path, "old", PYTHON)
    result = bootstrap(path, "airflow", "--python", str(old), VERSION="3.9")
    assert result.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in result.stderr
    assert f"{old} is 3.9" in result.stderr


def test_missing_venv_names_debian_package(path: Path) -> None:
    bare = command(path, "bare", PYTHON)
    result = bootstrap(path, "airflow", "--python", str(bare), VERSION="3.12", PATH=str(path))
    assert result.returncode == 1
    assert "apt install python3.12-venv" in result.stderr


def test_children_write_bytecode_and_cache_without_home(path: Path) -> None:
    command(path, "uv", UV + 'env >> "$COUNT.env"\n')
    result = bootstrap(path, "airflow", PYTHONDONTWRITEBYTECODE="1", HOME="/nonexistent")
    assert result.returncode == 0, result.stderr
    seen = (path.parent / "count.env").read_text()
    assert "PYTHONDONTWRITEBYTECODE" not in seen
    assert f"UV_CACHE_DIR={path.parent / 'venvs/.cache/uv'}" in seen
