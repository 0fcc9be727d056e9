"""How many jobs lived at the same time, from the log of requests."""

from __future__ import annotations

from tests.faulty_aws.control import AwsControl


def most_live(aws: AwsControl, seconds: float) -> int:
    """The most training jobs at a time, if each took ``seconds`` (see JobScript)."""
    starts = [one.time for one in aws.requests("CreateTrainingJob") if one.done]
    return max(sum(start <= moment < start + seconds for start in starts) for moment in starts)
