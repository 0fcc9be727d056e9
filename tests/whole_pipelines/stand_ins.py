"""Scripts, data and models in place of the unpublished ones that definitions name.

A definition has the S3 URIs of its scripts and data, not their content. Each object that a request
reads, and that no earlier job has written, is made when the request is sent, by the same rules for
all definitions:

- A script of a Processing job writes rows of numbers, the files below its outputs that the
  definition names, and the property files that it reads. It fails if one of its inputs is empty.
- A script of a Training job trains a model that predicts the mean of its rows, and can predict. It
  prints the metrics of the definition.
  If its job packs a model with an inference script, it adds one.
- The driver of a `@step` function writes a result without a value, and a notebook prints a word.
- An archive also holds an XGBoost model of these rows.
- A JSON file is a baseline of quality checks that every dataset meets.
- Everything else is a CSV file: the label and eight features, or as many columns as the definition
  names (``_c70``).
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from sagebridge_operators.backends.local.store import FolderStore, s3_uri

LEAST_FEATURES = 8
BASELINE = {
    "version": 0.0,
    "features": [],
    "monitoring_config": {"evaluate_constraints": "Disabled"},
    **{
        f"{kind}_constraints": {
            metric: {"threshold": worst, "comparison_operator": f"{worse}ThanThreshold"}
        }
        for kind, metric, worst, worse in (
            ("regression", "mae", 1e9, "Greater"),
            ("binary_classification", "accuracy", 0.0, "Less"),
            ("multiclass_classification", "accuracy", 0.0, "Less"),
        )
    },
}
"""A baseline of quality checks that every dataset meets."""
_WRITTEN = {
    "OutputDataConfig": "S3OutputPath",
    "ProcessingOutputConfig": "S3Uri",
    "TransformOutput": "S3OutputPath",
    "CheckpointConfig": "S3Uri",
}
"""The parts of a request with S3 URIs that a job writes to, and the key of the URI."""
_DRIVER = "job_driver.sh"
_ARCHIVES = (".tar.gz", ".tgz", ".zip")
PROCESS = """\
import json, os, pathlib, sys
FILES, READ, BELOW = json.loads({files!r}), {read!r}, {below!r}
LABELLED, BARE = {labelled!r}, {bare!r}
config = json.load(open("/opt/ml/config/processingjobconfig.json"))
for one in config.get("ProcessingInputs", []):
    folder = pathlib.Path(one["S3Input"]["LocalPath"])
    if not any(path.is_file() for path in folder.rglob("*")):
        sys.exit(f"no file in {{folder}}")
for one in config.get("ProcessingOutputConfig", {{}}).get("Outputs", []):
    folder = pathlib.Path(one["S3Output"]["LocalPath"])
    files = dict(FILES.get(one["OutputName"], {{}}))
    rows = BARE if one["OutputName"] in {features!r} else LABELLED
    below = one["S3Output"]["S3Uri"].rstrip("/") + "/"
    names = [uri[len(below) :].rstrip("/") for uri in READ if uri.startswith(below)]
    names += BELOW.get(one["OutputName"], [])
    for name in [name for name in names if not name.endswith(".json")]:
        files.setdefault(name if "." in name else f"{{name}}/data.csv", rows)
    if not files:
        files["data.csv"] = rows
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
"""
TRAIN = """\
import csv, json, os, pathlib

METRICS = @METRICS@


def train():
    rows = [
        [float(value) for value in row]
        for path in pathlib.Path("/opt/ml/input/data").rglob("*.csv")
        for row in csv.reader(path.open())
    ]
    mean = sum(row[0] for row in rows) / len(rows) if rows else 0.0
    folder = pathlib.Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    (folder / "model.json").write_text(json.dumps({"mean": mean}))
    print(METRICS)
    if script := os.environ.get("SM_HP_INFERENCE_SCRIPT"):  # the step packs a model with a script
        (folder / "code").mkdir()
        (folder / "code" / script).write_text(pathlib.Path(__file__).read_text())


