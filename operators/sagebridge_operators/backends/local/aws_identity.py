"""STS and IAM on this machine: the role of the caller, as AWS's Query protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

from sagebridge_operators.backends.local.api import Answer, ApiError, Request
from sagebridge_operators.backends.local.xml_answers import xml_answer

STS, IAM = "https://sts.amazonaws.com/doc/2011-06-15/", "https://iam.amazonaws.com/doc/2010-05-08/"
SESSION = "SageMaker"
"""The session name with which SageMaker assumes the role of a job."""
_ROLE = re.compile(
    r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):role(?P<path>/(?:.+/)?)(?P<name>[^/]+)"
)
_ROLE_ID = "AROASAGEBRIDGELOCAL00"
_CREATED = "2017-11-29T00:00:00Z"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


class Identity:
    """The operations of STS or IAM about the caller, whose role is ``role``."""

    def __init__(self, namespace: str, role: str) -> None:
        found = _ROLE.fullmatch(role)
        if not found:
            raise ValueError(f"not the ARN of a role: {role}")
        self._namespace, self._role, self._found = namespace, role, found
        self._operations: dict[str, Callable[[Mapping[str, str]], Mapping[str, Any]]] = (
            {"GetCallerIdentity": self._get_caller_identity}
            if namespace == STS
            else {"GetRole": self._get_role}
        )

    def answer(self, request: Request) -> Answer:
        """The response to an HTTP request with the operation in its form."""
        form = dict(parse_qsl(request.body.read().decode()))
        operation = form.get("Action", request.query.get("Action", ""))
        try:
            if operation not in self._operations:
                known = ", ".join(self._operations)
                raise ApiError(
                    "InvalidAction",
                    f"the local backend does not support {operation} (it supports {known})",
                )
            result = self._operations[operation](form)
        except ApiError as error:
            return query_error(error)
        content = {f"{operation}Result": result, "ResponseMetadata": {"RequestId": "local"}}
        return xml_answer(f"{operation}Response", content, self._namespace)

    def _get_caller_identity(self, form: Mapping[str, str]) -> Mapping[str, Any]:
        del form
        account, name = self._found["account"], self._found["name"]
        return {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/{SESSION}",
            "UserId": f"{_ROLE_ID}:{SESSION}",
            "Account": account,
        }

    def _get_role(self, form: Mapping[str, str]) -> Mapping[str, Any]:
        name = form.get("RoleName", self._found["name"])
        if name != self._found["name"]:
            raise ApiError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
        role = {
            "Path": self._found["path"],
            "RoleName": name,
            "RoleId": _ROLE_ID,
            "Arn": self._role,
            "CreateDate": _CREATED,
            "AssumeRolePolicyDocument": quote(json.dumps(_TRUST)),
        }
        return {"Role": role}


def is_role(arn: object) -> bool:
    """Whether this is the ARN of a role."""
    return isinstance(arn, str) and _ROLE.fullmatch(arn) is not None


def query_error(error: ApiError) -> Answer:
    """An error of the Query protocol."""
    found = {"Type": "Sender", "Code": error.code, "Message": error.message}
    content = {"Error": found, "RequestId": "local"}
    return xml_answer("ErrorResponse", content, status=error.status)
