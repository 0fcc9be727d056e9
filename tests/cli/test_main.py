"""Exit codes, interrupts, closed pipes and terminals."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from sagebridge.cli import app, main
from sagebridge.errors import MissingExtra, ServiceError, UsageError, requirement


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Register a command ``foreign`` as an entry point, as other packages do."""

    def add(command: Any) -> None:
        module = ModuleType("foreign_commands")
        if command is not None:
            module.__dict__["foreign"] = click.command("foreign", help="Do it.")(command)
            monkeypatch.setitem(sys.modules, "foreign_commands", module)
        point = EntryPoint("foreign", "foreign_commands:foreign", app.GROUP)
        monkeypatch.setattr(app, "entry_points", lambda **_: [point])

    return add


def raises(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("bad options"), 2, "sagebridge: bad options\n"),
        (ServiceError("no answer"), 6, "sagebridge: no answer\n"),
        (
            MissingExtra("run", "airflow"),
            6,
            (
                "sagebridge: run needs the extra 'airflow'; run: pip install "
                f"{requirement('airflow')}\n"
            ),
        ),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_error_prints_message_and_sets_exit_code(
    third_party: Callable[[Any], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    third_party(raises(error))
    assert main(["foreign"]) == code
    assert capsys.readouterr() == ("", message)


def test_bug_keeps_traceback(third_party: Callable[[Any], None]) -> None:
    third_party(raises(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["foreign"])


@pytest.mark.parametrize(("result", "code"), [(None, 0), (3, 3)])
def test_command_result_is_exit_code(
    third_party: Callable[[Any], None], result: int | None, code: int
) -> None:
    third_party(lambda: result)
    assert main(["foreign"]) == code


def test_help_lists_third_party_commands(
    third_party: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    third_party(lambda: None)
    assert main(["--help"]) == 0
    assert re.search(r"foreign +Do it\.", capsys.readouterr().out)


def test_command_with_missing_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "needs_prefect.py").write_text("import prefect")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "prefect", None)
    point = EntryPoint("serve", "needs_prefect:serve", app.GROUP)
    monkeypatch.setattr(app, "entry_points", lambda **_: [point])
    assert main(["serve"]) == 6
    assert "the command 'serve' needs the extra 'prefect'" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "(needs the extra 'prefect')" in capsys.readouterr().out


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A definition whose tree exceeds the buffer of a pipe."""
    steps = [{"Name": f"S{n}", "Type": "Training", "Arguments": {}} for n in range(5000)]
    file = tmp_path / "large.json"
    file.write_text(json.dumps({"Version": "2020-12-01", "Steps": steps}))
    return file


def test_closed_pipe_ends_quietly(large: Path) -> None:
    command = f'"{sys.executable}" -m sagebridge.cli show "{large}" | head -1'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "large  5000 steps, 0 parameters\n"
    assert done.stderr == ""


def test_colour_only_on_terminal(large: Path) -> None:
    command = [sys.executable, "-m", "sagebridge.cli", "validate", str(large.with_name("absent"))]
    piped = subprocess.run(command, capture_output=True, check=False)
    assert b"\x1b[" not in piped.stdout
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    subprocess.run(command, stdout=follower, env=environment, check=False)
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "\x1b[" in shown
    assert "1 source: 1 error, 0 warnings" in shown


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ('{"url": "file:///srv/my%20clone", "dir_info": {}}', "'/srv/my clone[aws]'"),
        ('{"url": "https://example.com/s.whl"}', "'sagebridge[aws] @ https://example.com/s.whl'"),
        (None, "'sagebridge[aws]'"),
    ],
)
def test_missing_extra_is_installed_from_the_same_source(
    recorded: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return recorded if name == "direct_url.json" else None

    monkeypatch.setattr("importlib.metadata.distribution", lambda _: Installed())
    assert str(MissingExtra("x", "aws")) == f"x needs the extra 'aws'; run: pip install {expected}"
