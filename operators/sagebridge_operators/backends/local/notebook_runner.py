"""Run the notebook of a notebook job; a script that runs in the job's Python.

Follows the contract of sagemaker-headless-execution-driver 0.0.13: SM_* variables, parameters from
the hyperparameters, and the executed notebook in ``/opt/ml/output/data``, also after a failure.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
from pathlib import Path


def main(ml: Path) -> int:
    """Run the notebook. ``ml`` is the job's /opt/ml. Returns the exit code."""
    import nbformat
    import papermill

    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    source = Path(os.environ["SM_EXECUTION_INPUT_PATH"], os.environ["SM_INPUT_NOTEBOOK_NAME"])
    outputs = ml / "output/data"
    target = outputs / output_name(os.environ["SM_OUTPUT_NOTEBOOK_NAME"])
    parameters = json.loads((ml / "input/config/hyperparameters.json").read_text())
    try:
        shutil.copy(source, outputs)
        notebook = nbformat.read(source, nbformat.NO_CONVERT)
        if (language := language_of(notebook.metadata)) not in {"python", ""}:
            return fail(ml, f"it is written in {language}; jobs on this machine have only Python")
        papermill.execute_notebook(
            source,
            target,
            parameters,
            kernel_name=kernel(os.environ.get("SM_KERNEL_NAME", "")),
            language="python",
            log_output=True,
            progress_bar=False,
        )
    except papermill.PapermillExecutionError as error:
        return fail(ml, f"In [{error.exec_count}]: {error.ename}: {error.evalue}")
    except Exception as error:  # noqa: BLE001 - also errors of kernels and files
        return fail(ml, f"{type(error).__name__}: {error}")
    return 0


def output_name(name: str) -> str:
    """The file name of the executed notebook: only its extension has a dot."""
    return re.sub(r"-*ipynb$", ".ipynb", re.sub(r"[.:]", "-", name))


def language_of(metadata: dict[str, dict[str, str]]) -> str:
    """The language of a notebook in lower case; empty if it has none."""
    found = metadata.get("language_info", {}).get("name")
    return (found or metadata.get("kernelspec", {}).get("language") or "").lower()


def kernel(wanted: str) -> str:
    """The kernel to use: ``wanted`` if it is installed, otherwise the job's Python."""
    from jupyter_client.kernelspec import KernelSpecManager

    if wanted in KernelSpecManager().find_kernel_specs():
        return wanted
    print(f"sagebridge: the kernel {wanted!r} is not installed; python3 runs the notebook")
    return "python3"


def fail(ml: Path, reason: str) -> int:
    """Write the failure reason of the job. Returns the exit code."""
    (ml / "output/failure").write_text(f"Error with executing notebook: {reason}")
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
