"""The services of this machine over HTTP: boto3's defaults, signatures, bodies and bad requests."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import boto3
import pytest
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from sagebridge_operators.backends.local.api import ApiError
from sagebridge_operators.backends.local.aws_keys import FILE, Keys, keys
from sagebridge_operators.backends.local.client import Endpoint
from sagebridge_operators.backends.local.http_api import HttpApi
from sagebridge_operators.backends.local.http_server import serve
from sagebridge_operators.backends.local.http_signatures import ChunkSignatures, Signature
from sagebridge_operators.backends.local.loopback import listen
from sagebridge_operators.backends.local.store import FolderStore
from sagebridge_operators.backends.local.streams import chunks
from tests.other_user import IS_ROOT, as_other_user, shared_folder

ROLE = "arn:aws:iam::123456789012:role/service-role/Jobs"
LARGE = os.urandom(1 << 20) * 20


class Server:
    """A server for a working folder, and clients with its keys or others."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url = home, url
        self.keys = keys(home)
        self.store = FolderStore(home / "s3", home)

    def client(self, service: str, *, given: Keys | None = None, **config: Any) -> Any:
        pair = given or self.keys
        return boto3.client(  # type: ignore[call-overload]
            service,
            region_name="eu-west-1",
            endpoint_url=self.url,
            aws_access_key_id=pair.access,
            aws_secret_access_key=pair.secret,
            config=Config(retries={"total_max_attempts": 1}, **config),
        )

    def headers(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        service: str = "s3",
        more: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """The headers of a signed request."""
        kind = S3SigV4Auth if service == "s3" else SigV4Auth
        request = AWSRequest(method, f"{self.url}{path}", more or {}, body)
        credentials = Credentials(self.keys.access, self.keys.secret)
        kind(credentials, service, "eu-west-1").add_auth(request)
        return dict(request.headers)

    def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, str]:
        """The status and the body of the response to a request as it is."""
        connection = http.client.HTTPConnection(str(urlsplit(self.url).netloc), timeout=30)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("http") / "home"
    with running(home) as found:
        yield found


@contextmanager
def running(home: Path) -> Iterator[Server]:
    pair = keys(home)
    endpoint = Endpoint(home, home, role=ROLE)

    def run(listener: socket.socket, is_over: Callable[[], bool]) -> None:
        host, port = listener.getsockname()
        serve(listener, HttpApi(endpoint, pair, f"http://{host}:{port}"), is_over)

    with listen(run) as url:
        yield Server(home, url)


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_boto3_defaults_transfer_files_in_parts_and_ranges(server: Server) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="fresh", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.head_bucket(Bucket="fresh")
    s3.put_object(Bucket="fresh", Key="a b/ü+&.txt", Body=b"0123456789", ChecksumAlgorithm="SHA256")
    part = s3.get_object(Bucket="fresh", Key="a b/ü+&.txt", Range="bytes=2-4")
    assert (part["Body"].read(), part["ContentRange"]) == (b"234", "bytes 2-4/10")
    s3.upload_fileobj(io.BytesIO(LARGE), "fresh", "large")
    s3.copy({"Bucket": "fresh", "Key": "large"}, "fresh", "copy")
    back = io.BytesIO()
    s3.download_fileobj("fresh", "copy", back)
    assert back.getvalue() == LARGE
    listed = s3.list_objects_v2(Bucket="fresh")["Contents"]
    assert [found["Key"] for found in listed] == ["a b/ü+&.txt", "copy", "large"]
    s3.delete_objects(Bucket="fresh", Delete={"Objects": [{"Key": one["Key"]} for one in listed]})
    s3.delete_bucket(Bucket="fresh")
    with pytest.raises(ClientError) as missing:
        s3.head_object(Bucket="fresh", Key="large")
    assert code(missing) == "404"


def test_caller_has_a_role_that_iam_knows(server: Server) -> None:
    caller = server.client("sts").get_caller_identity()
    assert caller["Arn"] == "arn:aws:sts::123456789012:assumed-role/Jobs/SageMaker"
    assert caller["Account"] == "123456789012"
    role = server.client("iam").get_role(RoleName="Jobs")["Role"]
    assert (role["Arn"], role["Path"]) == (ROLE, "/service-role/")
    assert "sts:AssumeRole" in str(role["AssumeRolePolicyDocument"])
    iam = server.client("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="Other")


@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("ssm", lambda client: client.get_parameter(Name="x")),
        ("sns", lambda client: client.list_topics()),
        ("ec2", lambda client: client.describe_instances()),
        ("iam", lambda client: client.list_users()),
        ("sagemaker", lambda client: client.list_domains()),
        ("bedrock-runtime", lambda client: client.invoke_model(modelId="x", body=b"{}")),
        ("cloudwatch", lambda client: client.put_metric_data(Namespace="x", MetricData=[])),
    ],
)
def test_unknown_operation_gets_an_error_that_boto3_understands(
    server: Server, service: str, call: Callable[[Any], Any]
) -> None:
    client = server.client(service)
    with pytest.raises(ClientError, match=r"not available on this machine|does not support") as no:
        call(client)
    assert code(no) in {"UnknownOperationException", "InvalidAction"}
    known = no.value.operation_name
    assert known in str(no.value)


