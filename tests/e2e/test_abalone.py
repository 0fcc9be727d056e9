"""The example and the definition of the notebook, from raw data to predictions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.e2e.desk import REPOSITORY, Desk, RunningCommand
from tests.e2e.engines import TITLE, page, page_of, run_parameters

EXAMPLE = REPOSITORY / "pipelines" / "abalone"
SUCCEEDED = {
    "AbaloneProcess": "Succeeded",
    "AbaloneTrain": "Succeeded",
    "AbaloneEval": "Succeeded",
    "AbaloneMSECond": "Succeeded",
    "AbaloneRegisterModel-RegisterModel": "Succeeded",
    "AbaloneCreateModel": "Succeeded",
    "AbaloneTransform": "Succeeded",
    "AbaloneMSEFail": "Skipped",
}
MEASURED = r"metric AbaloneEval\.EvaluationReport\[.regression_metrics\.mse\.value.\]: ([\d.]+)"

pytestmark = pytest.mark.slow


def example(desk: Desk, *words: str | Path) -> RunningCommand:
    """Start the example as `make demo` does."""
    code = [
        f"--upload={EXAMPLE / script}=s3://sagebridge-abalone/code/{script}"
        for script in ("preprocessing.py", "evaluation.py")
    ]
    return desk.run(EXAMPLE / "definition.json", "--name", "AbalonePipeline", *code, *words)


def predictions(desk: Desk, shown: Any) -> pd.Series[float]:
    """The output of the transform job, one value per line."""
    files = list(desk.stored(shown["steps"]["AbaloneTransform"]["made"]["predictions"]).iterdir())
    return pd.concat([pd.read_csv(file, header=None) for file in files])[0]


def states(shown: Any) -> Mapping[str, str]:
    return {name: step["state"] for name, step in shown["steps"].items()}


@pytest.fixture(scope="module")
def sample(desk: Desk) -> Path:
    """The folder of the synthetic data."""
    maker = [sys.executable, str(EXAMPLE / "sample_data.py"), "sample"]
    subprocess.run(maker, cwd=desk.folder, check=True, capture_output=True)
    return desk.folder / "sample"


def encoded(dataset: Path, to: Path, *, scaled: bool) -> Path:
    """A dataset as the preprocessing encodes it, without label and header."""
    frame = pd.read_csv(dataset, header=None)
    numbers = frame.iloc[:, 1:-1]
    if scaled:
        numbers = (numbers - numbers.mean()) / numbers.std(ddof=0)
    features = pd.concat([numbers, pd.get_dummies(frame[0], dtype=float)], axis=1)
    features.to_csv(to, header=False, index=False)
    return to


@pytest.fixture(scope="module")
def demo(desk: Desk, sample: Path) -> RunningCommand:
    return example(desk, f"--upload={sample}=s3://sagebridge-abalone/data")


@pytest.fixture(scope="module")
def real(desk: Desk, demo: RunningCommand, abalone_csv: Path) -> RunningCommand:
    demo.wait()
    batch = encoded(abalone_csv, desk.folder / "batch.csv", scaled=False)
    return example(
        desk,
        *("-p", f"InputData={abalone_csv}", "-p", f"BatchData={batch.name}"),
        *("-p", "ModelApprovalStatus=Approved"),
        *("--format", "json"),
    )


@pytest.fixture(scope="module")
def notebook(desk: Desk, real: RunningCommand, corpus: Path, abalone_csv: Path) -> RunningCommand:
    """The notebook's definition with the notebook's scripts, while the example runs."""
    del real
    source = corpus / "seed-abalone.json"
    page = os.environ.get("SAGEBRIDGE_NOTEBOOK")
    if not page or not source.exists():
        pytest.skip("SAGEBRIDGE_NOTEBOOK or SAGEBRIDGE_CORPUS does not name the notebook's files")
    cells = re.findall(r"```python\n%%writefile (\S+)\n(.*?)```", Path(page).read_text(), re.DOTALL)
    scripts = {
        Path(name).name: desk.write(f"notebook-{Path(name).name}", code) for name, code in cells
    }
    bucket = "s3://sagemaker-us-east-1-167762637358"
    batch = encoded(abalone_csv, desk.folder / "notebook-batch.csv", scaled=True)
    text = source.read_text()
    uploads = {batch: f"{bucket}/abalone/abalone-dataset-batch"} | {
        scripts[uri.rpartition("/")[2]]: uri
        for uri in re.findall(rf'"({bucket}/[^"]+/input/code/[^"]+\.py)"', text)
    }
    assert len(uploads) == 3
    return desk.run(
        source,
        # The notebook shuffles without a seed, so an MSE above its 6.0 occurs (6.07 was seen).
        "--parameter=MseThreshold=9.0",
        f"--upload={abalone_csv}={bucket}/abalone/abalone-dataset.csv",
        *(f"--upload={local}={uri}" for local, uri in uploads.items()),
    )


def test_ui_shows_the_running_execution(demo: RunningCommand) -> None:
    address = page_of(demo)

    assert TITLE in page(address)
    assert run_parameters(address) == {
        "ProcessingInstanceCount": 1,
        "ModelApprovalStatus": "PendingManualApproval",
        "InputData": "s3://sagebridge-abalone/data/abalone-dataset.csv",
        "BatchData": "s3://sagebridge-abalone/data/abalone-dataset-batch.csv",
        "MseThreshold": 6.0,
    }
    assert demo.process.poll() is None


def test_demo_prints_all_results(desk: Desk, demo: RunningCommand, sample: Path) -> None:
    assert demo.wait() == 0, demo.output

    output = demo.output
    changes = re.findall(r"^\d\d:\d\d:\d\d (\S+) (\w+)", output, re.MULTILINE)
    assert dict(changes) == SUCCEEDED
    assert ("AbaloneTrain", "Executing") in changes
    for name, state in SUCCEEDED.items():
        assert re.search(rf"^{name} +\w+ +{state}", output, re.MULTILINE)
    assert float(re.findall(MEASURED, output)[0]) > 0
    assert "condition AbaloneMSECond: true (if)" in output
    assert re.search(r"arn:aws:sagemaker:\S+:model-package/\S+ \(PendingManualApproval\)", output)
    assert output.rstrip().endswith("result: Succeeded")

    shown = desk.show(demo.execution)
    made = shown["steps"]["AbaloneTransform"]["made"]
    assert made["predictions"] in output
    assert made["path"] == str(desk.stored(made["predictions"]))
    rows = (sample / "abalone-dataset-batch.csv").read_text().splitlines()
    assert len(predictions(desk, shown)) == len(rows)


def test_definition_of_the_notebook(
    desk: Desk, notebook: RunningCommand, abalone_csv: Path
) -> None:
    assert notebook.wait() == 0, notebook.output

    shown = desk.show(notebook.execution)
    assert states(shown) == SUCCEEDED
    assert 3.5 < float(re.findall(MEASURED, notebook.output)[0]) < 6.5
    assert_plausible(predictions(desk, shown), abalone_csv)


def test_real_dataset(desk: Desk, real: RunningCommand, abalone_csv: Path) -> None:
    assert real.wait() == 0, real.output

    shown = desk.show(real.execution)
    assert states(shown) == SUCCEEDED
    result = json.loads(real.stdout)
    assert result.pop("ui").startswith("http://127.0.0.1:")
    assert result == {name: shown[name] for name in result} | {
        "steps": list(shown["steps"].values())
    }
    ((_, mse),) = result["metrics"].items()
    assert 3.5 < mse < 6.5
    package = shown["steps"]["AbaloneRegisterModel-RegisterModel"]["job"]
    found = desk.sagemaker.describe_model_package(ModelPackageName=package)
    assert found["ModelApprovalStatus"] == "Approved"
    assert_plausible(predictions(desk, shown), abalone_csv)


def assert_plausible(predicted: pd.Series[float], dataset: Path) -> None:
    """One prediction per row, close to its label, as most rows were in the training data."""
    rings = pd.read_csv(dataset, header=None).iloc[:, -1]
    assert len(predicted) == len(rings)
    assert ((predicted.to_numpy() - rings.to_numpy()) ** 2).mean() < 6.5
