"""A fake AWS over HTTP on loopback that fails on request.

```
with FaultyAws() as aws:
    aws.add_scripts(JobScript(name="*train*", looks=3))
    aws.add_faults(FaultRule(fault="drop", operation="Describe*", start=5, seconds=15))
    aws.client("sagemaker").create_training_job(...)
    assert aws.count("CreateTrainingJob", "*train*") == 1
```

Over HTTP, under ``/_test/``: ``requests`` (GET, DELETE), ``faults`` and ``scripts`` (GET or POST a
JSON list of ``FaultRule`` or ``JobScript`` fields, DELETE), ``resources`` (GET with the globs
``kind`` and ``name``) and ``reset`` (POST).
"""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.faulty_aws.control import AwsControl
from tests.faulty_aws.emr_api import EmrApi
from tests.faulty_aws.emr_serverless_api import EmrServerlessApi
from tests.faulty_aws.fault_rules import FaultPlan, FaultRule
from tests.faulty_aws.job_scripts import JobScript
from tests.faulty_aws.job_store import JobService
from tests.faulty_aws.lambda_api import LambdaApi
from tests.faulty_aws.logs_api import LogsApi
from tests.faulty_aws.protocol import (
    Answer,
    AwsError,
    Call,
    HttpRequest,
    error_answer,
    json_answer,
    parse_call,
)
from tests.faulty_aws.request_log import RequestLog, RequestRecord
from tests.faulty_aws.s3_api import S3Api
from tests.faulty_aws.sagemaker_api import SageMakerApi
from tests.faulty_aws.sqs_api import SqsApi
from tests.faulty_aws.sts_api import answer_sts

HOST = "127.0.0.1"


