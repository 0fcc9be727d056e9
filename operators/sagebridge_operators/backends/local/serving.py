"""The program of a model's container: ``python -m ... serving DESCRIPTOR PROGRAM CODE``.

Loads the model in the private /opt/ml and answers the requests that arrive on an inherited socket,
one after another, as the HTTP server of a SageMaker image does. A request is a JSON object with
``content_type``, ``accept`` and, for a container with several models, the folder ``model``; then
the payload. The answer is a JSON object with ``status`` and ``content_type``, then the body.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

from sagebridge_operators.backends.local.algorithms.user_errors import UserError, base, report

Answer = tuple[int, str, bytes]
"""HTTP status, content type and body."""
Model = Callable[[bytes, str, str], Answer]
"""Answers a payload, with its content type and the accepted one (empty: the default)."""
UNSUPPORTED_CONTENT, UNSUPPORTED_ACCEPT = 415, 406
XGBOOST_ACCEPTS = ("text/csv", "application/json", "application/jsonlines")


def xgboost_model(folder: Path) -> Model:
    """The built-in XGBoost algorithm: one prediction per record, one line each in batches.

    Statuses and formats follow algorithm_mode/serve.py in aws/sagemaker-xgboost-container.
    """
    from sagebridge_operators.backends.local.algorithms import xgboost

    booster = xgboost.load(folder)
    in_batch = bool(os.environ.get("SAGEMAKER_BATCH"))

    def answer(payload: bytes, content_type: str, accept: str) -> Answer:
        accept = accept or "text/csv"
        if not payload:
            return 204, accept, b""
        if accept not in XGBOOST_ACCEPTS:
            raise UserError(
                f"Accept {accept!r} is not supported by xgboost (expected text/csv or JSON)",
                UNSUPPORTED_ACCEPT,
            )
        predictions = xgboost.predict(booster, payload, content_type or "text/csv")
        if accept == "application/json":
            text = json.dumps({"predictions": [{"score": one} for one in predictions]})
        elif accept == "application/jsonlines":
            text = "".join(json.dumps({"score": one}) + "\n" for one in predictions)
        elif in_batch:
            text = "".join(f"{one}\n" for one in predictions)
        else:
            text = ",".join(map(str, predictions))
        return 200, accept, text.encode()

    return answer


@cache
def _script(path: Path) -> ModuleType:
    sys.path.insert(0, str(path.parent))
    sys.path.append(str(Path(__file__).with_name("image_modules")))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"SAGEMAKER_PROGRAM {path.name} is not a Python script")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    if not hasattr(script, "model_fn"):
        raise UserError(f"{path.name} has no model_fn")
    return script


def script_model(path: Path, folder: Path) -> Model:
    """A user script with model_fn and either transform_fn or input_fn, predict_fn, output_fn."""
    script = _script(path)
    model = script.model_fn(str(folder))
    transform = getattr(script, "transform_fn", None)
    read = getattr(script, "input_fn", _default_input)
    predict = getattr(script, "predict_fn", _default_predict)
    write = getattr(script, "output_fn", _default_output)

    def answer(payload: bytes, content_type: str, accept: str) -> Answer:
        content_type, accept = content_type or "application/json", accept or "application/json"
        text = content_type.startswith(("text/", "application/json"))
        body = payload.decode() if text else payload
        if transform:
            result = transform(model, body, content_type, accept)
        else:
            result = write(predict(read(body, content_type), model), accept)
        if isinstance(result, tuple):
            result, accept = (*result, accept)[:2]
        return 200, accept, result if isinstance(result, bytes) else str(result).encode()

    return answer


def _default_input(body: str | bytes, content_type: str) -> Any:
    import numpy as np

    if content_type == "text/csv" and isinstance(body, str):
        return np.loadtxt(body.splitlines(), delimiter=",", ndmin=2)
    if content_type == "application/json":
        return np.array(json.loads(body))
    raise UserError(f"no input_fn for content type {content_type!r}", UNSUPPORTED_CONTENT)


def _default_predict(data: Any, model: Any) -> Any:
    if type(model).__module__ == "xgboost.core":  # a Booster takes only a DMatrix
        import xgboost

        data = data if isinstance(data, xgboost.DMatrix) else xgboost.DMatrix(data)
    return model.predict(data)


def _default_output(prediction: Any, accept: str) -> str:
    import numpy as np

    rows = np.asarray(prediction).tolist()
    if accept == "application/json":
        return json.dumps(rows)
    if accept == "text/csv":
        lists = (row if isinstance(row, list) else [row] for row in rows)
        return "".join(",".join(map(str, row)) + "\n" for row in lists)
    raise UserError(f"no output_fn for Accept {accept!r}", UNSUPPORTED_ACCEPT)


def answered(model: Callable[[], Model], payload: bytes, content_type: str, accept: str) -> Answer:
    """The answer of a model, also if it raises: 500 and the error, whose traceback is logged."""
    if accept.partition(";")[0].strip() in ("", "*/*"):
        accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "")
    try:
        return model()(payload, content_type, accept)
    except UserError as error:
        return error.status, "text/plain", str(error).encode()
    except Exception as error:  # noqa: BLE001 - from the script of the model
        traceback.print_exc()
        return 500, "text/plain", f"{type(error).__name__}: {error}".encode()


def serve(connection: Connection, program: str, code: str) -> None:
    """Answer requests until the other side closes the connection.

    ``code`` is the folder of the script ``program`` in /opt/ml, or empty if each model has its own
    in its folder ``code``. Without ``program`` the models are those of the XGBoost algorithm.
    """

    @cache
    def model(folder: str) -> Model:
        path = base() / folder
        if not program:
            return xgboost_model(path)
        return script_model((base() / code if code else path / "code") / program, path)

    if (base() / "model").is_dir():  # otherwise each request names its model
        model("model")
    connection.send_bytes(b"ready")
    while True:
        try:
            request, payload = json.loads(connection.recv_bytes()), connection.recv_bytes()
        except EOFError:
            return
        wanted = partial(model, request["model"] or "model")
        status, kind, body = answered(wanted, payload, request["content_type"], request["accept"])
        connection.send_bytes(json.dumps({"status": status, "content_type": kind}).encode())
        connection.send_bytes(body)


def main(descriptor: str, program: str, code: str) -> int:
    os.set_inheritable(int(descriptor), False)
    return report(lambda: serve(Connection(int(descriptor)), program, code))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
