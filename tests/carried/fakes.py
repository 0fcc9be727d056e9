"""Answers for the jobs that moto does not run: each one succeeds at once.

Without state: the id of a job follows from its request, so that both engines see the same one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from tests.carried.services import ACCOUNT, REGION

Send = Callable[[str, Mapping[str, Any]], Any]
"""Calls an operation of the same service on moto."""

DECISION = {"approved": True}
"""The output of each execution of a state machine."""
_TOKENS = ("clientToken", "ClientToken", "ClientRequestToken", "startedBy", "clientRequestToken")


def _id(request: Mapping[str, Any]) -> str:
    named = {key: one for key, one in request.items() if one and key not in _TOKENS}
    text = json.dumps(named, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:32]


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def _submit_job(_: Send, request: Mapping[str, Any]) -> Any:
    job = _id(request)
    return {"jobName": request["jobName"], "jobId": job, "jobArn": _arn("batch", f"job/{job}")}


def _describe_jobs(_: Send, request: Mapping[str, Any]) -> Any:
    ended = {"status": "SUCCEEDED", "jobDefinition": "", "jobQueue": "", "container": {}}
    return {"jobs": [{"jobId": one, "jobName": "job", **ended} for one in request["jobs"]]}


def _tasks(*arns: str, status: str) -> Any:
    containers = [{"name": "main", "lastStatus": status, "exitCode": 0}]
    shared = {"lastStatus": status, "containers": containers}
    return {"tasks": [{"taskArn": one, **shared} for one in arns], "failures": []}


def _run_task(_: Send, request: Mapping[str, Any]) -> Any:
    arn = _arn("ecs", f"task/{request.get('cluster', 'default')}/{_id(request)}")
    return _tasks(arn, status="PENDING")


def _describe_tasks(_: Send, request: Mapping[str, Any]) -> Any:
    return _tasks(*request["tasks"], status="STOPPED")


def _start_execution(_: Send, request: Mapping[str, Any]) -> Any:
    machine = request["stateMachineArn"].rpartition(":")[2]
    return {"executionArn": _arn("states", f"execution:{machine}:{request['name']}")}


def _describe_execution(_: Send, request: Mapping[str, Any]) -> Any:
    arn = request["executionArn"]
    return {"executionArn": arn, "status": "SUCCEEDED", "output": json.dumps(DECISION)}


def _start_query(_: Send, request: Mapping[str, Any]) -> Any:
    return {"QueryExecutionId": _id(request)}


def _describe_query(_: Send, request: Mapping[str, Any]) -> Any:
    status = {"State": "SUCCEEDED"}
    return {"QueryExecution": {"Status": status, **request}}


def _start_statement(_: Send, request: Mapping[str, Any]) -> Any:
    return {"Id": _id(request)}


def _describe_statement(_: Send, request: Mapping[str, Any]) -> Any:
    return {"Id": request["Id"], "Status": "FINISHED", "HasResultSet": False}


def _start_job_run(_: Send, request: Mapping[str, Any]) -> Any:
    return {"JobRunId": f"jr_{_id(request)}"}


def _get_job_run(_: Send, request: Mapping[str, Any]) -> Any:
    return {"JobRun": {"Id": request["RunId"], "JobRunState": "SUCCEEDED"}}


def _describe_step(_: Send, request: Mapping[str, Any]) -> Any:
    return {"Step": {"Id": request["StepId"], "Name": "", "Status": {"State": "COMPLETED"}}}


def _add_steps(_: Send, request: Mapping[str, Any]) -> Any:
    jars = [one["HadoopJarStep"] for one in request["Steps"]]  # their names may be generated
    return {"StepIds": [f"s-{_id(one)[:13].upper()}" for one in jars]}


def _update_endpoint(send: Send, request: Mapping[str, Any]) -> Any:
    send("DeleteEndpoint", {"EndpointName": request["EndpointName"]})
    return send("CreateEndpoint", request)


FAKES: Mapping[str, Callable[[Send, Mapping[str, Any]], Any]] = {
    "athena.StartQueryExecution": _start_query,
    "athena.GetQueryExecution": _describe_query,
    "batch.SubmitJob": _submit_job,
    "batch.DescribeJobs": _describe_jobs,
    "ecs.RunTask": _run_task,
    "ecs.DescribeTasks": _describe_tasks,
    "emr.AddJobFlowSteps": _add_steps,
    "emr.DescribeCluster": lambda _, __: {"Cluster": {"Status": {"State": "WAITING"}}},
    "emr.DescribeStep": _describe_step,
    "emr.ListSteps": lambda _, __: {"Steps": []},
    "glue.StartJobRun": _start_job_run,
    "glue.GetJobRun": _get_job_run,
    "redshift-data.ExecuteStatement": _start_statement,
    "redshift-data.BatchExecuteStatement": _start_statement,
    "redshift-data.DescribeStatement": _describe_statement,
    "sagemaker.UpdateEndpoint": _update_endpoint,
    "stepfunctions.StartExecution": _start_execution,
    "stepfunctions.DescribeExecution": _describe_execution,
}
"""By ``service.Operation``; the answers of a scenario precede them."""
