"""The two checks of the test run in conftest.py: skips in CI and leftover processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest


def run_tests(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(Path(__file__).parent / "conftest.py", folder)
    (folder / "test_it.py").write_text(text)
    inherited = {key: value for key, value in os.environ.items() if key != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", folder],
        env=inherited | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "text",
    [
        "import pytest\ndef test(): pytest.skip('no dataset')\n",
        "import pytest\npytest.skip('no dataset', allow_module_level=True)\n",
    ],
    ids=["test", "module"],
)
def test_skip_fails_only_in_ci(tmp_path: Path, text: str) -> None:
    assert "1 skipped" in run_tests(tmp_path, text).stdout
    in_ci = run_tests(tmp_path, text, CI="true")
    assert in_ci.returncode != 0
    assert "skips are not allowed in CI: Skipped: no dataset" in in_ci.stdout


def test_leftover_process_fails_the_run(tmp_path: Path) -> None:
    text = (
        "import subprocess\n"
        "def test():\n"
        "    process = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "    open('pid', 'w').write(str(process.pid))\n"
    )
    result = run_tests(tmp_path, text)
    pid = int((tmp_path / "pid").read_text())
    psutil.Process(pid).kill()
    assert result.returncode == 1
    assert "processes left behind" in result.stdout
    assert f"{pid}: sleep 60" in result.stdout
