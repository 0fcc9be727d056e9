"""Functions that Airflow runs in a virtual environment or an external Python.

They become functions with a decorator of our library, which does the same on both engines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

from sagebridge.formats.airflow.code_tasks import CodeTask
from sagebridge.formats.python.function_source import NotSelfContained
from sagebridge.formats.python.import_inputs import is_this_python
from sagebridge.model.code_steps import BRANCH, PythonStep
from sagebridge.model.display import words

_LIBRARY = "sagebridge_operators.functions.environments"
ENVIRONMENT_ROLES: Mapping[str, str] = {
    "PythonVirtualenvOperator": "",
    "_PythonVirtualenvDecoratedOperator": "",
    "BranchPythonVirtualenvOperator": BRANCH,
    "_BranchPythonVirtualenvDecoratedOperator": BRANCH,
    "ExternalPythonOperator": "",
    "_PythonExternalDecoratedOperator": "",
    "BranchExternalPythonOperator": BRANCH,
    "_BranchExternalPythonDecoratedOperator": BRANCH,
}
"""The operators that call a function in another Python, with the role of its result."""
ENVIRONMENT_READS = words(
    "expect_airflow inherit_env pip_install_options python python_version requirements "
    "system_site_packages"
)
"""Their arguments that are part of the step."""
_WIDTH = 88
_UNKNOWN = ("env_vars", "index_urls", "index_urls_from_connection_ids", "string_args")
"""Their arguments that the library does not have."""


def environment_step(task: CodeTask, role: str) -> PythonStep:
    """The step of a task. Raises :class:`NotSelfContained`."""
    operator = task.operator
    for name in _UNKNOWN:
        if getattr(operator, name, None):
            raise NotSelfContained(f"has {name}")
    if not getattr(operator, "inherit_env", True):
        raise NotSelfContained("does not inherit the environment")
    decorator, options = "in_virtualenv", _virtualenv(operator)
    if hasattr(operator, "python"):
        is_own = is_this_python(str(operator.python))
        decorator, options = "in_python", {} if is_own else {"python": str(operator.python)}
    if codes := sorted(operator.skip_on_exit_code or ()):
        options["skip_on_exit_code"] = codes
    step = task.python_step(role)
    function = step.function
    if not function.text and (function.module or not function.code):
        raise NotSelfContained("uses names of its module, which its environment does not have")
    definition = (function.text or function.code).splitlines()
    comments = list(takewhile(lambda line: line.startswith("#"), definition))
    lines = (
        f"from {_LIBRARY} import {decorator}\n\n",
        *comments,
        _decoration(decorator, options),
        *definition[len(comments) :],
    )
    decorated = replace(function, text="", module="\n".join(lines))
    return replace(step, function=decorated)


def _decoration(name: str, options: Mapping[str, Any]) -> str:
    """The line of a decorator; several lines if it is long.

    Not laid out by ruff, since a DAG file that is being imported may not start processes.
    """
    given = [
        f"{option}={value if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)}"
        for option, value in options.items()
    ]
    line = f"@{name}({', '.join(given)})"
    if len(line) <= _WIDTH:
        return line
    return "\n".join((f"@{name}(", *(f"    {one}," for one in given), ")"))


def _virtualenv(operator: Any) -> dict[str, Any]:
    """The options of a virtual environment that are not the defaults."""
    requirements = getattr(operator, "requirements", None) or []
    options: dict[str, Any] = {}
    if requirements:
        several = isinstance(requirements, list | tuple)
        options["requirements"] = list(requirements) if several else str(requirements)
    if version := getattr(operator, "python_version", None):
        options["python_version"] = str(version)
    if not getattr(operator, "system_site_packages", True):
        options["system_site_packages"] = False
    if more := getattr(operator, "pip_install_options", None):
        options["pip_install_options"] = list(more)
    return options