def test_other_keys_and_changed_requests_are_rejected(server: Server) -> None:
    server.store.write("s3://bucket/x", b"secret")
    wrong = replace(server.keys, secret="x" * 40)
    other = replace(server.keys, access="LOCAL0000000000000000")
    for given, expected in ((wrong, "SignatureDoesNotMatch"), (other, "InvalidAccessKeyId")):
        for service in ("s3", "sts", "sagemaker"):
            client = server.client(service, given=given)
            calls = {"s3": "list_buckets", "sts": "get_caller_identity"}
            with pytest.raises(ClientError) as refused:
                getattr(client, calls.get(service, "list_models"))()
            assert code(refused) == expected
    unsigned = server.client("s3", signature_version=UNSIGNED)
    with pytest.raises(ClientError) as refused:
        unsigned.get_object(Bucket="bucket", Key="x")
    assert code(refused) == "AccessDenied"

    signed = server.headers("GET", "/bucket/x")
    assert server.send("GET", "/bucket/x", signed) == (200, "secret")
    for method, path, headers in (
        ("GET", "/bucket/y", signed),
        ("DELETE", "/bucket/x", signed),
        ("GET", "/bucket/x?partNumber=1", signed),
        ("GET", "/bucket/x", signed | {"x-amz-copy-source": "bucket/y"}),
        ("GET", "/bucket/x", signed | {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}),
        ("GET", "/bucket/x", {}),
        ("GET", "/bucket/x", {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}),
    ):
        status, text = server.send(method, path, headers)
        assert status == 403, (method, path)
        assert text.startswith("<?xml")
        assert "secret" not in text.replace("secret key", "")
    assert server.store.read("s3://bucket/x") == b"secret"


def test_old_requests_are_rejected(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for minutes in (-16, 16):
        then = datetime.now(UTC) + timedelta(minutes=minutes)
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda then=then: then)
        with pytest.raises(ClientError) as late:
            server.client("s3").list_buckets()
        assert code(late) == "RequestTimeTooSkewed"


@pytest.mark.parametrize("version", ["s3v4", None])
def test_presigned_url_works_until_it_expires(
    server: Server, version: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.store.write("s3://bucket/a b", b"1,2\n")
    s3 = server.client("s3", signature_version=version)

    def url(key: str, seconds: int) -> str:
        given = {"Bucket": "bucket", "Key": key}
        return str(s3.generate_presigned_url("get_object", given, ExpiresIn=seconds))

    assert urlopen(url("a b", 60)).read() == b"1,2\n"
    path = url("a b", 60).removeprefix(server.url)
    assert server.send("DELETE", path, {})[0] == 403
    assert server.send("GET", path.replace("a%20b", "b"), {})[0] == 403
    if version:
        then = datetime.now(UTC) - timedelta(seconds=90)
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: then)
    status, text = server.send(
        "GET", url("a b", 60 if version else -1).removeprefix(server.url), {}
    )
    assert (status, "expired" in text) == (403, True)


