"""What a translation could not carry: a named value with its place, never a silence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal

Severity = Literal["info", "changed", "dropped"]
"""``info``: said in another way or made anew, so nothing is missing; ``changed``: it means another
thing in the target, or is kept there though we do not know what it means; ``dropped``: the target
does not have it at all. A step type that we know and cannot run yet is no loss."""

AT_THE_END = "act on the end of a run instead, as by SageMaker's EventBridge events"
ON_ITS_OWN = "let it stand on its own; for SageMaker make it a Processing or Lambda step"
"""What to do about what no target has, said for every one."""

CODES = MappingProxyType(
    {
        "asked-value": "what carried code would return; a parameter asks for it",
        "asset": "assets of Airflow, which tell or start other DAGs",
        "auto-deploy": "an AutoML job that deploys its best model",
        "beside-definition": "what AWS keeps beside a definition has no place in it",
        "branch-callable": "a branch that Python decides; parameters ask which way to go",
        "callback": "a function that Airflow calls when a task or run ends",
        "callback-token": "a message that a step sends with a token, to wait for its answer",
        "client-context": "the client context of a Lambda invocation",
        "cluster-name": "an EMR cluster that is looked up by name; a parameter asks for its id",
        "compared-text": "a text that Airflow compares as a number",
        "computed-value": "a value that Python computes at run time; a parameter asks for it",
        "concurrency": "a limit on runs or tasks at a time that a pipeline does not have",
        "connection": "an Airflow Connection; a parameter asks for the value",
        "dependency-trigger": "a dependency that waits for another end than success",
        "duplicate-member": "a member written twice in one object; the last one counts",
        "empty-task": "a task that does nothing; what follows waits for what it waited for",
        "emr-action": "what an EMR cluster does when its step fails",
        "emr-steps": "EMR steps of one task, a step each",
        "endpoint-update": "an endpoint that is updated, as SageMaker does with one that exists",
        "engine-option": "words that only the orchestrator has a use for",
        "exit-code": "an exit code by which Airflow skips a command",
        "failure-handling": "what is done when a task fails: by a try statement, or by fail_fast",
        "filter": "a Jinja filter; a parameter asks for the value",
        "function-name": "a Lambda function named otherwise than by its ARN",
        "group-description": "the description of a model package group",
        "job-name": "the name of a job or model, which SageMaker makes itself",
        "macro": "a value that only Airflow knows of a run; a parameter asks for it",
        "mapped-task": "a task that is mapped at run time",
        "message-attributes": "attributes of an SQS message",
        "never-chosen": "a task to which no way of a branch leads, or only one that is left out",
        "no-wait": "a task that does not wait for its job; the step does",
        "operator": "an operator that is no step type",
        "output": "what a flow prints or logs itself, outside of its tasks",
        "output-file": "a missing output file fails the step that reads it, not only the value",
        "param-rule": "a rule of a Param other than type and enum",
        "param-type": "a Param that is no text, number or boolean, or may be null",
        "parameter": "a parameter that the DAG does not declare; the pipeline does",
        "past-runs": "a run or task that waits for the one before",
        "pipeline-name": "a name that the target does not take",
        "pool": "a pool, which limits tasks over all DAGs",
        "python-task": "a Python function, which is no step of SageMaker's",
        "raised": "an exception that a flow raises; a Fail step says it",
        "retries": "starting a task again after any failure",
        "role": "a role that an operator gives, beside its arguments",
        "role-missing": "a request or template without the role that SageMaker asks for",
        "role-name": "a role by its name, of which Airflow makes an ARN",
        "run-time-argument": "an operator whose arguments are known only when the DAG runs",
        "run-time-code": "code of a flow that needs what is known only when it runs",
        "run-time-loop": "a loop over what is known only when the flow runs",
        "run-time-type": "a question about the type of what is known only when the flow runs",
        "s3-operations": "what Airflow's operator does in S3 before its job",
        "schedule": "a schedule, which a definition does not have",
        "sensor": "a wait for something outside the pipeline",
        "several-branches": "a task on which more than one branch decides",
        "shell-task": "a shell command, which is no step of SageMaker's",
        "step-name": "a task under another name, as step names have no dots and 64 characters",
        "subflow": "a flow that another one calls, its steps in that one's place",
        "task-params": "params of one task, beside those of its DAG",
        "task-state": "the state of a task as it runs",
        "template": "a template that computes; a parameter asks for the value",
        "template-function": "a function or variable of CloudFormation, kept as text",
        "template-rest": "what a CloudFormation template has beside the pipeline",
        "timeout": "a time limit of a task or run",
        "trigger-rule": "a trigger rule other than all_success",
        "truth-value": "a value of unknown type as a test; the condition asks if it equals true",
        "unknown-condition": "a condition that sagebridge keeps but cannot ask",
        "unknown-expression": "a function or variable that sagebridge keeps but cannot resolve",
        "unknown-step-type": "a step type that sagebridge keeps but cannot run",
        "value": "a value that is no JSON; a parameter asks for it",
        "variable": "an Airflow Variable; a parameter asks for the value",
        "xcom": "what a task hands on that a pipeline does not have; a parameter asks for it",
    }
)
"""Every code of a loss, and what it means. Codes are stable: scripts may look for them."""


@dataclass(frozen=True, slots=True)
class Loss:
    """``place`` is a JSON pointer or ``file:line`` in the source; ``advice`` says what to do."""

    code: str
    severity: Severity
    place: str
    what: str
    target: str
    advice: str = ""

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        text = f"{place}{self.severity}: {self.what} [{self.code}]"
        return f"{text}; {self.advice}" if self.advice else text

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def counted(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """The losses that a person has to look at: all but those of severity ``info``."""
    return tuple(loss for loss in losses if loss.severity != "info")
