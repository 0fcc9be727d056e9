"""The server of an endpoint: a job that runs until its endpoint is deleted or updated.

It answers ``/ping`` and ``/invocations`` on 127.0.0.1, as the container of a model does, and routes
requests by the headers of InvokeEndpoint. The job fails if the process of a model ends.
"""

from __future__ import annotations

import hmac
import json
import random
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from threading import Event, Thread
from typing import Any

from sagebridge.errors import SagebridgeError
from sagebridge_operators.backends.local.database import NoSuchRecord
from sagebridge_operators.backends.local.local_job_type import LocalJobType
from sagebridge_operators.backends.local.model_container import ModelChain
from sagebridge_operators.backends.local.supervised_job import Job, JobFailed, JobStopped, Outcome
from sagebridge_operators.lifecycle.private_folders import make_private

SERVER = "EndpointServer"
HOST = "127.0.0.1"
PAYLOAD_BYTES = 25 * 1024 * 1024
"""The largest payload of InvokeEndpoint."""
ERROR_TYPE = "x-amzn-errortype"
VARIANT, INVOKED_VARIANT = "x-amzn-sagemaker-target-variant", "x-amzn-invoked-production-variant"
TARGET_MODEL = "x-amzn-sagemaker-target-model"
TARGET_HOSTNAME = "x-amzn-sagemaker-target-container-hostname"


