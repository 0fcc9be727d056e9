"""The built-in XGBoost algorithm as a program: ``python -m ... train pickle|save``.

Follows the XGBoost images in algorithm mode. Hyperparameters are strings. Data is libsvm, or CSV
without a header that starts with the label and, with csv_weights, the weight. The channel
validation is optional. The model is /opt/ml/model/xgboost-model.
"""

from __future__ import annotations

import json
import math
import pickle
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # xgboost imports scikit-learn if it can (xgboost/compat.py), which takes longer than a small
    # training. Only `evaluate` uses it.
    sys.modules["sklearn"] = None  # type: ignore[assignment]

import numpy as np
import numpy.typing as npt
import xgboost
from scipy.sparse import csr_matrix  # type: ignore[import-untyped, unused-ignore]

from sagebridge_operators.backends.local.algorithms.user_errors import (
    UserError,
    base,
    data_files,
    report,
)

if __name__ == "__main__":
    del sys.modules["sklearn"]

MODEL = "xgboost-model"
CSV = frozenset({"csv", "text/csv"})
LIBSVM = frozenset({"libsvm", "text/libsvm", "text/x-libsvm"})
# Metrics that only the image has (sagemaker_xgboost_container/metrics/custom_metrics.py), as
# functions of sklearn.metrics.
IMAGE_METRICS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "accuracy": ("accuracy_score", {}),
    "balanced_accuracy": ("balanced_accuracy_score", {}),
    "f1": ("f1_score", {"average": "macro"}),
    "f1_binary": ("f1_score", {"average": "binary"}),
    "f1_macro": ("f1_score", {"average": "macro"}),
    "mse": ("mean_squared_error", {}),
    "precision": ("precision_score", {}),
    "precision_macro": ("precision_score", {"average": "macro"}),
    "precision_micro": ("precision_score", {"average": "micro"}),
    "r2": ("r2_score", {}),
    "recall": ("recall_score", {}),
    "recall_macro": ("recall_score", {"average": "macro"}),
    "recall_micro": ("recall_score", {"average": "micro"}),
}
NUMERIC_METRICS = frozenset({"mse", "r2"})
BINARY = 0.5
# Hyperparameters for the container, not for the booster.
CONTAINER_PARAMETERS = frozenset(
    {"num_round", "early_stopping_rounds", "csv_weights", "silent", "eval_metric"}
)
TUNING_METRIC = "_tuning_objective_metric"
IGNORED = frozenset({TUNING_METRIC, "save_model_on_termination", "use_dask_gpu_training", "_kfold"})


def number(text: str) -> int | float | str:
    """The value of a hyperparameter: an integer, a float, or otherwise the string."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parameters(hyperparameters: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of the booster, and the arguments of ``xgboost.train``.

    Raises:
        UserError: num_round is missing, or a count is not a positive integer.
    """
    texts = {name: str(text).strip().strip('"') for name, text in hyperparameters.items()}
    if "num_round" not in texts:
        raise UserError("Hyperparameter num_round is required")
    run: dict[str, Any] = {"num_boost_round": _count("num_round", texts["num_round"])}
    if stopping := texts.get("early_stopping_rounds"):
        run["early_stopping_rounds"] = _count("early_stopping_rounds", stopping)
    booster: dict[str, Any] = {
        name: number(text)
        for name, text in texts.items()
        if text and name not in CONTAINER_PARAMETERS | IGNORED and not name.startswith("sagemaker_")
    }
    # XGBoost warns in the log that reg:linear is a deprecated name of reg:squarederror.
    if booster.get("objective") == "reg:linear":
        booster["objective"] = "reg:squarederror"
    if "silent" in texts:
        quiet = texts["silent"].lower() in {"1", "true"}
        booster.setdefault("verbosity", 0 if quiet else 1)
    # The image evaluates the objective of a tuning job too, such as validation:auc.
    objective = texts.get(TUNING_METRIC, "").partition(":")[2]
    evaluated = [name for name in texts.get("eval_metric", "").split(",") if name != objective]
    metrics = [name for name in (*evaluated, objective) if name]
    if own := [name for name in metrics if name in IMAGE_METRICS]:
        classes = booster.get("objective") == "multi:softmax"
        run["custom_metric"] = partial(evaluate, metrics=own, classes=classes)
        run["maximize"] = own[-1] != "mse"
    if plain := [name for name in metrics if name not in IMAGE_METRICS]:
        booster["eval_metric"] = plain
    return booster, run


