"""The scripts of the abalone example, run like in the jobs but without a backend."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

EXAMPLE = Path(__file__).parents[2] / "pipelines" / "abalone"
ANIMALS = 400


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLE / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def succeed(script: str, *arguments: object) -> str:
    result = run(script, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of ``sample_data.py`` with the default size."""
    folder = tmp_path_factory.mktemp("sample")
    succeed("sample_data.py", folder)
    return folder


@pytest.fixture
def base(tmp_path: Path, sample: Path) -> Path:
    """Folder of a job with a small input file."""
    (tmp_path / "input").mkdir()
    lines = (sample / "abalone-dataset.csv").read_text().splitlines(keepends=True)
    (tmp_path / "input" / "animals.csv").write_text("".join(lines[:ANIMALS]))
    return tmp_path


def split(base: Path, seed: int = 0) -> dict[str, str]:
    succeed("preprocessing.py", "--base", base, "--seed", seed)
    return {
        name: (base / name / f"{name}.csv").read_text() for name in ("train", "validation", "test")
    }


def mse(data: Path, base: Path, seed: int) -> float:
    """Preprocess, train with the pipeline's hyperparameters, and return the mean squared error."""
    (base / "input").mkdir(parents=True)
    shutil.copy(data, base / "input")
    split(base, seed)
    definition = json.loads((EXAMPLE / "definition.json").read_text())
    (train,) = (step for step in definition["Steps"] if step["Name"] == "AbaloneTrain")
    parameters: dict[str, Any] = dict(train["Arguments"]["HyperParameters"])
    rounds = int(parameters.pop("num_round"))
    animals = np.loadtxt(base / "train" / "train.csv", delimiter=",")
    archive(base, xgboost.train(parameters, xgboost.DMatrix(animals[:, 1:], animals[:, 0]), rounds))
    succeed("evaluation.py", "--base", base)
    report = json.loads((base / "evaluation" / "evaluation.json").read_text())
    assert report["regression_metrics"]["mse"]["standard_deviation"] > 0
    value = report["regression_metrics"]["mse"]["value"]
    assert isinstance(value, float)
    return value


def archive(base: Path, model: xgboost.Booster) -> None:
    (base / "model").mkdir()
    (base / "model" / "xgboost-model").write_bytes(model.save_raw())
    with tarfile.open(base / "model" / "model.tar.gz", "w:gz") as tar:
        tar.add(base / "model" / "xgboost-model", "xgboost-model")


def test_sample_depends_on_the_seed(sample: Path, tmp_path: Path) -> None:
    succeed("sample_data.py", tmp_path / "again")
    succeed("sample_data.py", tmp_path / "other", "--seed", 1)
    name = "abalone-dataset.csv"
    assert (tmp_path / "again" / name).read_bytes() == (sample / name).read_bytes()
    assert (tmp_path / "other" / name).read_bytes() != (sample / name).read_bytes()


def test_sample_is_plausible(sample: Path) -> None:
    rows = [line.split(",") for line in (sample / "abalone-dataset.csv").read_text().splitlines()]
    sexes = np.array([row[0] for row in rows])
    numbers = np.array([row[1:] for row in rows], dtype=float)
    length, diameter, _, whole, shucked, viscera, shell, rings = numbers.T
    assert len(rows) == 4000
    assert set(sexes) == {"F", "I", "M"}
    assert (numbers > 0).all()
    assert (diameter < length).all()
    assert np.mean(shucked + viscera + shell < whole) > 0.95
    assert rings[sexes == "I"].mean() < rings[sexes != "I"].mean() - 2
    assert 0.5 < np.corrcoef(rings, shell)[0, 1] < 0.9


def test_batch_has_the_training_features(base: Path) -> None:
    (data,) = (base / "input").iterdir()
    succeed("sample_data.py", base, "--from", data)
    batch = (base / "abalone-dataset-batch.csv").read_text().splitlines()
    parts = "".join(split(base).values()).splitlines()
    assert sorted(line.partition(",")[2] for line in parts) == sorted(batch)
    assert not (base / "abalone-dataset.csv").exists()


def test_split_has_every_animal_once(base: Path) -> None:
    parts = split(base)
    assert [len(text.splitlines()) for text in parts.values()] == [280, 60, 60]
    (data,) = (base / "input").iterdir()
    expected = sorted(int(line.rpartition(",")[2]) for line in data.read_text().splitlines())
    lines = "".join(parts.values()).splitlines()
    assert sorted(int(line.partition(",")[0]) for line in lines) == expected


def test_split_depends_only_on_the_seed(base: Path) -> None:
    first = split(base, seed=3)
    assert split(base, seed=3) == first
    assert split(base, seed=4) != first


def test_header_and_file_name_are_ignored(base: Path) -> None:
    without = split(base)
    (data,) = (base / "input").iterdir()
    text = data.read_text()
    data.unlink()
    (base / "input" / "x").write_text(
        "Sex,Length,Diameter,Height,Whole weight,Shucked weight,Viscera weight,Shell weight,Rings\n"
        + text
    )
    assert split(base) == without


def test_missing_measurement_is_kept_as_missing(base: Path) -> None:
    (data,) = (base / "input").iterdir()
    first, _, rest = data.read_text().partition("\n")
    sex, _, others = first.split(",", 2)
    data.write_text(f"{sex},,{others}\n{rest}")
    assert (
        sum(
            line.split(",")[1] == "nan"
            for part in split(base).values()
            for line in part.splitlines()
        )
        == 1
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("M,0.4,0.3", "animals.csv:401: expected 9 columns (sex, length"),
        ("M,0.4,0.3,0.1,0.5,0.2,0.1,wet,9", "animals.csv:401: could not convert string to float"),
    ],
)
def test_bad_line_is_reported(base: Path, line: str, message: str) -> None:
    with (base / "input" / "animals.csv").open("a") as file:
        file.write(line + "\n")
    result = run("preprocessing.py", "--base", base)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_two_inputs_are_rejected(base: Path) -> None:
    (base / "input" / "second.csv").touch()
    result = run("preprocessing.py", "--base", base)
    assert result.returncode == 1
    assert "expected one CSV file, found animals.csv, second.csv" in result.stderr


def test_evaluation_executes_no_code_from_a_model(base: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "harm",)  # type: ignore[return-value]

    split(base)
    (base / "model").mkdir()
    (base / "xgboost-model").write_bytes(pickle.dumps(Harm()))
    with tarfile.open(base / "model" / "model.tar.gz", "w:gz") as tar:
        tar.add(base / "xgboost-model", "xgboost-model")
    assert run("evaluation.py", "--base", base).returncode != 0
    assert not (tmp_path / "harm").exists()


def test_error_on_the_sample_is_below_the_threshold(sample: Path, tmp_path: Path) -> None:
    """The default threshold of 6 registers the model; a threshold of 1 fails the execution."""
    assert 1.0 < mse(sample / "abalone-dataset.csv", tmp_path / "job", seed=0) < 6.0


def test_error_on_the_real_data_is_in_the_known_range(abalone_csv: Path, tmp_path: Path) -> None:
    for seed in range(5):
        assert 3.5 < mse(abalone_csv, tmp_path / str(seed), seed) < 6.5
