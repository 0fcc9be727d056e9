"""The operator of a call of an AWS API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sagebridge.model.aws_calls import aws_call_arguments
from sagebridge.model.code_steps import AWS_CALL, AwsCallStep
from sagebridge.model.values import Value
from sagebridge_operators.airflow.step_operators import StepOperator


class AwsCallOperator(StepOperator):
    """Calls an AWS API, and can wait for what the call starts.

    Args:
        service: boto3's name of the service, such as ``glue``.
        operation: the API's name of the operation, such as ``StartJobRun``. Without one the step
            only waits.
        request: the request, by the API's names. It may contain ``parameter("X")``,
            ``other.properties.return_value`` and other expressions.
        before: calls that are made first.
        ignore: error codes that count as success.
        result: a JMESPath expression on the answer: the step's ``return_value``.
        fails: an expression on the answer; if it is not empty, it is the reason of a failure.
        wait: the call that is repeated until its ``status`` is one of ``success`` or ``failure``.
        stop: the call that stops what was started, when the task is killed.

    Other arguments are those of :class:`StepOperator`. Raises TypeError for an incomplete call.
    docs/aws-calls.md describes all keys.
    """

    step_type = AWS_CALL

    def __init__(
        self,
        *,
        service: str,
        operation: str = "",
        request: Mapping[str, Value] | None = None,
        before: Sequence[Mapping[str, Value]] = (),
        ignore: Sequence[str] = (),
        result: str = "",
        fails: str = "",
        wait: Mapping[str, Value] | None = None,
        stop: Mapping[str, Value] | None = None,
        **kwargs: Any,
    ) -> None:
        arguments = aws_call_arguments(
            service,
            operation,
            request=request,
            before=before,
            ignore=ignore,
            result=result,
            fails=fails,
            wait=wait,
            stop=stop,
        )
        super().__init__(arguments=arguments, **kwargs)
        self._step = AwsCallStep.of(self._step)