def evaluate(
    predicted: npt.NDArray[np.float32],
    data: xgboost.DMatrix,
    *,
    metrics: Sequence[str],
    classes: bool,
) -> list[tuple[str, float]]:
    """The values of metrics of the image, from predictions of shape (rows,) or (rows, classes).

    ``classes`` is whether predictions are numbers of classes.
    """
    from sklearn import metrics as functions

    labels = data.get_label()
    found = predicted if classes else predicted > BINARY
    if predicted.ndim > 1:
        found = predicted.argmax(axis=1)
    values = []
    for name in metrics:
        function, options = IMAGE_METRICS[name]
        of = predicted if name in NUMERIC_METRICS else found
        values.append((name, float(getattr(functions, function)(labels, of, **options))))
    return values


def _count(name: str, text: str) -> int:
    value = number(text)
    if not isinstance(value, int) or value < 1:
        raise UserError(f"Hyperparameter {name} must be a positive integer, not {text!r}")
    return value


def csv_rows(lines: Sequence[str], source: str) -> npt.NDArray[np.float32]:
    """Numbers of shape (rows, columns); an empty field is NaN.

    Raises:
        UserError: a field is not a number, or rows differ in length.
    """
    rows = [line for line in lines if line.strip()]
    try:
        return np.loadtxt(rows, dtype=np.float32, delimiter=",", ndmin=2)
    except ValueError:
        pass
    parsed: list[list[float]] = []
    for row, line in enumerate(rows, 1):
        fields = []
        for column, field in enumerate(line.split(","), 1):
            try:
                fields.append(float(field) if field.strip() else math.nan)
            except ValueError:
                hint = "; CSV must have no header" if row == 1 else ""
                raise UserError(
                    f"{source}: row {row}, column {column}: {field.strip()!r} is not a number{hint}"
                ) from None
        if parsed and len(fields) != len(parsed[0]):
            raise UserError(
                f"{source}: row {row} has {len(fields)} columns, row 1 has {len(parsed[0])}"
            )
        parsed.append(fields)
    return np.array(parsed, dtype=np.float32)


def load_channel(name: str, content_type: str, *, weights: bool) -> xgboost.DMatrix:
    """The labelled rows of a channel, in the order of its file names.

    Raises:
        UserError: no data, or data that does not match its content type.
    """
    files = data_files(base() / "input" / "data" / name)
    if not files:
        raise UserError(f"Channel {name!r} has no data")
    kind = content_type.partition(";")[0].strip().lower()
    if kind in LIBSVM:
        return libsvm_rows([line for file in files for line in _lines(file)], f"channel {name!r}")
    if kind not in CSV:
        known = ", ".join(sorted(CSV | LIBSVM))
        raise UserError(
            f"Channel {name!r}: unsupported content type {content_type!r} (expected {known})"
        )
    parts = [csv_rows(_lines(file), file.name) for file in files]
    if len(widths := {part.shape[1] for part in parts}) > 1:
        raise UserError(f"Channel {name!r}: files have {sorted(widths)} columns")
    rows = np.concatenate(parts)
    first = 2 if weights else 1
    if rows.shape[1] <= first:
        raise UserError(
            f"Channel {name!r}: {rows.shape[1]} columns are too few for a label and features"
        )
    if np.isnan(rows[:, 0]).any():
        raise UserError(f"Channel {name!r}: a label (first column) is missing")
    return xgboost.DMatrix(
        rows[:, first:], label=rows[:, 0], weight=rows[:, 1] if weights else None
    )


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8-sig").splitlines()


