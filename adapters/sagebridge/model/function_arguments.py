"""The command of @step and @remote functions, as the SageMaker SDK compiles it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise

DRIVER = "/sagemaker_remote_function_bootstrap/job_driver.sh"
NOTEBOOK = "amazon_sagemaker_scheduler"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def function_options(arguments: object) -> dict[str, str]:
    """The values of the options in a command whose values are known."""
    words = arguments if isinstance(arguments, Sequence) else ()
    return {
        name: value
        for name, value in pairwise(words)
        if isinstance(name, str) and name.startswith("--") and isinstance(value, str)
    }


def dependency_file(options: Mapping[str, str]) -> str:
    """The name of the file with the requirements of the function; empty if it has none."""
    try:
        return str(json.loads(options["--dependency_settings"])["dependency_file"] or "")
    except (KeyError, TypeError, ValueError):
        return ""


def other_python(arguments: object) -> str:
    """The Python version that compiled a function, unless it is the version of this process.

    Pickled functions contain bytecode, which differs between minor versions.
    """
    compiled = function_options(arguments).get("--client_python_version", PYTHON)
    return "" if compiled == PYTHON else compiled


def needs_conda(arguments: object) -> bool:
    """Whether a function runs in a conda environment."""
    options = function_options(arguments)
    return "--job_conda_env" in options or dependency_file(options).endswith((".yml", ".yaml"))
