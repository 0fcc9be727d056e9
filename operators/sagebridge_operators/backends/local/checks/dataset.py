"""The dataset of a check: a table whose values are strings, as in a CSV file, or missing."""

from __future__ import annotations

import inspect
import json
import logging
import runpy
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sagebridge_operators.backends.local.algorithms.user_errors import UserError, data_files


def read_dataset(
    folder: Path, kind: str, *, header: bool = True, lines: bool = True, preprocessor: str = ""
) -> pd.DataFrame:
    """The rows of all files in a folder, in the order of their names.

    Args:
        folder: the folder, or one file.
        kind: ``csv``, ``json`` or ``parquet``.
        header: whether CSV files start with the names of the columns; default names: ``_c0``, ...
        lines: whether JSON files have one record per line.
        preprocessor: a script whose ``preprocess_handler`` returns the records of a CSV line.

    Raises:
        UserError: there are no rows, or they do not have this format.
    """
    if not (files := data_files(folder)):
        raise UserError(f"the dataset in {folder} has no rows")
    if kind not in ("csv", "json", "parquet"):
        raise UserError(f"the dataset format {kind!r} is not supported (csv, json or parquet)")
    table: pd.DataFrame
    try:
        if preprocessor:
            table = _preprocessed(files, kind, preprocessor)
        elif kind == "csv":
            table = _csv(files, header=header)
        elif kind == "json":
            table = records(_json(files, lines=lines))
        else:
            table = pd.concat([pd.read_parquet(file) for file in files]).astype(object).map(_text)
    except ImportError:  # pandas reads Parquet with pyarrow or fastparquet
        raise UserError(
            "Parquet needs the package pyarrow; install it in this environment"
        ) from None
    except ValueError as error:  # also pandas' ParserError and EmptyDataError
        raise UserError(f"the dataset in {folder} is not {kind}: {error}") from None
    if table.empty:
        raise UserError(f"the dataset in {folder} has no rows")
    table = table.reset_index(drop=True)
    return table


def _csv(files: Iterable[Path], *, header: bool) -> pd.DataFrame:
    # As Spark reads CSV: only an empty field is missing, "NA" is a string.
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": [""]}
    first = 0 if header else None
    tables = [pd.read_csv(file, header=first, index_col=False, **options) for file in files]
    table: pd.DataFrame = pd.concat(tables)
    return table if header else table.add_prefix("_c")


def _json(files: Iterable[Path], *, lines: bool) -> list[Any]:
    found: list[Any] = []
    for file in files:
        text = file.read_text(encoding="utf-8-sig")
        for part in text.split("\n") if lines else [text]:
            # Numbers remain strings: 1 and 1.0 are values of different types.
            one = json.loads(part, parse_int=str, parse_float=str) if part.strip() else []
            found += one if isinstance(one, list) else [one]
    return found


def records(found: Sequence[Any]) -> pd.DataFrame:
    """A table of JSON objects; the names of nested members are joined with dots."""
    if others := [one for one in found if not isinstance(one, Mapping)]:
        raise ValueError(f"expected JSON objects, found {others[0]!r}")
    table: pd.DataFrame = pd.json_normalize(list(found)).astype(object).map(_text)
    return table


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(value)
    return None if pd.isna(value) else str(value)


def _preprocessed(files: Iterable[Path], kind: str, script: str) -> pd.DataFrame:
    if kind != "csv":
        raise UserError(f"record_preprocessor_script: supported only for csv, not for {kind}")
    handle = handler(script, "preprocess_handler")
    found: list[Any] = []
    for file in files:
        for line in file.read_text(encoding="utf-8-sig").rstrip("\n").split("\n"):
            one = handle(line) or []
            found += one if isinstance(one, list) else [one]
    return records(found)


def handler(script: str, name: str) -> Callable[..., Any]:
    """A function of your script, with a logger if it takes one. Raises UserError."""
    found = runpy.run_path(script).get(name)
    if not callable(found):
        raise UserError(f"{Path(script).name} has no function {name}")
    more = [logging.getLogger(name)] if "logger" in inspect.signature(found).parameters else []
    return lambda *arguments: found(*arguments, *more)


def column(table: pd.DataFrame, name: object) -> pd.Series[Any]:
    """The column with a name, a JSONPath such as ``$.name``, or an index. Raises UserError."""
    key = str(name).removeprefix("$.")
    if key in table:
        return table[key]
    if key.isdecimal() and int(key) < len(table.columns):
        return table.iloc[:, int(key)]
    raise UserError(f"the dataset has no column {name!r}; it has {', '.join(map(str, table))}")


def label(value: object) -> str:
    """A label as a string; 1, 1.0 and "1" are the same one."""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text
    return str(int(number)) if number.is_integer() else text


def read_document(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file. Raises UserError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path.name} cannot be read as JSON: {error}") from None
    if not isinstance(found, Mapping):
        raise UserError(f"{path.name}: expected a JSON object")
    return found


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
