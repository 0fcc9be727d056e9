"""Filters, order and pages of the SageMaker List operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sagebridge_operators.backends.local.api import ApiError

Body = Mapping[str, Any]

_BOUNDS = {
    f"{time}{side}": (time, sign)
    for time in ("CreationTime", "LastModifiedTime")
    for side, sign in (("After", 1), ("Before", -1))
}
_PAGE = 10
_LARGEST_PAGE = 100


def page(
    bodies: Iterable[Body],
    request: Body,
    *,
    fields: tuple[str, ...],
    into: str,
    name: str,
    status: str = "",
    descending: bool = False,
) -> dict[str, Any]:
    """One page of a List response.

    The list ``into`` contains these ``fields`` of each body. ``name`` and ``status`` are the fields
    for NameContains, StatusEquals and SortBy; ``descending`` is the default order.

    Raises:
        ApiError: ValidationException for an invalid NextToken.
    """
    found = sorted(
        (body for body in bodies if _matches(body, request, name, status)),
        key=lambda body: _order(body, request.get("SortBy", "CreationTime"), name, status),
        reverse=request.get("SortOrder", "Descending" if descending else "Ascending")
        == "Descending",
    )
    token = str(request.get("NextToken", "0"))
    if not token.isdecimal():
        raise ApiError("ValidationException", f"Invalid pagination token: {token}")
    start = int(token)
    end = start + min(int(request.get("MaxResults", _PAGE)), _LARGEST_PAGE)
    shown = [{key: body[key] for key in fields if key in body} for body in found[start:end]]
    return {into: shown} | ({"NextToken": str(end)} if end < len(found) else {})


def _matches(body: Body, request: Body, name: str, status: str) -> bool:
    if str(request.get("NameContains", "")).lower() not in str(body[name]).lower():
        return False
    if "StatusEquals" in request and body[status] != request["StatusEquals"]:
        return False
    return all(
        sign * (body.get(time, body["CreationTime"]) - request[bound]) > 0
        for bound, (time, sign) in _BOUNDS.items()
        if bound in request
    )


def _order(body: Body, by: str, name: str, status: str) -> tuple[Any, float]:
    return body[{"Name": name, "Status": status}.get(by, by)], body["CreationTime"]
