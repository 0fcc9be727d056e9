"""The operations of the local SageMaker API on endpoints and their configurations.

The record of an endpoint names its server, a supervised job. An update starts a second server,
which takes over when its models are loaded; if that fails, the endpoint keeps the first one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sagebridge.model.local_differences import refusals
from sagebridge_operators.backends.local import supervisor
from sagebridge_operators.backends.local.api import ApiError, arn
from sagebridge_operators.backends.local.database import (
    AlreadyExists,
    NoSuchRecord,
    Records,
    Transaction,
)
from sagebridge_operators.backends.local.endpoint_server import SERVER, curl_file
from sagebridge_operators.backends.local.job_api import check_name, launch
from sagebridge_operators.backends.local.listing import page
from sagebridge_operators.backends.local.model_container import containers_of
from sagebridge_operators.backends.local.supervised_job import TERMINAL, JobFailed, job_folder

STATUS = f"{SERVER}JobStatus"


class Endpoints:
    """Endpoints and endpoint configurations; each method is one API operation."""

    def __init__(self, base: Path, region: str, records: Records) -> None:
        self.base, self.region, self.records = base, region, records
        self.home = records.path.parent

    def operations(self) -> dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        """The API operations on endpoints, by name."""
        calls = (
            self.create_endpoint_config,
            self.describe_endpoint_config,
            self.delete_endpoint_config,
            self.list_endpoint_configs,
            self.create_endpoint,
            self.describe_endpoint,
            self.update_endpoint,
            self.delete_endpoint,
            self.list_endpoints,
        )
        return {call.__name__.title().replace("_", ""): call for call in calls}

    def create_endpoint_config(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = check_name("EndpointConfigName", request["EndpointConfigName"])
        if refused := list(refusals("EndpointConfig", request)):
            raise _invalid(f"Not on this machine: {'; '.join(refused)}")
        for variant in request["ProductionVariants"]:
            if self.records.get("Model", variant["ModelName"]) is None:
                model = arn(self.region, f"model/{variant['ModelName']}")
                raise _invalid(f'Could not find model "{model}".')
        config_arn = arn(self.region, f"endpoint-config/{name}")
        fields = {key: value for key, value in request.items() if key != "Tags"}
        body = {**fields, "EndpointConfigArn": config_arn, "CreationTime": time.time()}
        try:
            self.records.insert("EndpointConfig", name, body)
        except AlreadyExists:
            raise _invalid(
                f'Cannot create already existing endpoint configuration "{config_arn}".'
            ) from None
        return {"EndpointConfigArn": config_arn}

    def describe_endpoint_config(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["EndpointConfigName"]
        if (body := self.records.get("EndpointConfig", name)) is None:
            raise self._missing("endpoint configuration", f"endpoint-config/{name}")
        return body

    def delete_endpoint_config(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.describe_endpoint_config(request)
        with suppress(NoSuchRecord):
            self.records.delete("EndpointConfig", request["EndpointConfigName"])
        return {}

    def list_endpoint_configs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return page(
            self.records.list("EndpointConfig"),
            request,
            fields=("EndpointConfigName", "EndpointConfigArn", "CreationTime"),
            into="EndpointConfigs",
            name="EndpointConfigName",
            descending=True,
        )

    def create_endpoint(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = check_name("EndpointName", request["EndpointName"])
        endpoint_arn, now = arn(self.region, f"endpoint/{name}"), time.time()
        server = self._server(name, request["EndpointConfigName"], secrets.token_urlsafe(32))
        body = {
            "EndpointName": name,
            "EndpointArn": endpoint_arn,
            "EndpointConfigName": request["EndpointConfigName"],
            "CreationTime": now,
            "LastModifiedTime": now,
            "_pending": server["_name"],
        }
        with suppress(ApiError):
            self.find(name)  # removes one whose deletion is over
        try:
            self._launch(server, lambda transaction: transaction.insert("Endpoint", name, body))
        except AlreadyExists:
            raise _invalid(f'Cannot create already existing endpoint "{endpoint_arn}".') from None
        return {"EndpointArn": endpoint_arn}

    def describe_endpoint(self, request: Mapping[str, Any]) -> dict[str, Any]:
        body = self.find(request["EndpointName"])
        return {key: value for key, value in body.items() if not key.startswith("_")}

    def update_endpoint(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["EndpointName"]
        found = self.find(name)
        if found["EndpointStatus"] not in ("InService", "Failed"):
            raise _invalid(f'Cannot update in-progress endpoint "{found["EndpointArn"]}".')
        last = self._record(found.get("_server") or found["_pending"]) or {}
        token = found.get("_token") or secrets.token_urlsafe(32)
        server = self._server(name, request["EndpointConfigName"], token, last.get("_port", 0))
        self._replace(found, server)
        return {"EndpointArn": found["EndpointArn"]}

    def delete_endpoint(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["EndpointName"]
        self.find(name)
        body = self.records.update("Endpoint", name, lambda body: body.update(_deleting=True))
        curl_file(self.home, name).unlink(missing_ok=True)
        for server in _servers(body):
            with suppress(NoSuchRecord):
                supervisor.request_stop(self.home, SERVER, server)
        return {}

    def list_endpoints(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = []
        for body in self.records.list("Endpoint"):
            with suppress(ApiError):
                found.append(self.find(body["EndpointName"]))
        shown = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime")
        return page(
            found,
            request,
            fields=(*shown, "EndpointStatus"),
            into="Endpoints",
            name="EndpointName",
            status="EndpointStatus",
            descending=True,
        )

    def find(self, name: str) -> dict[str, Any]:
        """The record of an endpoint with its Describe response; ``_port`` while it has a server.

        A server that was killed, as by a reboot, is started again.

        Raises:
            ApiError: there is no such endpoint.
        """
        missing = self._missing("endpoint", f"endpoint/{name}")
        if (body := self.records.get("Endpoint", name)) is None:
            raise missing
        servers = {one: self._record(one) for one in _servers(body)}
        if body.get("_deleting"):
            if all(one is None or one[STATUS] in TERMINAL for one in servers.values()):
                self._forget(name, servers)
                raise missing
            return body | {"EndpointStatus": "Deleting"}
        current, pending = (servers.get(body.get(key, "")) for key in ("_server", "_pending"))
        in_service = current is not None and current[STATUS] not in TERMINAL
        if "_pending" in body and pending is not None and pending[STATUS] not in TERMINAL:
            body["EndpointStatus"] = "Updating" if "_server" in body else "Creating"
            config = pending["EndpointConfigName"]
            if "_server" in body:
                body["PendingDeploymentSummary"] = {"EndpointConfigName": config}
        elif not in_service and "_pending" not in body and _was_killed(current):
            assert current is not None
            server = {key: current[key] for key in _KEPT if key in current}
            # Its port was free: clients may have sent the old token to a server of another user.
            server["_token"] = secrets.token_urlsafe(32)
            try:
                self._replace(body, self._named(name, server))
            except ApiError:  # another process was faster
                return self.find(name)
            body["EndpointStatus"] = "SystemUpdating"
        else:
            body["EndpointStatus"] = "InService" if in_service else "Failed"
            last = pending if "_pending" in body else current
            if reason := _reason(last) if last is None or last[STATUS] in TERMINAL else "":
                body["FailureReason"] = reason
        if in_service and current is not None:
            body |= {key: current[key] for key in ("_port", "_token")}
            body["_log"] = job_folder(self.home, SERVER, body["_server"]) / "log"
        shown = current or pending
        if shown is not None:
            body["ProductionVariants"] = [_summary(one) for one in shown["Variants"]]
        return body

    def _record(self, server: str) -> dict[str, Any] | None:
        try:
            return supervisor.reap(self.records, SERVER, server)
        except NoSuchRecord:
            return None

    def _forget(self, name: str, servers: Mapping[str, Any]) -> None:
        with suppress(NoSuchRecord), self.records.transaction() as transaction:
            for server in servers:
                with suppress(NoSuchRecord):
                    transaction.delete(SERVER, server)
            transaction.delete("Endpoint", name)

    def _replace(self, found: Mapping[str, Any], server: dict[str, Any]) -> None:
        """Start a server that takes over from that of an endpoint, unless another has started."""
        before = [found.get("_server"), found.get("_pending")]

        def change(body: dict[str, Any]) -> None:
            if before != [body.get("_server"), body.get("_pending")] or "_deleting" in body:
                raise _invalid(f'Cannot update in-progress endpoint "{body["EndpointArn"]}".')
            body |= {"_pending": server["_name"], "LastModifiedTime": time.time()}

        name = found["EndpointName"]
        try:
            self._launch(server, lambda transaction: transaction.update("Endpoint", name, change))
        except NoSuchRecord:
            raise self._missing("endpoint", f"endpoint/{name}") from None

    def _launch(self, server: dict[str, Any], also: Callable[[Transaction], object]) -> None:
        """Start a server. In between, no other process sees an endpoint without its server."""
        launch(self.records, self.base, SERVER, server["_name"], server, also)

    def _server(self, name: str, config_name: str, token: str, port: int = 0) -> dict[str, Any]:
        """The record of a new server for a configuration."""
        config = self.describe_endpoint_config({"EndpointConfigName": config_name})
        variants = []
        for variant in config["ProductionVariants"]:
            model = self.records.get("Model", variant["ModelName"]) or {}
            try:
                containers = containers_of(self.records, variant["ModelName"])
            except JobFailed as error:
                raise _invalid(str(error).removeprefix("ClientError: ")) from None
            mode = model.get("InferenceExecutionConfig", {}).get("Mode", "Serial")
            variants.append(
                {
                    "Name": variant["VariantName"],
                    "Weight": variant.get("InitialVariantWeight", 1.0),
                    "Instances": variant.get("InitialInstanceCount", 1),
                    "Containers": containers,
                    "Direct": mode == "Direct",
                }
            )
        given = {"EndpointConfigName": config_name, "Variants": variants}
        return self._named(name, given | {"_token": token, "_port": port})

    def _named(self, endpoint: str, server: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **server,
            "_name": f"{endpoint}.{secrets.token_hex(4)}",
            "EndpointName": endpoint,
            f"{SERVER}JobArn": arn(self.region, f"endpoint/{endpoint}"),
            STATUS: "InProgress",
            "CreationTime": time.time(),
        }

    def _missing(self, what: str, resource: str) -> ApiError:
        return _invalid(f'Could not find {what} "{arn(self.region, resource)}".')


_KEPT = ("EndpointConfigName", "Variants", "_port")
"""The fields of a server's record that a server in its place has, too."""


def log_of(home: Path, endpoint: str) -> tuple[str, str]:
    """Kind and name of the job that serves an endpoint or will do so."""
    name = endpoint.partition("|")[0]  # of the identity that a step records
    body = Records(home / "records.db").get("Endpoint", name) or {}
    return SERVER, str(body.get("_pending") or body.get("_server") or name)


def _invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def _servers(body: Mapping[str, Any]) -> list[str]:
    return [body[key] for key in ("_server", "_pending") if key in body]


def _was_killed(server: Mapping[str, Any] | None) -> bool:
    return server is not None and supervisor.DIED in server.get("FailureReason", "")


def _reason(server: Mapping[str, Any] | None) -> str:
    if server is None:
        return "InternalServerError: the process that requested the endpoint died before it started"
    return str(server.get("FailureReason") or "the server of the endpoint has ended")


def _summary(variant: Mapping[str, Any]) -> dict[str, Any]:
    weight, instances = variant["Weight"], variant["Instances"]
    return {
        "VariantName": variant["Name"],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
        "CurrentInstanceCount": instances,
        "DesiredInstanceCount": instances,
    }
