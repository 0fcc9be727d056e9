"""STS GetCallerIdentity."""

from __future__ import annotations

from tests.faulty_aws.protocol import ACCOUNT, Answer, AwsError, Call, xml_answer

_NAMESPACE = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'


def answer_sts(call: Call) -> Answer:
    """Raises AwsError."""
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