class InvalidRequest(Exception):
    """A request that no model can answer; the service's ValidationError."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A production variant. ``direct`` is whether requests name one of its containers."""

    name: str
    weight: float
    chain: ModelChain
    direct: bool

    def answer(
        self, payload: bytes, headers: Mapping[str, str], content_type: str, accept: str
    ) -> tuple[int, str, bytes]:
        """Status, content type and body. Raises InvalidRequest or JobFailed."""
        model, hostname = headers.get(TARGET_MODEL, ""), headers.get(TARGET_HOSTNAME, "")
        if self.chain.multi_model and not model:
            raise InvalidRequest("Endpoint is a multi-model endpoint: TargetModel is required.")
        if model and not self.chain.multi_model:
            raise InvalidRequest("Endpoint is not a multi-model endpoint and has no target model.")
        if self.direct != bool(hostname):
            expected = "is required" if self.direct else "requires InferenceExecutionConfig Direct"
            raise InvalidRequest(f"TargetContainerHostname {expected}.")
        chain = self.chain
        if hostname and not (chain := chain.only(hostname)).containers:
            raise InvalidRequest(f"Container hostname {hostname} not found.")
        try:
            chain.fetch(model)
        except SagebridgeError as error:
            raise InvalidRequest(f"Failed to download model data: {error}") from None
        return chain.answer(payload, content_type, accept, model)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    server_bind = TCPServer.server_bind  # HTTPServer's looks the host's name up

    def __init__(self, port: int, token: str, variants: Sequence[Variant]) -> None:
        super().__init__((HOST, port), _Handler)
        self.port = int(self.server_address[1])
        self.authorization = f"Bearer {token}".encode()
        self.variants = variants

    def variant(self, name: str | None) -> Variant:
        """The variant of this name, or one by weight. Raises InvalidRequest."""
        if name is None:
            weights = [one.weight for one in self.variants]
            return random.choices(self.variants, weights if any(weights) else None)[0]
        for one in self.variants:
            if one.name == name:
                return one
        raise InvalidRequest(f"Variant {name} not found.")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "sagebridge", ""
    timeout = 75

    def do_GET(self) -> None:
        if self._is_allowed():
            self._reply(HTTPStatus.OK if self.path == "/ping" else HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if not self._is_allowed():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/invocations":
            self._refuse(HTTPStatus.NOT_FOUND, "expected /ping or /invocations")
        elif not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "expected Content-Length")
        elif int(length) > PAYLOAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected {PAYLOAD_BYTES} bytes")
        else:
            self._invoke(self.rfile.read(int(length)))

    def _invoke(self, payload: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            variant = self.server.variant(headers.get(VARIANT))
            status, kind, body = variant.answer(
                payload, headers, headers.get("content-type", ""), headers.get("accept", "")
            )
        except InvalidRequest as error:
            self._reply(HTTPStatus.BAD_REQUEST, str(error), {ERROR_TYPE: "ValidationError"})
        except JobFailed as error:
            self._reply(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        else:
            self._reply(status, body, {"Content-Type": kind, INVOKED_VARIANT: variant.name})

    def _is_allowed(self) -> bool:
        """Whether a request is from a process of this user; web pages are refused, too.

        A browser sends Origin, and after DNS rebinding the page's host.
        """
        own = f"{HOST}:{self.server.port}"
        given = self.headers.get("Authorization", "").encode()
        if self.headers.get_all("Host") != [own] or "Origin" in self.headers:
            self._refuse(HTTPStatus.FORBIDDEN, f"expected the host {own} and no web page")
        elif not hmac.compare_digest(given, self.server.authorization):
            self._refuse(HTTPStatus.UNAUTHORIZED, "expected the endpoint's token")
        else:
            return True
        return False

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self.close_connection = True  # the payload was not read
        self._reply(status, f"{message}\n", {"Connection": "close"})

    def _reply(
        self, status: int, body: str | bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain", **(headers or {})}.items():
            self.send_header(name, value.replace("\r", " ").replace("\n", " "))
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != HTTPStatus.NO_CONTENT:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: the log is for the model."""


def curl_file(home: Path, endpoint: str) -> Path:
    """The configuration for curl with address and token of an endpoint."""
    return home / "endpoints" / f"{endpoint}.curl"


def run(job: Job) -> Outcome:
    """Serve the variants of an endpoint until the job is stopped.

    Raises:
        JobFailed: a model could not be loaded, or its process has ended.
    """
    from sagebridge_operators.backends.local import supervisor

    ended = Event()
    for note in job.request["Notes"]:
        job.note(note)
    try:
        with ExitStack() as stack:
            variants = []
            for number, one in enumerate(job.request["Variants"]):
                chain = ModelChain(job, f"{number}-", one["Containers"], {}, ended.set)
                stack.enter_context(chain)
                variants.append(Variant(one["Name"], one["Weight"], chain, one["Direct"]))
            for variant in variants:
                variant.chain.wait_until_ready()
            server = stack.enter_context(_listen(job, variants))
            Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            _publish(job, server.port)
            ended.wait()
            failures = [one.chain.failure() for one in variants]
            # The processes of the other models end as well, even if they never answer.
            if job.records.path.exists():  # otherwise they end with the working folder
                supervisor.request_stop(job.home, job.kind, job.name)
    except (JobStopped, NoSuchRecord):
        return Outcome("Completed")
    found = [one for one in failures if one is not None and not isinstance(one, JobStopped)]
    if found:
        raise found[0]
    return Outcome("Completed")


def _listen(job: Job, variants: Sequence[Variant]) -> _Server:
    """A server on the port that the endpoint had before, if it is free."""
    for port in (job.request.get("_port", 0), 0):
        with suppress(OSError):
            return _Server(port, job.request["_token"], variants)
    raise JobFailed(f"InternalServerError: no port of {HOST} is free")


def _publish(job: Job, port: int) -> None:
    """Make this server the one that the endpoint has, and stop the one that it had.

    Raises:
        JobStopped: the endpoint was deleted or updated in the meantime.
    """
    from sagebridge_operators.backends.local import supervisor

    name, url = job.request["EndpointName"], f"http://{HOST}:{port}"
    file = curl_file(job.home, name)
    command = f"curl --config {shlex.quote(str(file))} --data-binary @FILE"
    job.note(f"endpoint {name} answers at {url}: {command} --header 'Content-Type: text/csv'")
    previous = ""

    def promote(body: dict[str, Any]) -> None:
        nonlocal previous
        if body.get("_pending") != job.name:
            raise JobStopped
        previous = body.get("_server", "")
        body |= {"_server": job.name, "EndpointConfigName": job.request["EndpointConfigName"]}
        body["LastModifiedTime"] = time.time()
        del body["_pending"]
        make_private(file.parent)
        fresh = file.with_name(f".{file.name}")
        fresh.touch(mode=0o600)
        header = json.dumps(f"Authorization: Bearer {job.request['_token']}")
        fresh.write_text(f'url = "{url}/invocations"\nheader = {header}\n')
        fresh.replace(file)

    job.records.update(job.kind, job.name, lambda body: body.update(_port=port))
    job.records.update("Endpoint", name, promote)
    if previous:
        with suppress(NoSuchRecord):
            supervisor.request_stop(job.home, job.kind, previous)


JOB = LocalJobType(kind=SERVER, run=run)
