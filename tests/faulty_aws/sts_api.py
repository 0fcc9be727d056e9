"""STS GetCallerIdentity and AssumeRole."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tests.faulty_aws.protocol import ACCOUNT, Answer, AwsError, Call, xml_answer

_NAMESPACE = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'


def key_of_role(arn: str) -> str:
    """The access key of the credentials for a role, which shows in the log of requests."""
    return "ASIA" + re.sub(r"\W", "", arn.rpartition("/")[2]).upper()


def answer_sts(call: Call) -> Answer:
    """Raises AwsError."""
    if call.operation == "AssumeRole":
        return _assume_role(call.members["RoleArn"])
    if call.operation != "GetCallerIdentity":
        raise AwsError("InvalidAction", f"The fake STS does not have {call.operation}.")
    user = f"arn:aws:iam::{ACCOUNT}:user/{call.access_key}"
    identity = f"<Arn>{user}</Arn><UserId>{call.access_key}</UserId><Account>{ACCOUNT}</Account>"
    return xml_answer(
        f"<GetCallerIdentityResponse {_NAMESPACE}>"
        f"<GetCallerIdentityResult>{identity}</GetCallerIdentityResult>"
        "<ResponseMetadata><RequestId>FAULTYAWS</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )


def _assume_role(arn: str) -> Answer:
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    credentials = (
        f"<AccessKeyId>{key_of_role(arn)}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>"
        f"<SessionToken>token</SessionToken><Expiration>{until}</Expiration>"
    )
    return xml_answer(
        f"<AssumeRoleResponse {_NAMESPACE}>"
        f"<AssumeRoleResult><Credentials>{credentials}</Credentials></AssumeRoleResult>"
        "<ResponseMetadata><RequestId>FAULTYAWS</RequestId></ResponseMetadata>"
        "</AssumeRoleResponse>"
    )