def libsvm_rows(lines: Sequence[str], source: str) -> xgboost.DMatrix:
    """Sparse rows ``label[:weight] index:value ...``; the index is the column, as in XGBoost.

    Raises:
        UserError: an invalid row.
    """
    labels: list[float] = []
    weights: list[float] = []
    values: list[float] = []
    columns: list[int] = []
    ends = [0]
    for row, line in enumerate(filter(str.strip, lines), 1):
        try:
            label, *fields = line.split("#")[0].split()
            labels.append(float(label.partition(":")[0]))
            weights.append(float(label.partition(":")[2] or 1))
            for field in fields:
                column, _, value = field.partition(":")
                columns.append(int(column))
                values.append(float(value))
        except ValueError:
            raise UserError(f"{source}: row {row} is not libsvm: {line.strip()[:80]!r}") from None
        ends.append(len(values))
    rows = csr_matrix((np.array(values, dtype=np.float32), columns, ends))
    return xgboost.DMatrix(rows, label=labels, weight=weights)


def train(model_format: str) -> None:
    """Train on the channels of the job and write the model. Prints metrics every round."""
    config = base() / "input" / "config"
    booster, run = parameters(given := json.loads((config / "hyperparameters.json").read_text()))
    channels = json.loads((config / "inputdataconfig.json").read_text())
    if "train" not in channels:
        raise UserError(f"Channel 'train' is required (found {sorted(channels)})")
    weights = str(given.get("csv_weights", "0")).strip('"') == "1"
    data = {
        name: load_channel(name, channels[name].get("ContentType", "text/libsvm"), weights=weights)
        for name in ("train", "validation")
        if name in channels
    }
    if "early_stopping_rounds" in run and "validation" not in data:
        raise UserError("early_stopping_rounds requires a validation channel")
    for name, matrix in data.items():
        print(f"XGBoost {xgboost.__version__}: {name} {matrix.num_row()}x{matrix.num_col()}")
    watched = [(matrix, name) for name, matrix in data.items()]
    try:
        model = xgboost.train(booster, data["train"], evals=watched, **run)
    except xgboost.core.XGBoostError as error:
        raise UserError(str(error).strip().splitlines()[0]) from error
    save(model, base() / "model" / MODEL, model_format)


def save(model: xgboost.Booster, path: Path, model_format: str) -> None:
    """Write a model as the image would: pickled (up to 1.2) or in XGBoost's own format."""
    if model_format == "pickle":
        path.write_bytes(pickle.dumps(model))
        return
    path.write_bytes(model.save_raw("ubj"))


def load(folder: Path) -> xgboost.Booster:
    """The model in a folder, in either format.

    Raises:
        UserError: there is no model, or it is invalid.
    """
    path = folder / MODEL
    if not path.is_file():
        found = sorted(entry.name for entry in folder.iterdir())
        raise UserError(f"the model archive does not contain {MODEL} (found {found})")
    content = path.read_bytes()
    if content[:1] == b"\x80":
        model = pickle.loads(content)  # noqa: S301 - in the job's own isolation, as the image does
        if not isinstance(model, xgboost.Booster):
            raise UserError(f"{MODEL} contains a {type(model).__name__}, not a Booster")
        return model
    model = xgboost.Booster()
    try:
        model.load_model(bytearray(content))
    except xgboost.core.XGBoostError as error:
        raise UserError(
            f"{MODEL} is not a valid model: {str(error).strip().splitlines()[0]}"
        ) from error
    return model


def predict(model: xgboost.Booster, payload: bytes, content_type: str) -> list[Any]:
    """One prediction per row, of shape (rows,) or (rows, classes). Rows contain only features.

    Raises:
        UserError: the payload is invalid, or has the wrong number of features.
    """
    kind = content_type.partition(";")[0].strip().lower()
    lines = payload.decode("utf-8-sig").splitlines()
    if kind in CSV:
        rows = xgboost.DMatrix(csv_rows(lines, "the input"))
        if rows.num_col() != model.num_features():
            raise UserError(
                f"the model expects {model.num_features()} features per row, but the input has "
                f"{rows.num_col()}"
            )
    elif kind in LIBSVM:
        rows = libsvm_rows(lines, "the input")
    else:
        known = ", ".join(sorted(CSV | LIBSVM))
        raise UserError(f"unsupported content type {content_type!r} (expected {known})", 415)
    best = model.attr("best_iteration")
    limit = (0, int(best) + 1) if best else (0, 0)
    try:
        predictions = model.predict(rows, iteration_range=limit, validate_features=False)
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise UserError(str(error).strip().splitlines()[0]) from error
    return list(predictions.tolist())


if __name__ == "__main__":
    sys.exit(report(lambda: train(sys.argv[2])))
