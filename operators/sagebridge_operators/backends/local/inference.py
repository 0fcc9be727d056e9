"""Batch inference inside a transform job: ``python -m ... inference``, with a private /opt/ml.

Reads the plan from ``transform_job``, loads the model once, splits each input file into payloads
as CreateTransformJob describes, and writes one ``.out`` file per input file.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sagebridge_operators.backends.local.algorithms.user_errors import UserError, base, report

PLAN = "input/config/transform.json"
MEGABYTE = 1024 * 1024
SELECTOR = re.compile(r"\$(?:\[(-?\d*):(-?\d*)\]|\[(-?\d+(?:\s*,\s*-?\d+)*)\])?")

Model = Callable[[bytes], bytes]
Row = list[str]


def xgboost_model(content_type: str, accept: str) -> Model:
    """The predictions of the built-in XGBoost algorithm, one per record."""
    from sagebridge_operators.backends.local.algorithms import xgboost

    booster = xgboost.load(base() / "model")

    def answer(payload: bytes) -> bytes:
        predictions = xgboost.predict(booster, payload, content_type)
        if accept == "application/json":
            return json.dumps({"predictions": [{"score": one} for one in predictions]}).encode()
        if accept == "application/jsonlines":
            return "".join(json.dumps({"score": one}) + "\n" for one in predictions).encode()
        if accept == "text/csv":
            return "".join(f"{one}\n" for one in predictions).encode()
        raise UserError(
            f"Accept {accept!r} is not supported by xgboost (expected text/csv or JSON)"
        )

    return answer


def script_model(folder: Path, program: str, content_type: str, accept: str) -> Model:
    """A user script with model_fn and either transform_fn or input_fn, predict_fn, output_fn."""
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(Path(program).stem, folder / program)
    if spec is None or spec.loader is None:
        raise UserError(f"SAGEMAKER_PROGRAM {program} is not a Python script")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    if not hasattr(script, "model_fn"):
        raise UserError(f"{program} has no model_fn")
    model = script.model_fn(str(base() / "model"))
    transform = getattr(script, "transform_fn", None)
    read = getattr(script, "input_fn", _default_input)
    predict = getattr(script, "predict_fn", lambda data, model: model.predict(data))
    write = getattr(script, "output_fn", _default_output)

    def answer(payload: bytes) -> bytes:
        text = content_type.startswith(("text/", "application/json"))
        body = payload.decode() if text else payload
        if transform:
            result = transform(model, body, content_type, accept)
        else:
            result = write(predict(read(body, content_type), model), accept)
        result = result[0] if isinstance(result, tuple) else result
        return result if isinstance(result, bytes) else str(result).encode()

    return answer


def _default_input(body: str | bytes, content_type: str) -> Any:
    import numpy as np

    if content_type == "text/csv" and isinstance(body, str):
        return np.loadtxt(body.splitlines(), delimiter=",", ndmin=2)
    if content_type == "application/json":
        return np.array(json.loads(body))
    raise UserError(f"no input_fn for content type {content_type!r}")


def _default_output(prediction: Any, accept: str) -> str:
    import numpy as np

    rows = np.asarray(prediction).tolist()
    if accept == "application/json":
        return json.dumps(rows)
    if accept == "text/csv":
        lists = (row if isinstance(row, list) else [row] for row in rows)
        return "".join(",".join(map(str, row)) + "\n" for row in lists)
    raise UserError(f"no output_fn for Accept {accept!r}")


def payloads(content: bytes, plan: Mapping[str, Any]) -> Iterator[bytes]:
    """Payloads of at most MaxPayloadInMB (0: no limit).

    Raises:
        UserError: a single record is over the limit.
    """
    limit = plan["max_payload"] * MEGABYTE or sys.maxsize
    records = [content]
    if plan["split"] == "Line":
        records = [line for line in content.splitlines(keepends=True) if line.strip()]
    batch: list[bytes] = []
    size = 0
    for record in records:
        if len(record) > limit:
            hint = (
                "" if plan["split"] == "Line" else "; SplitType Line sends it in several payloads"
            )
            raise UserError(
                f"a payload of {len(record)} bytes is over MaxPayloadInMB "
                f"({plan['max_payload']}){hint}"
            )
        if batch and (plan["batch"] == "SingleRecord" or size + len(record) > limit):
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(record)
        size += len(record)
    if batch:
        yield b"".join(batch)


def selector(path: str) -> Callable[[Row], Row]:
    """Select fields of a CSV row by a JSONPath of DataProcessing.

    Raises:
        UserError: JSONPath syntax that has no meaning for CSV rows.
    """
    found = SELECTOR.fullmatch(path.strip())
    if not found:
        raise UserError(f"filter {path!r} is not supported (expected $, $[i], $[i,j] or $[i:j])")
    first, last, chosen = found.groups()
    if chosen is not None:
        indexes = [int(index) for index in chosen.split(",")]
        return lambda row: [row[index] for index in indexes]
    if first is None:
        return lambda row: row
    part = slice(int(first) if first else None, int(last) if last else None)
    return lambda row: row[part]


def with_data_processing(model: Model, plan: Mapping[str, Any]) -> Model:
    """The model with the InputFilter, JoinSource and OutputFilter of DataProcessing."""
    steps = plan["processing"]
    filters = [steps.get(name, "$") for name in ("InputFilter", "OutputFilter")]
    join = steps.get("JoinSource", "None") == "Input"
    if filters == ["$", "$"] and not join:
        return model
    if (plan["content_type"], plan["accept"]) != ("text/csv", "text/csv"):
        raise UserError("DataProcessing: the local backend supports only text/csv")
    keep, finish = map(selector, filters)

    def answer(payload: bytes) -> bytes:
        rows = _rows(payload)
        try:
            results = _rows(model(_csv([keep(row) for row in rows])))
            if join and len(results) != len(rows):
                raise UserError(f"JoinSource: {len(results)} results for {len(rows)} records")
            if join:
                results = [row + result for row, result in zip(rows, results, strict=True)]
            return _csv([finish(row) for row in results])
        except IndexError:
            raise UserError(f"a row has too few fields for the filters {filters}") from None

    return answer


def _rows(content: bytes) -> list[Row]:
    return [line.split(",") for line in content.decode("utf-8-sig").splitlines() if line.strip()]


def _csv(rows: Sequence[Row]) -> bytes:
    return "".join(",".join(row) + "\n" for row in rows).encode()


def run(plan: Mapping[str, Any]) -> None:
    """Process every file of the plan. A file appears in output/data only when it is complete."""
    if plan["program"]:
        folder = base() / plan["code"]
        model = script_model(folder, plan["program"], plan["content_type"], plan["accept"])
    else:
        model = xgboost_model(plan["content_type"], plan["accept"])
    model = with_data_processing(model, plan)
    for source, target in plan["files"]:
        content = (base() / "input/data" / source).read_bytes()
        parts = [model(payload) for payload in payloads(content, plan)]
        if plan["assemble"] == "Line":
            parts = [part.rstrip(b"\n") + b"\n" for part in parts]
        out = base() / "output/data" / target
        out.parent.mkdir(parents=True, exist_ok=True)
        out.with_name(f".{out.name}").write_bytes(b"".join(parts))
        out.with_name(f".{out.name}").replace(out)
        print(f"{source}: {len(parts)} payloads", flush=True)


if __name__ == "__main__":
    sys.exit(report(lambda: run(json.loads((base() / PLAN).read_text()))))
