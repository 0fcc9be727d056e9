"""Tables and arrays of pandas and numpy as JSON. Neither package needs to be installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

Convert = Callable[[Any], Any]


def is_scalar(value: Any) -> bool:
    """Whether a value is a scalar of numpy, or a missing value of pandas."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    missing = pandas is not None and (value is pandas.NaT or value is pandas.NA)
    return missing or (numpy is not None and isinstance(value, numpy.generic))


def scalar(value: Any) -> Any:
    """The Python value of a scalar; None for a missing one."""
    return value.item() if hasattr(value, "item") else None


def to_json(value: Any, encode: Convert) -> dict[str, Any] | None:
    """A DataFrame, Series or array as JSON with its ``kind``; None for any other value."""
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        found = encode(value.tolist())
        return {"kind": "array", "value": found, "dtype": str(value.dtype)}
    if pandas is None:
        return None
    if isinstance(value, pandas.DataFrame):
        columns = [value.iloc[:, position] for position in range(value.shape[1])]
        return {
            "kind": "frame",
            "columns": _labels(value.columns, encode),
            "index": _labels(value.index, encode),
            "value": [_cells(one, encode) for one in columns],
            "dtypes": [str(one.dtype) for one in columns],
        }
    if isinstance(value, pandas.Series):
        return {
            "kind": "series",
            "name": encode(value.name),
            "index": _labels(value.index, encode),
            "value": _cells(value, encode),
            "dtype": str(value.dtype),
        }
    return None


def from_json(value: Mapping[str, Any], decode: Convert) -> Any:
    """The value of the JSON from :func:`to_json`."""
    if "columns" not in value and "index" not in value:
        import numpy as np

        return np.array(decode(value["value"]), dtype=value["dtype"])
    import pandas as pd

    index = _index(value["index"], decode)
    if "columns" not in value:
        cells = decode(value["value"])
        return pd.Series(cells, index=index, name=decode(value["name"]), dtype=value["dtype"])
    columns = {
        position: pd.Series(decode(cells), index=index, dtype=dtype)
        for position, (cells, dtype) in enumerate(zip(value["value"], value["dtypes"], strict=True))
    }
    frame = pd.DataFrame(columns, index=index)
    frame.columns = _index(value["columns"], decode)
    return frame


def rows(value: Mapping[str, Any]) -> Any:
    """The rows of a table as objects, or the values of a series."""
    if "columns" not in value:
        return value["value"]
    names = [str(one) for one in value["columns"]["value"]]
    return [dict(zip(names, row, strict=True)) for row in zip(*value["value"], strict=True)]


def _cells(series: Any, encode: Convert) -> Any:
    missing = series.isna().tolist()
    found = series.tolist()
    return [None if gone else encode(one) for one, gone in zip(found, missing, strict=True)]


def _labels(index: Any, encode: Convert) -> dict[str, Any]:
    names = [encode(one) for one in index.names]
    many = index.nlevels > 1
    found = [encode(list(one) if many else one) for one in index.tolist()]
    return {"value": found, "names": names, "many": many, "dtype": str(index.dtype)}


def _index(labels: Mapping[str, Any], decode: Convert) -> Any:
    import pandas as pd

    found, names = decode(labels["value"]), decode(labels["names"])
    if labels["many"]:
        return pd.MultiIndex.from_tuples([tuple(one) for one in found], names=names)
    dtype = labels["dtype"] if found or labels["dtype"] != "object" else None
    return pd.Index(found, name=names[0], dtype=dtype)
