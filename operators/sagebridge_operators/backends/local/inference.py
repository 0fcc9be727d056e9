"""Batch inference: input files are split into payloads, as CreateTransformJob describes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sagebridge_operators.backends.local.algorithms.user_errors import UserError

MEGABYTE = 1024 * 1024
SELECTOR = re.compile(r"\$(?:\[(-?\d*):(-?\d*)\]|\[(-?\d+(?:\s*,\s*-?\d+)*)\])?")

Model = Callable[[bytes], bytes]
Row = list[str]


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


def run(
    model: Model, plan: Mapping[str, Any], source: Path, target: Path, log: Callable[[str], None]
) -> None:
    """Process every file of the plan: from ``source`` to one ``.out`` file each in ``target``.

    A file appears in ``target`` only when it is complete.
    """
    model = with_data_processing(model, plan)
    for name, result in plan["files"]:
        parts = [model(payload) for payload in payloads((source / name).read_bytes(), plan)]
        if plan["assemble"] == "Line":
            parts = [part.rstrip(b"\n") + b"\n" for part in parts]
        out = target / result
        out.parent.mkdir(parents=True, exist_ok=True)
        out.with_name(f".{out.name}").write_bytes(b"".join(parts))
        out.with_name(f".{out.name}").replace(out)
        log(f"{name}: {len(parts)} payloads")