class FaultyAws(AwsControl):
    """A server in this process.

    ``start`` after ``stop`` uses the same port and keeps the state, so a test can have connections
    refused for a while. With ``port`` 0 the first start picks a free port.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.url = ""
        self._log = RequestLog()
        self._faults = FaultPlan()
        self._sagemaker = SageMakerApi()
        self._others: dict[str, JobService] = {
            "lambda": LambdaApi(),
            "elasticmapreduce": EmrApi(),
            "emr-serverless": EmrServerlessApi(),
            "sqs": SqsApi(),
        }
        self._s3 = S3Api()
        self._logs = LogsApi()
        self._stopping = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._stopping.clear()
        self._server = _Server(self, self.port)
        self.port = self._server.server_address[1]
        self.url = f"http://{HOST}:{self.port}"
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.05,), name="faulty-aws", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and all connections. Does nothing if the server has stopped."""
        if self._server is None or self._thread is None:
            return
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()
        self._server = self._thread = None

    def all_requests(self) -> list[RequestRecord]:
        return self._log.records()

    def clear_requests(self) -> None:
        self._log.clear()

    def add_faults(self, *rules: FaultRule) -> None:
        self._faults.add(*rules)

    def clear_faults(self) -> None:
        self._faults.clear()

    def add_scripts(self, *scripts: JobScript) -> None:
        for service in self._services:
            service.add_scripts(*scripts)

    def clear_scripts(self) -> None:
        for service in self._services:
            service.clear_scripts()

    def resources(self, kind: str = "*", name: str = "*") -> list[str]:
        return [one for service in self._services for one in service.names(kind, name)]

    def reset(self) -> None:
        for part in (self._faults, self._s3, self._logs, self._log):
            part.clear()
        for service in self._services:
            service.clear()

    def answer(self, http: HttpRequest) -> Answer | None:
        """The answer to a request, or None to close the connection without an answer."""
        if http.path.startswith("/_test/"):
            return self._answer_test(http)
        try:
            call = parse_call(http)
        except AwsError as error:
            return error_answer(http, error)
        rule = self._faults.take(call, self._service(call).created)
        record = self._log.begin(call, rule.fault if rule else "")
        if rule is not None and rule.fault == "drop":
            return None
        answer, done = self._carry_out(call, rule)
        if rule is not None and rule.fault == "lose_answer":
            self._log.finish(record, done=done, status=0)
            return None
        self._log.finish(record, done=done, status=answer.status)
        if rule is not None and rule.fault == "delay":
            self._stopping.wait(rule.delay)
        return answer

    def _carry_out(self, call: Call, rule: FaultRule | None) -> tuple[Answer, bool]:
        """The answer, and whether the work was done."""
        try:
            if rule is not None and rule.fault == "not_found":
                raise self._service(call).not_found(call)
            if rule is not None and (error := rule.error(call)) is not None:
                raise error
            return self._served(call), True
        except AwsError as error:
            return error_answer(call.http, error), False
        except Exception:  # noqa: BLE001 - shown by the client, which does not retry a 400
            failed = AwsError("BugInFaultyAws", traceback.format_exc())
            return error_answer(call.http, failed), False

    @property
    def _services(self) -> list[SageMakerApi | JobService]:
        return [self._sagemaker, *self._others.values()]

    def _service(self, call: Call) -> SageMakerApi | JobService:
        return self._others.get(call.service, self._sagemaker)

    def _served(self, call: Call) -> Answer:
        if call.service in self._others:
            found = self._others[call.service].answer(call)
            return found if isinstance(found, Answer) else json_answer(found)
        match call.service:
            case "sagemaker":
                return json_answer(self._sagemaker.answer(call))
            case "s3":
                return self._s3.answer(call)
            case "logs":
                return json_answer(self._logs.answer(call))
            case "sts":
                return answer_sts(call)
        message = f"There is no fake for {call.service}."
        raise AwsError("UnknownOperationException", message)

    def _answer_test(self, http: HttpRequest) -> Answer:
        try:
            shown = self._control(http, http.path.removeprefix("/_test/"))
        except (ValueError, TypeError) as error:
            return Answer(400, json.dumps({"error": str(error)}).encode())
        return Answer(200, json.dumps(shown).encode(), {"Content-Type": "application/json"})

    def _control(self, http: HttpRequest, what: str) -> Any:
        body = http.body
        match http.method, what:
            case "GET", "resources":
                return self.resources(**http.query)
            case "GET", "requests":
                return [record.to_json() for record in self.all_requests()]
            case "DELETE", "requests":
                return self.clear_requests()
            case "GET", "faults":
                return [rule.to_json() for rule in self._faults.rules()]
            case "POST", "faults":
                return self.add_faults(*(FaultRule.from_json(one) for one in _listed(body)))
            case "DELETE", "faults":
                return self.clear_faults()
            case "GET", "scripts":
                return [script.to_json() for script in self._sagemaker.scripts()]
            case "POST", "scripts":
                return self.add_scripts(*(JobScript.from_json(one) for one in _listed(body)))
            case "DELETE", "scripts":
                return self.clear_scripts()
            case "POST", "reset":
                return self.reset()
        raise ValueError(f"unknown: {http.method} /_test/{what}")


def _listed(body: bytes) -> list[dict[str, Any]]:
    """The objects of a JSON list; one object counts as a list of one."""
    value = json.loads(body)
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in found):
        raise ValueError("expected a JSON object or a list of them")
    return found


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() waits for them
    request_queue_size = 128

    def __init__(self, aws: FaultyAws, port: int) -> None:
        self.aws = aws
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        """Skip HTTPServer's reverse lookup of the address, which can be slow."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Wake up the threads that wait for a client's next request."""
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that closed the connection, for example after a read timeout."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _answer(self) -> None:
        url = urlsplit(self.path)
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True  # the body is not read, so nothing after it can be
        answer = self.server.aws.answer(
            HttpRequest(
                method=self.command,
                path=url.path,
                query=dict(parse_qsl(url.query, keep_blank_values=True)),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(int(self.headers.get("Content-Length", 0))),
                proxied=bool(url.scheme),
            )
        )
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            length = len(answer.body) if answer.length is None else answer.length
            self.send_header("Content-Length", str(length))
        self._headers_buffer.append(b"\r\n" + answer.body)  # type: ignore[attr-defined]
        self.flush_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log requests to standard error."""