def test_body_that_is_not_the_signed_one_is_not_stored(server: Server) -> None:
    headers = server.headers("PUT", "/bucket/put", b"signed")
    status, text = server.send("PUT", "/bucket/put", headers, b"forged")
    assert (status, "XAmzContentSHA256Mismatch" in text) == (400, True)
    assert not server.store.exists("s3://bucket/put")
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        lines = [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Host: {parts.netloc}", "Content-Length: 6"]
        connection.sendall("\r\n".join(["PUT /bucket/put HTTP/1.1", *lines, "", "sig"]).encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    assert b"IncompleteBody" in answer
    assert not server.store.exists("s3://bucket/put")
    request = json.dumps({}).encode()
    signed = server.headers("POST", "/", request, "sagemaker", {"X-Amz-Target": "X.ListModels"})
    assert server.send("POST", "/", signed, request)[0] == 200
    assert server.send("POST", "/", signed, b'{"MaxResults":1}')[0] == 403


def test_chunks_with_a_trailing_checksum(server: Server) -> None:
    """As SDKs send them over HTTPS; the checksum of 'hello world' is 0d4a1185."""
    for checksum, expected in (("DUoRhQ==", 200), ("AAAAAA==", 400)):
        body = (
            b"5\r\nhello\r\n6\r\n world\r\n0\r\n"
            b"x-amz-checksum-crc32:" + checksum.encode() + b"\r\n\r\n"
        )
        more = {
            "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "Content-Encoding": "aws-chunked",
            "X-Amz-Trailer": "x-amz-checksum-crc32",
            "X-Amz-Decoded-Content-Length": "11",
        }
        request = AWSRequest("PUT", f"{server.url}/bucket/chunks-{expected}", more)
        auth = SigV4Auth(Credentials(server.keys.access, server.keys.secret), "s3", "eu-west-1")
        auth.add_auth(request)
        path = urlsplit(str(request.url)).path
        status, text = server.send("PUT", path, dict(request.headers), body)
        assert status == expected, text
    assert server.store.read("s3://bucket/chunks-200") == b"hello world"
    assert not server.store.exists("s3://bucket/chunks-400")


def test_signed_chunks() -> None:
    """The example of "Transferring Payload in Multiple Chunks" in the S3 API reference."""
    pair = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    credential = f"{pair.access}/20130524/us-east-1/s3/aws4_request"
    seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    claimed = Signature(credential, (), seed, "20130524T000000Z")
    first = "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
    second = "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
    last = "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"
    body = (
        f"10000;chunk-signature={first}\r\n{'a' * 65536}\r\n"
        f"400;chunk-signature={second}\r\n{'a' * 1024}\r\n"
        f"0;chunk-signature={last}\r\n\r\n"
    ).encode()

    def read(content: bytes) -> bytes:
        return chunks(io.BytesIO(content), {}, ChunkSignatures(pair, claimed)).read()

    assert read(body) == b"a" * 66560
    for forged in (body.replace(b"aaa", b"aba", 1), body.replace(last.encode(), seed.encode())):
        with pytest.raises(ApiError, match="signature of a chunk"):
            read(forged)
    with pytest.raises(ApiError, match="incomplete"):
        read(body[:-200])


def test_other_pages_are_rejected(server: Server) -> None:
    """A page of another server, and one that reaches this server under its own name."""
    server.store.write("s3://bucket/x", b"x")
    port = urlsplit(server.url).port
    for page in (
        {"Origin": "http://127.0.0.1:9"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": f"evil.example:{port}"},
        {"Host": f"localhost:{port}"},
    ):
        signed = server.headers("GET", "/bucket/x", more=page)
        status, text = server.send("GET", "/bucket/x", signed)
        assert (status, "AccessDenied" in text) == (403, True), page


@pytest.mark.parametrize("line", ["BREW / HTTP/1.1", "GET", "GET / HTTP/9.9", "\x16\x03\x01"])
def test_bad_request_is_never_answered_with_html(server: Server, line: str) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(f"{line}\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    assert b"<html" not in answer.lower()
    assert b"<Error>" in answer


def test_keys_belong_to_one_folder_and_one_user(tmp_path: Path) -> None:
    first, second = keys(tmp_path / "a"), keys(tmp_path / "b")
    assert first == keys(tmp_path / "a") != second
    assert stat.S_IMODE((tmp_path / "a" / FILE).stat().st_mode) == 0o600


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_other_user_cannot_use_the_server() -> None:
    with shared_folder() as folder:
        home = folder / "private" / "home"
        with running(home) as server:
            server.store.write("s3://bucket/x", b"secret")
            own = server.headers("GET", "/bucket/x")
            assert server.send("GET", "/bucket/x", own) == (200, "secret")

            def ask() -> list[int]:
                return [
                    server.send(method, "/bucket/x", {})[0] for method in ("GET", "PUT", "DELETE")
                ]

            assert as_other_user(ask) == [403, 403, 403]
            assert not as_other_user(lambda: os.access(home / FILE, os.R_OK))
            assert server.store.read("s3://bucket/x") == b"secret"


def test_content_is_streamed(server: Server) -> None:
    """Neither a large upload nor a range of a large object is held in memory."""
    import tracemalloc

    (server.home / "large").write_bytes(LARGE)
    s3 = server.client("s3")
    tracemalloc.start()
    with (server.home / "large").open("rb") as file:
        s3.put_object(Bucket="bucket", Key="large", Body=file)
    body = s3.get_object(Bucket="bucket", Key="large", Range="bytes=1-")["Body"]
    digest = hashlib.sha256()
    for block in iter(lambda: body.read(1 << 16), b""):
        digest.update(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert digest.digest() == hashlib.sha256(LARGE[1:]).digest()
    assert peak < len(LARGE) // 2
