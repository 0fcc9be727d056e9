"""Write the table of API shapes that `validate` checks arguments against.

``python tools/request_shapes.py`` writes the table. ``--check`` only compares, and exits with 1 if
the table is stale. The source is botocore's service model; run it in ``.venvs/airflow``, which has
the newest botocore. The rows of ``sagebridge.model.step_types`` list the operations.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.session import get_session

from sagebridge.model.step_types import STEP_TYPES

TABLE = Path(__file__).resolve().parent.parent / "adapters/sagebridge/authoring/request_shapes.json"
LIMITS = ("min", "max", "pattern", "enum")


def main(arguments: list[str]) -> int:
    text = table()
    if arguments == ["--check"]:
        fresh = TABLE.is_file() and TABLE.read_text("utf-8") == text
        if not fresh:
            print(f"{TABLE.name} is stale: run tools/request_shapes.py", file=sys.stderr)
        return 0 if fresh else 1
    TABLE.write_text(text, "utf-8")
    return 0


def table() -> str:
    """The table as JSON, one shape per line so that a change of the model is a small diff."""
    shapes: dict[str, dict[str, Any]] = {}
    operations: dict[str, str] = {}
    for row in STEP_TYPES.values():
        for operation in row.requests.values():
            operations[operation] = _add(shapes, operation, "input_shape")
        for operation in row.outputs:
            operations[operation] = _add(shapes, operation, "output_shape")
    lines = [
        f'"botocore":{json.dumps(botocore.__version__)}',
        f'"operations":{_compact(operations)}',
        '"shapes":{\n' + ",\n".join(_lines(shapes)) + "\n}",
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _add(shapes: dict[str, dict[str, Any]], operation: str, side: str) -> str:
    """Add the request or response of an operation with all inner shapes. Returns its name."""
    service, _, path = operation.partition(":")
    name, *members = path.split("/")
    shape = getattr(get_session().get_service_model(service).operation_model(name), side)
    for member in members:
        shape = shape.members[member]
        shape = shape.member if isinstance(shape, ListShape) else shape
    _collect(shapes, service, shape)
    return f"{service}.{shape.name}"


def _collect(shapes: dict[str, dict[str, Any]], service: str, shape: Shape) -> None:
    key = f"{service}.{shape.name}"
    if key in shapes:
        return
    entry: dict[str, Any] = {"type": shape.type_name}
    entry |= {name: shape.metadata[name] for name in LIMITS if name in shape.metadata}
    shapes[key] = entry
    inner: list[Shape] = []
    if isinstance(shape, StructureShape):
        members = shape.members.items()
        entry["members"] = {name: f"{service}.{member.name}" for name, member in members}
        # boto3 and the service generate idempotency tokens.
        tokens = {name for name, member in members if member.metadata.get("idempotencyToken")}
        entry["required"] = [name for name in shape.required_members if name not in tokens]
        inner = [member for _, member in members]
    elif isinstance(shape, ListShape | MapShape):
        item = shape.member if isinstance(shape, ListShape) else shape.value
        entry["of"] = f"{service}.{item.name}"
        inner = [item]
    for one in inner:
        _collect(shapes, service, one)


def _lines(shapes: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name in sorted(shapes):
        yield f"{json.dumps(name)}:{_compact(shapes[name])}"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
