"""Losses: things that a translation could not carry, with code, location and advice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Literal

Severity = Literal["info", "changed", "dropped"]
"""``info``: expressed differently or created again, nothing is missing. ``changed``: it has another
meaning in the target, or it is unknown to sagebridge and kept unchanged. ``dropped``: the target
does not have it. A known step type that cannot run yet is not a loss."""

AT_THE_END = "react to the end of an execution"
ON_ITS_OWN = "make it self-contained"
LIMIT_STEPS = "limit the number of parallel steps"
NO_STEP_TYPE = "do its work in another step, or outside the pipeline"
OWN_SCHEDULE = "schedule the translated pipeline itself"
OWN_TRIGGER = "start the translated pipeline yourself when that happens"
RETRY_RULES = "decide in the translated pipeline which failures are repeated"
TIME_LIMIT = "limit the time of the job or step"
LEFT_RUNNING = "let it run"
MISSED_SLOTS = "start the execution of a missed slot yourself"
EMPTY_IN_FLOWS = "keep it in a Variable"
POOL = "use a pool"
SHARED_DISK = "use a disk or bucket that all workers share"
ADVICE = MappingProxyType(
    {
        AT_THE_END: {
            "sagemaker": f"{AT_THE_END}, for example with SageMaker's EventBridge events",
            "airflow": "in the translated DAG, set on_failure_callback or on_success_callback",
            "prefect": "in the translated flow, set on_failure or on_completion hooks",
        },
        ON_ITS_OWN: {
            "sagemaker": "use a Processing or Lambda step",
            "airflow": "change this task, or add its step to the translated DAG by hand",
            "prefect": "change this task, or add its step to the translated flow by hand",
        },
        LIMIT_STEPS: {
            "sagemaker": f"{LIMIT_STEPS} with ParallelismConfiguration",
            "airflow": f"{LIMIT_STEPS} with max_active_tasks of the DAG",
            "prefect": f"{LIMIT_STEPS} with ThreadPoolTaskRunner(max_workers=...)",
        },
        NO_STEP_TYPE: {
            "sagemaker": "do its work in a Lambda or Processing step, or outside the pipeline",
            "airflow": "add it to the translated DAG by hand, or do its work in a step",
            "prefect": "do its work in a python(), shell() or other step of the translated flow",
        },
        OWN_SCHEDULE: {
            "sagemaker": f"{OWN_SCHEDULE}, with EventBridge Scheduler",
            "airflow": "set schedule in the translated DAG",
            "prefect": "add a schedule to the deployment of the translated flow",
        },
        OWN_TRIGGER: {
            "sagemaker": "add an event trigger, for example with pipeline_ended()",
            "airflow": "schedule the translated DAG on an asset, or start it from another DAG",
            "prefect": "add a trigger to the deployment, for example for the end of another flow",
        },
        RETRY_RULES: {
            "sagemaker": "add retry policies to the step",
            "airflow": "in the translated DAG, end the retries in the code of the task",
            "prefect": "add a task with retry_condition_fn to the translated flow by hand",
        },
        TIME_LIMIT: {
            "sagemaker": "limit the job itself, for example with StoppingCondition",
            "airflow": "set execution_timeout, or a limit in the request such as StoppingCondition",
            "prefect": "set timeout_seconds, or a limit in the request such as StoppingCondition",
        },
        LEFT_RUNNING: dict.fromkeys(("airflow", "prefect"), "to let it run, remove stop= from it"),
        MISSED_SLOTS: {"sagemaker": MISSED_SLOTS},
        EMPTY_IN_FLOWS: {"prefect": EMPTY_IN_FLOWS},
        POOL: {"airflow": "a pool limits whole tasks: give the limited calls a separate task"},
        SHARED_DISK: {"airflow": SHARED_DISK},
    }
)
"""Advice that depends on the target. Readers do not know it: they use the keys of this table.