def model_fn(folder):
    path = pathlib.Path(folder, "model.json")
    return json.loads(path.read_text())["mean"] if path.exists() else 0.0


def input_fn(body, content_type):
    return (body if isinstance(body, str) else body.decode()).splitlines()


def predict_fn(lines, model):
    return [model for _ in lines]


def output_fn(predictions, accept):
    return "\\n".join(map(str, predictions)), accept


if __name__ == "__main__":
    train()
"""
DRIVER = """\
import os, sys
import boto3

options = dict(zip(sys.argv[1:], sys.argv[2:]))
names = ("--s3_base_uri", "--pipeline_execution_id", "--pipeline_step_name")
bucket, _, key = "/".join(options[name].rstrip("/") for name in names)[5:].partition("/")
boto3.client("s3").put_object(Bucket=bucket, Key=f"{key}/results/payload.pkl", Body=b"")
"""
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "a",
            "metadata": {},
            "outputs": [],
            "source": ["print('done')"],
        }
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


class StandIns:
    """The stand-ins of one run in a store.

    Args:
        files: the content of each property file by its path, by the name of its output.
        read: all S3 URIs in the definition.
        below: the files below outputs that the definition names, by the name of the output.
        columns: how many columns the definition names.
        metrics: the regular expressions of the metrics that scripts print.
        filtered: whether a Transform job drops the label of its rows itself.
        features: the names of outputs whose rows have no label, since models predict for them.
        programs: the names of the scripts that archives hold.
    """

    def __init__(
        self,
        store: FolderStore,
        files: Mapping[str, Mapping[str, str]],
        read: Sequence[str],
        below: Mapping[str, Sequence[str]],
        features: Sequence[str],
        programs: Sequence[str],
        columns: int,
        metrics: Sequence[str],
        filtered: bool,
    ) -> None:
        self.store, self.programs, self.filtered = store, programs, filtered
        self.train = TRAIN.replace("@METRICS@", repr("\n".join(map(_metric, metrics))))
        self.features = max(LEAST_FEATURES, columns - 1)
        self.process = PROCESS.format(
            files=json.dumps(files),
            read=list(read),
            features=list(features),
            below={name: list(files) for name, files in below.items()},
            labelled=self._csv(),
            bare=self._csv(1),
        )
        self.written: set[str] = set()

    def supply(self, request: Mapping[str, Any]) -> None:
        """Make what a request reads; note what it writes."""
        training = "TrainingJobName" in request
        for uri, path in _scripts(request):
            script = self.train if training else self.process
            self._make(uri, _script(path.name, DRIVER if path.name == _DRIVER else script))
        for uri, content in _notebook_files(request):
            self._make(uri, content)
        predicted = "TransformInput" in request or "dataset_source" in request.get(
            "Environment", {}
        )
        first = 1 if predicted and not self.filtered else 0
        for uri in _read(request):
            self._make(uri, self._content(uri, first), prefix=True)
        for part, key in _WRITTEN.items():
            own = f"/{request['TrainingJobName']}" if training else ""
            self.written |= {
                uri.rstrip("/") + own for found, uri in _strings(request.get(part)) if found == key
            }

    def _make(self, uri: str, content: bytes, *, prefix: bool = False) -> None:
        if any(uri.startswith(one) for one in self.written) or self.store.list(uri):
            return  # a job writes it, or has to
        plain = prefix and "." not in PurePosixPath(uri).name
        self.store.write(f"{uri.rstrip('/')}/data.csv" if plain else uri, content)

    def _content(self, uri: str, first: int) -> bytes:
        name = PurePosixPath(uri).name
        if name.endswith(_ARCHIVES):
            return archive(self.train, tuple(self.programs), self.features)
        if name.endswith(".py"):
            return self.process.encode()
        return (json.dumps(BASELINE) if name.endswith(".json") else self._csv(first)).encode()

    def _csv(self, first: int = 0) -> str:
        """The rows, from a column on."""
        return "".join(",".join(map(str, row[first:])) + "\n" for row in rows(self.features))


@cache
def rows(features: int) -> list[list[float]]:
    return [
        [row % 2, *((row * (column + 3)) % 11 / 10 for column in range(features))]
        for row in range(60)
    ]


@cache
def archive(train: str, programs: Sequence[str], features: int) -> bytes:
    """A model and the code of a script, for training and for inference."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        files = {
            f"{folder}{name}": _script(name, train) for name in programs for folder in ("", "code/")
        }
        for name, text in {**files, "xgboost-model": _booster(features)}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return content.getvalue()


