"""Decorators that call a function in another Python, as virtualenv tasks do.

As in Airflow, only the source of the function goes there: it imports everything inside. Arguments
and results are pickled; keyword arguments that are not data, such as ``ti``, are left out.
"""

from __future__ import annotations

import ast
import functools
import inspect
import os
import pickle
import shlex
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sagebridge_operators.lifecycle.user_code import values
from sagebridge_operators.lifecycle.user_code.shell_command import run_command
from sagebridge_operators.run_errors import StepFailed, StepSkipped

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_FUTURE = "from __future__ import annotations\n"  # types need not exist there
_CALL = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    args, kwargs = pickle.load(file)
result = {name}(*args, **kwargs)
with open(sys.argv[2], "wb") as file:
    pickle.dump(result, file, 4)
"""


def in_virtualenv(
    requirements: Sequence[str] | str = (),
    python_version: str = "",
    system_site_packages: bool = True,
    pip_install_options: Sequence[str] = (),
    skip_on_exit_code: Sequence[int] = (),
) -> Decorator:
    """Calls the function in a new virtual environment, which is removed afterwards.

    Args:
        requirements: what pip installs: a list, or the text of a requirements file.
        python_version: such as ``3.12``; by default that of the worker.
        system_site_packages: whether the function also has the packages of the worker.
        pip_install_options: options of ``pip install``.
        skip_on_exit_code: exit codes after which the step is skipped.
    """
    listed = requirements.splitlines() if isinstance(requirements, str) else list(requirements)

    def create(folder: Path) -> str:
        base = f"python{python_version}" if python_version else sys.executable
        if python_version and shutil.which(base) is None:
            raise StepFailed(f"{base} is not installed on the worker", kind="code")
        options = ["--system-site-packages"] if system_site_packages else []
        options += [] if listed else ["--without-pip"]  # which takes seconds
        _run([base, "-m", "venv", *options, str(folder / "env")])
        python = str(folder / "env" / "bin" / "python")
        if listed:
            (folder / "requirements.txt").write_text("\n".join(listed))
            install = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
            _run([*install, *pip_install_options, "-r", str(folder / "requirements.txt")])
        return python

    return _decorator(create, skip_on_exit_code)


def in_python(python: str = "", skip_on_exit_code: Sequence[int] = ()) -> Decorator:
    """Calls the function in another process.

    Args:
        python: the path of a Python that exists on the worker; by default that of the worker.
        skip_on_exit_code: exit codes after which the step is skipped.
    """
    return _decorator(lambda folder: python or sys.executable, skip_on_exit_code)


def _decorator(create: Callable[[Path], str], skip_on: Sequence[int]) -> Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call_there(*args: Any, **kwargs: Any) -> Any:
            with tempfile.TemporaryDirectory(prefix="sagebridge-python-") as name:
                folder = Path(name)
                script, given, result = (folder / one for one in ("call.py", "given", "result"))
                call = _CALL.format(name=function.__name__)
                script.write_text(f"{_FUTURE}{_source(function)}{call}")
                kept = {name: one for name, one in kwargs.items() if _is_data(one)}
                given.write_bytes(pickle.dumps((args, kept), 4))
                try:
                    _run([create(folder), str(script), str(given), str(result)])
                except StepFailed as failed:
                    if failed.code in map(str, skip_on):
                        raise StepSkipped(f"the function exited with {failed.code}") from None
                    raise
                # The user's own function has written the file, into a private folder.
                return pickle.loads(result.read_bytes())  # noqa: S301

        return call_there

    return decorate


def _is_data(value: Any) -> bool:
    try:
        values.encode("", value)
    except StepFailed:
        return False
    return True


def _run(words: Sequence[str]) -> None:
    """Runs a command; its output goes to the step's log. Raises StepFailed."""
    run_command(shlex.join(words), dict(os.environ), lambda: False, print)


def _source(function: Callable[..., Any]) -> str:
    """The source of a function without its decorators."""
    text = textwrap.dedent(inspect.getsource(function))
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    return "".join(text.splitlines(keepends=True)[node.lineno - 1 :])
