"""Read a pipeline of the installed SDK with the command line in a subprocess."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FILE = """\
from sagemaker.{module}.fail_step import FailStep
from sagemaker.{pipeline} import Pipeline

def get_pipeline(region, name="quiet"):
    return Pipeline(name=name, steps=[FailStep(name="Stop", error_message=region)])
"""


def check_quiet(folder: Path, module: str, pipeline: str) -> None:
    """Assert that a command prints only its result: nothing of the SDK, on either stream."""
    file = folder / "build.py"
    file.write_text(FILE.format(module=module, pipeline=pipeline))
    words = ["show", f"{file}:get_pipeline", "--arg", "region=eu-west-1", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "sagebridge.cli", *words],
        env={**os.environ, "AWS_DEFAULT_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["steps"][0]["notes"] == ['fails with "eu-west-1"']