@cache
def _booster(features: int) -> bytes:
    import numpy as np
    import xgboost

    data = np.array(rows(features))
    model = xgboost.train({"max_depth": 2}, xgboost.DMatrix(data[:, 1:], label=data[:, 0]), 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ubj"
        model.save_model(path)
        return path.read_bytes()


def _scripts(request: Mapping[str, Any]) -> Iterator[tuple[str, PurePosixPath]]:
    """The scripts in the command of a job: S3 URI and path in the container."""
    command = [
        PurePosixPath(word)
        for part in ("AppSpecification", "AlgorithmSpecification")
        for word in request.get(part, {}).get("ContainerEntrypoint", [])
    ]
    inputs = [one.get("S3Input", {}) for one in request.get("ProcessingInputs", [])]
    for channel in request.get("InputDataConfig", []):
        folder = f"/opt/ml/input/data/{channel['ChannelName']}"
        inputs.append({**channel["DataSource"].get("S3DataSource", {}), "LocalPath": folder})
    for source in sorted(inputs, key=lambda one: -len(one.get("LocalPath", ""))):
        folder = source.get("LocalPath", "/none")
        for path in [one for one in command if one.is_relative_to(folder)]:
            command.remove(path)  # the innermost folder has it
            if path.suffix in (".py", ".sh"):
                inside, uri = str(path.relative_to(folder)), source["S3Uri"]
                same = PurePosixPath(uri).name == inside
                yield uri if same else f"{uri.rstrip('/')}/{inside}", path


def _metric(regex: str) -> str:
    """A line that a simple regular expression finds, with the number 0.5."""
    text = re.sub(r"\([^)]*\)", "0.5", regex)
    return re.sub(r"\\(.)", r"\1", text.replace("\\s+", " ").replace(".*", ""))


def _notebook_files(request: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The files of a notebook job: S3 URI and content."""
    variables = request.get("Environment", {})
    for channel in request.get("InputDataConfig", []):
        folder = f"/opt/ml/input/data/{channel['ChannelName']}"
        if variables.get("SM_EXECUTION_INPUT_PATH") == folder:
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"].rstrip("/")
            for name in ("SM_INPUT_NOTEBOOK_NAME", "SM_INIT_SCRIPT", "SM_LCC_INIT_SCRIPT"):
                if file := variables.get(name):
                    notebook = json.dumps(NOTEBOOK) if name == "SM_INPUT_NOTEBOOK_NAME" else "true"
                    yield f"{uri}/{file}", notebook.encode()


def _script(name: str, text: str) -> bytes:
    """A script, as a shell script if it is named so."""
    if name.endswith(".sh"):
        text = f"cat > stand_in.py <<'EOF'\n{text}\nEOF\nexec python3 stand_in.py \"$@\"\n"
    return text.encode()


def _read(request: Mapping[str, Any]) -> Iterator[str]:
    """The S3 URIs that a request reads."""
    rest = {key: value for key, value in request.items() if key not in _WRITTEN}
    for _, text in _strings(rest):
        uri = s3_uri(text.strip('"'))  # hyperparameters are JSON
        if uri.startswith("s3://") and uri.count("/") > 2:
            yield uri


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """All strings in a request, each with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _strings(item, name)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, key)
