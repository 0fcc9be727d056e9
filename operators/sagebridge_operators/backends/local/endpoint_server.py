"""The server of an endpoint: a job that runs until its endpoint is deleted or updated.

It answers ``/ping`` and ``/invocations`` on 127.0.0.1, as the container of a model does, and routes
requests by the headers of InvokeEndpoint. The job fails if the process of a model ends.
"""

from __future__ import annotations

import hmac
import io
import json
import random
import shlex
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import IO, Any

from sagebridge.errors import SagebridgeError
from sagebridge_operators.backends.local.api import Answer
from sagebridge_operators.backends.local.database import NoSuchRecord
from sagebridge_operators.backends.local.local_job_type import LocalJobType
from sagebridge_operators.backends.local.loopback import listen
from sagebridge_operators.backends.local.model_container import ModelChain
from sagebridge_operators.backends.local.supervised_job import Job, JobFailed, JobStopped, Outcome
from sagebridge_operators.lifecycle.private_folders import make_private

SERVER = "EndpointServer"
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


class EndpointApi:
    """Answers the HTTP requests of an endpoint's clients.

    Args:
        host: the address of the server, such as ``127.0.0.1:8080``.
        token: what clients must have.
        variants: the production variants.
    """

    def __init__(self, host: str, token: str, variants: Sequence[Variant]) -> None:
        self._host, self._authorization = host, f"Bearer {token}".encode()
        self._variants = variants

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: IO[bytes]
    ) -> Answer:
        """The response to a request; header names are lower-case."""
        given = headers.get("authorization", "").encode()
        # A browser sends Origin, and after DNS rebinding the page's host.
        if headers.get("host") != self._host or "origin" in headers:
            return _answer(403, f"expected the host {self._host} and no web page\n")
        if not hmac.compare_digest(given, self._authorization):
            return _answer(401, "expected the endpoint's token\n")
        if (method, target) == ("GET", "/ping"):
            return _answer(200)
        if (method, target) != ("POST", "/invocations"):
            return _answer(404, "expected GET /ping or POST /invocations\n")
        payload = body.read(PAYLOAD_BYTES + 1)
        if len(payload) > PAYLOAD_BYTES:
            return _answer(413, f"expected at most {PAYLOAD_BYTES} bytes\n")
        try:
            variant = self._variant(headers.get(VARIANT))
            status, kind, content = variant.answer(
                payload, headers, headers.get("content-type", ""), headers.get("accept", "")
            )
        except InvalidRequest as error:
            return _answer(400, str(error), {ERROR_TYPE: "ValidationError"})
        except JobFailed as error:
            return _answer(500, str(error))
        return _answer(status, content, {"Content-Type": kind, INVOKED_VARIANT: variant.name})

    def _variant(self, name: str | None) -> Variant:
        """The variant of this name, or one by weight. Raises InvalidRequest."""
        if name is None:
            weights = [one.weight for one in self._variants]
            return random.choices(self._variants, weights if any(weights) else None)[0]
        for one in self._variants:
            if one.name == name:
                return one
        raise InvalidRequest(f"Variant {name} not found.")


def _answer(status: int, body: str | bytes = b"", more: Mapping[str, str] | None = None) -> Answer:
    content = body.encode() if isinstance(body, str) else body
    headers = {"Content-Type": "text/plain", **(more or {})}
    if status != 204:
        headers["Content-Length"] = str(len(content))
    safe = {name: " ".join(value.splitlines()) for name, value in headers.items()}
    return Answer(status, safe, io.BytesIO(content if status != 204 else b""))


def curl_file(home: Path, endpoint: str) -> Path:
    """The configuration for curl with address and token of an endpoint."""
    return home / "endpoints" / f"{endpoint}.curl"


def curl_command(home: Path, endpoint: str) -> str:
    """A command that sends a CSV file to an endpoint."""
    file = shlex.quote(str(curl_file(home, endpoint)))
    return f"curl --config {file} --data-binary @FILE --header 'Content-Type: text/csv'"


def run(job: Job) -> Outcome:
    """Serve the variants of an endpoint until the job is stopped.

    Raises:
        JobFailed: a model could not be loaded, or its process has ended.
    """
    from sagebridge_operators.backends.local import supervisor

    ended = Event()
    try:
        with ExitStack() as stack:
            variants = []
            for number, one in enumerate(job.request["Variants"]):
                chain = ModelChain(job, f"{number}-", one["Containers"], {}, ended.set)
                stack.enter_context(chain)
                variants.append(Variant(one["Name"], one["Weight"], chain, one["Direct"]))
            for variant in variants:
                variant.chain.wait_until_ready()
            serve = partial(_serve, job.request["_token"], variants)
            url = stack.enter_context(listen(serve, job.request.get("_port", 0)))
            _publish(job, url)
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


def _serve(
    token: str, variants: Sequence[Variant], listener: socket.socket, is_over: Callable[[], bool]
) -> None:
    # It imports the services, and these import this module.
    from sagebridge_operators.backends.local.http_server import serve

    host, port = listener.getsockname()
    serve(listener, EndpointApi(f"{host}:{port}", token, variants), is_over)


def _publish(job: Job, url: str) -> None:
    """Make this server the one that the endpoint has, and stop the one that it had.

    Raises:
        JobStopped: the endpoint was deleted or updated in the meantime.
    """
    from sagebridge_operators.backends.local import supervisor

    name, port = job.request["EndpointName"], int(url.rpartition(":")[2])
    file = curl_file(job.home, name)
    job.note(f"endpoint {name} answers at {url}: {curl_command(job.home, name)}")
    previous = ""

    def promote(body: dict[str, Any]) -> None:
        nonlocal previous
        if body.get("_pending") != job.name or "_deleting" in body:
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
