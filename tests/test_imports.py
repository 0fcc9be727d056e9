"""Importing sagebridge loads no heavy packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("airflow", "boto3", "botocore", "networkx", "pandas", "prefect", "sagemaker", "xgboost")
SOURCE = '{"Version": "2020-12-01", "Steps": [{"Name": "A", "Type": "Training", "Arguments": {}}]}'


@pytest.mark.parametrize(
    "code",
    [
        "import sagebridge",
        f"import sagebridge; sagebridge.write(sagebridge.read('{SOURCE}').pipeline, 'sagemaker')",
        "import sagebridge.cli; sagebridge.cli.main(['--version'])",
        "import sagebridge.cli; sagebridge.cli.main(['--help'])",
        "import sagebridge.cli; sagebridge.cli.main(['show', '--help'])",
    ],
    ids=["import", "read and write", "--version", "--help", "show"],
)
def test_core_loads_no_engine(code: str) -> None:
    check = f"{code}\nimport sys\nprint('LOADED', *(n for n in {HEAVY!r} if n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", check], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_validation_loads_no_engine() -> None:
    code = f"import sagebridge, sys; assert sagebridge.validate('{SOURCE}')"
    heavy = tuple(name for name in HEAVY if name != "networkx")
    check = f"{code}\nprint('LOADED', *(n for n in {heavy!r} if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "LOADED"
