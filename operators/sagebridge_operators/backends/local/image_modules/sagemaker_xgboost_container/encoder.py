"""Reads requests, as src/sagemaker_xgboost_container/encoder.py of the XGBoost image does."""

from __future__ import annotations

import xgboost

from sagebridge_operators.backends.local.algorithms.xgboost import csv_rows, libsvm_rows


def csv_to_dmatrix(string_like: str | bytes, dtype: object = None) -> xgboost.DMatrix:
    """The rows of a CSV request. Numbers are always float32, as in a DMatrix."""
    return xgboost.DMatrix(csv_rows(_lines(string_like), "the input"))


def libsvm_to_dmatrix(string_like: str | bytes) -> xgboost.DMatrix:
    """The rows of a libsvm request."""
    return libsvm_rows(_lines(string_like), "the input")


def _lines(text: str | bytes) -> list[str]:
    return (text.decode() if isinstance(text, bytes) else text).splitlines()