A loss with an advice that a target does not have is not a loss there.
"""

CODES = MappingProxyType(
    {
        "asked-value": "the result of a code step; it becomes a parameter",
        "asset": "Airflow assets, which inform or trigger other DAGs",
        "auto-deploy": "an AutoML job that deploys its best model",
        "aws-call": "a call of an AWS API; for SageMaker, any such call",
        "aws-connection": "the account, region or client settings with which a step calls AWS",
        "beside-definition": "a setting that AWS keeps outside the pipeline definition",
        "block": "a Prefect block, which only a Prefect server has",
        "branch-callable": "a branch decided by a Python function; parameters select the branch",
        "cache": "results of earlier runs, with which Prefect skips a task",
        "callback": "a function that Airflow calls when a task or run ends",
        "callback-answer": "a Callback step; its consumers answer to a queue instead of SageMaker",
        "cluster-name": "an EMR cluster found by its name; its id becomes a parameter",
        "compared-text": "a string that Airflow compares as a number",
        "computed-value": "a value computed by Python at run time; it becomes a parameter",
        "concurrency": "a limit on concurrent runs or tasks",
        "connection": "an Airflow Connection; the value becomes a parameter",
        "dependency-trigger": "a dependency with an unknown trigger",
        "deployment": "a Prefect deployment; its parameters, triggers or other settings",
        "duplicate-member": "a key written twice in one object; the last one counts",
        "empty-task": "a task that does nothing; its dependants depend on its dependencies",
        "emr-action": "the action of an EMR cluster when its step fails",
        "emr-steps": "several EMR steps in one task; each becomes a step",
        "endpoint-update": "an update of an endpoint; SageMaker updates an existing endpoint",
        "engine-option": "an option that only the orchestrator uses",
        "event-queue": "an event trigger without the SQS queue in which an engine finds its events",
        "event-trigger": "what starts a flow or DAG on events that EventBridge does not have",
        "exit-code": "an exit code that makes Airflow skip a command",
        "failure-handling": "a reaction to a failed task: try, fail_fast or a teardown task",
        "filter": "a Jinja filter; the value becomes a parameter",
        "flow-result": "a value that a flow returns or yields; a pipeline has no result",
        "group-description": "the description of a model package group",
        "import-access": "network, process or file access on import, which reading prevents",
        "import-input": "a value from outside the file, read on import, such as the time",
        "job-name": "the name of a job or model; SageMaker generates it",
        "local-file": "a temporary file of one worker, which steps on other workers read",
        "macro": "a value that Airflow computes for each run; it becomes a parameter",
        "mapped-task": "a mapped task that no ForEach step can replace",
        "module-statement": "a statement outside the DAG or flow, such as os.environ[...] = ...",
        "native-style": "what operators of Airflow and its Amazon provider cannot express",
        "nearby-file": "your module or file next to the code, which is not carried",
        "never-chosen": "a task that no branch leads to, or only a dropped one",
        "no-wait": "a task that does not wait for its job; the step does",
        "operator": "an unsupported operator",
        "output": "output and log lines of a flow body, outside its tasks",
        "output-file": "a missing output file; it fails the step that reads it",
        "param-rule": "a rule for a parameter's value that is not checked after the translation",
        "param-type": "a parameter type that a pipeline does not have, or a request rejects",
        "parameter": "a parameter that the DAG does not declare; the pipeline does",
        "past-runs": "a run or task that waits for the previous one",
        "pipeline-name": "a name that is not valid in the target",
        "pool": "an Airflow pool, which limits tasks across all DAGs",
        "python-task": "a Python function that is not carried; for SageMaker, any Python function",
        "raised": "an exception raised by a flow; a Fail step replaces it",
        "retries": "retries of a task after any failure",
        "role": "a role given to an operator, outside its request",
        "role-missing": "a request or template without the required role",
        "role-name": "a role given by name; Airflow looks up its ARN",
        "run-time-argument": "an operator with arguments that are only known at run time",
        "run-time-code": "flow code that uses a run-time value",
        "run-time-loop": "a loop over a run-time value",
        "run-time-type": "a check of the type of a run-time value",
        "s3-operations": "S3 operations that Airflow's operator performs before its job",
        "schedule": "a schedule or event trigger that the target cannot express",
        "sensor": "a wait for something outside the pipeline",
        "several-branches": "a task that is part of several branches",
        "shell-task": "a shell command that is not carried; for SageMaker, any shell command",
        "step-name": "a renamed task; step names have at most 64 characters and no dots",
        "stub": "a stub of a task that an earlier translation dropped; it fails when it runs",
        "subflow": "a flow called by another flow; its steps become steps of the caller",
        "task-params": "Params of a single task",
        "task-state": "the state of a task at run time",
        "template": "a computed template; the value becomes a parameter",
        "template-function": "a CloudFormation function or variable, kept as a string",
        "template-rest": "parts of a CloudFormation template other than the pipeline",
        "timeout": "a time limit of a task or run",
        "trigger-rule": "a trigger rule that no dependency trigger expresses",
        "truth-value": "a value of unknown type used as a test; the condition tests for true",
        "unknown-condition": "an unknown condition, kept unchanged; it cannot be evaluated",
        "unknown-expression": "an unknown function or variable, kept unchanged; it has no value",
        "unknown-step-type": "an unknown step type, kept unchanged; it cannot run",
        "value": "a value that is not JSON; it becomes a parameter",
        "variable": "an Airflow Variable; the value becomes a parameter",
        "xcom": "a task result without an equivalent in a pipeline; it becomes a parameter",
    }
)
"""Every loss code and its meaning. Codes are stable, so scripts can search for them."""


@dataclass(frozen=True, slots=True)
class Loss:
    """``place`` is a JSON pointer or ``file:line`` in the source; ``advice`` is what to do.

    ``step`` is the name of the step that the loss is about; empty for the pipeline as a whole.
    """

    code: str
    severity: Severity
    place: str
    what: str
    target: str
    advice: str = ""
    step: str = ""

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        text = f"{place}{self.severity}: {self.what} [{self.code}]"
        return f"{text}; {self.advice}" if self.advice else text

    def as_json(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value or name != "step"}


def for_target(losses: Iterable[Loss], target: str) -> tuple[Loss, ...]:
    """The losses of a translation to ``target``, with the advice for it."""
    own = ((loss, ADVICE.get(loss.advice, {target: loss.advice})) for loss in losses)
    return tuple(
        replace(loss, target=target, advice=advice[target])
        for loss, advice in own
        if target in advice
    )


def counted(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """The losses that need your attention: all except those of severity ``info``."""
    return tuple(loss for loss in losses if loss.severity != "info")
