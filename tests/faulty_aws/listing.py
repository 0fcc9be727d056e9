"""Pages of List operations: filters, order and tokens, as SageMaker's List operations have them."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from tests.faulty_aws.protocol import AwsError, Call

_PAGE = 10  # "The default value is 10" (ListTransformJobs, ListExperiments)
_LONGEST_PAGE = 100


def page(
    call: Call, key: str, kind: str, found: Iterable[dict[str, Any]], shown: frozenset[str]
) -> dict[str, Any]:
    """One page of descriptions, newest first by default, as the response to a List call.

    ``kind`` is the prefix of members, such as ``TrainingJob`` in ``TrainingJobName``. Only the
    members ``shown`` are returned. Raises AwsError for a MaxResults or NextToken that is invalid.
    """
    asked = call.members
    size = asked.get("MaxResults", _PAGE)
    if not 1 <= size <= _LONGEST_PAGE:
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{size}' at 'maxResults' failed to satisfy "
            f"constraint: Member must have value less than or equal to {_LONGEST_PAGE}",
        )
    by = asked.get("SortBy", "CreationTime")
    member = by if by.endswith("Time") else f"{kind}{by}"
    listed = [one for one in found if _matches(asked, kind, one)]
    listed.sort(key=lambda one: one[member])
    if asked.get("SortOrder") != "Ascending":
        listed.reverse()
    start = _start(asked.get("NextToken"), kind, listed)
    summaries = [
        {name: value for name, value in one.items() if name in shown}
        for one in listed[start : start + size]
    ]
    answer: dict[str, Any] = {key: summaries}
    if start + size < len(listed):
        last = listed[start + size - 1][f"{kind}Arn"]
        answer["NextToken"] = base64.urlsafe_b64encode(last.encode()).decode()
    return answer


def _matches(asked: dict[str, Any], kind: str, one: dict[str, Any]) -> bool:
    if asked.get("NameContains", "") not in one[f"{kind}Name"]:
        return False
    approval = "ModelApprovalStatus"
    if asked.get(approval, one.get(approval)) != one.get(approval):
        return False
    if asked.get("StatusEquals", one.get(f"{kind}Status")) != one.get(f"{kind}Status"):
        return False
    return all(
        asked.get(f"{name}After", one[name]) <= one[name] <= asked.get(f"{name}Before", one[name])
        for name in ("CreationTime", "LastModifiedTime")
        if name in one
    )


def _start(token: str | None, kind: str, listed: list[dict[str, Any]]) -> int:
    """The position after the resource that ended the page before: later ones may have come."""
    if token is None:
        return 0
    try:
        arns = [one[f"{kind}Arn"] for one in listed]
        return arns.index(base64.urlsafe_b64decode(token).decode()) + 1
    except ValueError:
        raise AwsError("ValidationException", f"Invalid NextToken: {token}") from None
