"""Shell commands with the options that a shell step does not have."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from sagebridge_operators.lifecycle.user_code import shell_command
from sagebridge_operators.run_errors import StepFailed, StepSkipped


def run_command(
    command: str,
    env: Mapping[str, Any] | None = None,
    append_env: bool = False,
    cwd: str | None = None,
    as_json: bool = False,
    skip_on_exit_code: Sequence[int] = (),
    templated: bool = False,
    **context: Any,
) -> Any:
    """Runs a command with bash and returns the last line that it prints.

    Args:
        command: the bash script.
        env: its environment; by default that of the worker.
        append_env: add ``env`` to the environment of the worker.
        cwd: the folder in which it runs; by default an empty one.
        as_json: return the value of the last line, which is JSON.
        skip_on_exit_code: the exit codes after which the step is skipped.
        templated: render the templates in the command and in ``env``.
        context: Airflow's context.
    """
    if templated:
        command, env = context["task"].render_template((command, env), context)
    given = {name: str(value) for name, value in (env or {}).items()}
    environment = {**os.environ, **given} if env is None or append_env else given
    try:
        last = shell_command.run_command(command, environment, lambda: False, print, folder=cwd)
    except StepFailed as failed:
        if failed.code in map(str, skip_on_exit_code):
            raise StepSkipped(f"the command ended with exit code {failed.code}") from None
        raise
    return json.loads(last) if as_json else last
