"""A flow file with Python and shell steps, which both engines run."""

from __future__ import annotations

from typing import Any

FLOW = '''"""Rows of a bucket."""

from prefect import flow
from sagebridge_operators.prefect import (
    condition,
    finish,
    greater_than,
    join,
    model,
    parameter,
    python,
    shell,
    stop_jobs,
)


def prepare(bucket, rows=10):
    import json  # as it was

    print(f"preparing {rows} rows")
    return {"path": f"s3://{bucket}/data", "rows": json.loads(str(rows))}


def enough(rows):
    if rows < 5:
        raise ValueError(f"{rows} rows are too few")
    return rows


@flow(name="NAME", on_cancellation=[stop_jobs])
def code(bucket: str = "b", rows: int = 10) -> object:
    prep = python("prep", prepare, args=[parameter("bucket")], kwargs={"rows": parameter("rows")})
    path = prep.properties.return_value["path"]
    checked = python("checked", enough, args=[prep.properties.return_value["rows"]])
    many = condition("many", conditions=[greater_than(checked.properties.return_value, 100)])
    with many.met():
        shell("report", "echo many")
    with many.unmet():
        few = shell("few", 'echo "few: $WHERE"', env={"WHERE": join("", path, "/{{ x }}")})
    model(
        "model",
        arguments={
            "ExecutionRoleArn": "arn:aws:iam::111122223333:role/r",
            "PrimaryContainer": {"Image": "i", "ModelDataUrl": path},
        },
    )
    python("last", prepare, args=[few.properties.return_value], depends_on=[checked])
    return finish()
'''
PATH = "s3://b/data"
VALUES: dict[str, Any] = {
    "prep": {"path": PATH, "rows": 10},
    "checked": 10,
    "few": f"few: {PATH}/{{{{ x }}}}",
    "last": {"path": f"s3://few: {PATH}/{{{{ x }}}}/data", "rows": 10},
}
"""The return values of the Python and shell steps with default parameters."""
STATES = {
    10: {"report": "Skipped"},
    200: {"few": "Skipped", "last": "Skipped"},
    1: dict.fromkeys(("checked",), "Failed")
    | dict.fromkeys(("many", "report", "few", "last"), "NotRun"),
}
"""The states of the steps that do not succeed, by number of rows."""
REASON = "ValueError: 1 rows are too few"
