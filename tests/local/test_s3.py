"""boto3's S3 client over a folder, without a request that leaves the process."""

from __future__ import annotations

import hashlib
import io
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.backends.local.store import FolderStore

BUCKET = "bucket"
CSV = b"1,2\n"


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalBackend:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the local backend opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return LocalBackend(tmp_path / "home", tmp_path)


@pytest.fixture
def s3(backend: LocalBackend) -> Any:
    return backend.client("s3")


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def keys(s3: Any, **arguments: Any) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, **arguments)
    return [item["Key"] for page in pages for item in page.get("Contents", ())]


def test_put_and_get(s3: Any, tmp_path: Path) -> None:
    put = s3.put_object(Bucket=BUCKET, Key="data/x.csv", Body=CSV)
    got = s3.get_object(Bucket=BUCKET, Key="data/x.csv")
    assert got["Body"].read() == CSV
    assert got["ETag"] == put["ETag"] == f'"{hashlib.md5(CSV).hexdigest()}"'
    assert got["ContentLength"] == 4
    assert got["ContentType"] == "text/csv"
    head = s3.head_object(Bucket=BUCKET, Key="data/x.csv")
    assert head["ContentLength"] == 4
    assert head["LastModified"] == got["LastModified"]
    assert (tmp_path / "home" / "s3" / BUCKET / "data" / "x.csv").read_bytes() == CSV


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"", b""), ("text", b"text"), (io.BytesIO(b"stream"), b"stream")],
    ids=["empty", "text", "stream"],
)
def test_kinds_of_bodies(s3: Any, body: Any, expected: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key="x", Body=body)
    assert s3.get_object(Bucket=BUCKET, Key="x")["Body"].read() == expected


@pytest.mark.parametrize(
    "key",
    ["a b/c+d.csv", "ünï/日本.csv", "a//b", "a/", "/a", "100%25", "q?x#y&z=1", "a=b;c,d", "~*'"],
)
def test_keys_are_unchanged(s3: Any, key: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode()
    assert keys(s3) == [key]
    assert [item["Key"] for item in s3.list_objects(Bucket=BUCKET)["Contents"]] == [key]
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": key})
    assert s3.get_object(Bucket=BUCKET, Key="copy")["Body"].read() == key.encode()
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key}, {"Key": "copy"}]})
    assert keys(s3) == []


def test_missing_objects_and_buckets_have_s3_error_codes(s3: Any) -> None:
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.get_object(Bucket=BUCKET, Key="x")
    with pytest.raises(ClientError) as head:
        s3.head_bucket(Bucket=BUCKET)
    assert code(head) == "404"
    s3.create_bucket(Bucket=BUCKET)
    s3.head_bucket(Bucket=BUCKET)
    with pytest.raises(s3.exceptions.NoSuchKey, match="no such object"):
        s3.get_object(Bucket=BUCKET, Key="x")
    with pytest.raises(ClientError) as head:
        s3.head_object(Bucket=BUCKET, Key="x")
    assert code(head) == "404"
    s3.delete_object(Bucket=BUCKET, Key="x")


@pytest.mark.parametrize(
    ("header", "expected", "content_range"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=8-", b"89", "bytes 8-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
    ],
)
def test_ranges(s3: Any, header: str, expected: bytes, content_range: str) -> None:
    s3.put_object(Bucket=BUCKET, Key="x", Body=b"0123456789")
    got = s3.get_object(Bucket=BUCKET, Key="x", Range=header)
    assert got["Body"].read() == expected
    assert got["ContentRange"] == content_range
    with pytest.raises(ClientError) as beyond:
        s3.get_object(Bucket=BUCKET, Key="x", Range="bytes=10-")
    assert code(beyond) == "InvalidRange"


def test_large_files_are_transferred_in_parts(s3: Any, tmp_path: Path) -> None:
    content = os.urandom(1 << 20) * 20
    (tmp_path / "large").write_bytes(content)
    s3.upload_file(str(tmp_path / "large"), BUCKET, "models/large")
    s3.download_file(BUCKET, "models/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == content
    s3.copy({"Bucket": BUCKET, "Key": "models/large"}, BUCKET, "copy")
    assert s3.head_object(Bucket=BUCKET, Key="copy")["ContentLength"] == len(content)
    assert keys(s3) == ["copy", "models/large"]
    assert not list((tmp_path / "home" / "s3" / ".uploads").iterdir())


def test_incomplete_upload_leaves_no_object(s3: Any) -> None:
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="x")["UploadId"]
    named = {"Bucket": BUCKET, "Key": "x", "UploadId": upload}
    part = s3.upload_part(**named, PartNumber=1, Body=b"a")
    missing = [{"PartNumber": 1, "ETag": part["ETag"]}, {"PartNumber": 2, "ETag": part["ETag"]}]
    with pytest.raises(ClientError) as incomplete:
        s3.complete_multipart_upload(**named, MultipartUpload={"Parts": missing})
    assert code(incomplete) == "InvalidPart"
    s3.abort_multipart_upload(**named)
    with pytest.raises(ClientError) as gone:
        s3.upload_part(**named, PartNumber=1, Body=b"a")
    assert code(gone) == "NoSuchUpload"
    with pytest.raises(ClientError) as forged:
        s3.upload_part(**named | {"UploadId": "../../etc"}, PartNumber=1, Body=b"a")
    assert code(forged) == "NoSuchUpload"


def test_listing_with_pages_and_delimiter(s3: Any) -> None:
    names = ["a/1", "a/2", "b", "c/d/1", "c/2", "e"]
    for name in names:
        s3.put_object(Bucket=BUCKET, Key=name, Body=b"x")
    assert keys(s3, PaginationConfig={"PageSize": 2}) == sorted(names)
    assert keys(s3, Prefix="a/") == ["a/1", "a/2"]
    assert keys(s3, StartAfter="b") == ["c/2", "c/d/1", "e"]
    found: list[str] = []
    for method in ("list_objects_v2", "list_objects"):
        found = []
        for page in s3.get_paginator(method).paginate(
            Bucket=BUCKET, Delimiter="/", PaginationConfig={"PageSize": 1}
        ):
            found += [item["Key"] for item in page.get("Contents", ())]
            found += [item["Prefix"] for item in page.get("CommonPrefixes", ())]
        assert found == ["a/", "b", "c/", "e"]


def test_listing_leaves_out_objects_deleted_meanwhile(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a", "b", "c"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"1")
    found = FolderStore.list

    def list_and_delete(store: FolderStore, prefix: str) -> Any:
        listed = found(store, prefix)
        store.delete("s3://bucket/b")
        return listed

    monkeypatch.setattr(FolderStore, "list", list_and_delete)
    assert keys(s3) == ["a", "c"]


def test_buckets(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="x", Body=b"")
    s3.create_bucket(Bucket="another")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["another", BUCKET]
    assert "Status" not in s3.get_bucket_versioning(Bucket=BUCKET)
    assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] is None
    with pytest.raises(ClientError) as full:
        s3.delete_bucket(Bucket=BUCKET)
    assert code(full) == "BucketNotEmpty"
    s3.delete_bucket(Bucket="another")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET]


def test_etag_depends_on_the_content(s3: Any) -> None:
    first = s3.put_object(Bucket=BUCKET, Key="x", Body=b"first")["ETag"]
    s3.get_object(Bucket=BUCKET, Key="x", IfMatch=first)["Body"].close()
    s3.put_object(Bucket=BUCKET, Key="x", Body=b"other")
    with pytest.raises(ClientError) as changed:
        s3.get_object(Bucket=BUCKET, Key="x", IfMatch=first)
    assert code(changed) == "PreconditionFailed"


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "a/./b"])
def test_key_outside_its_bucket_is_rejected(s3: Any, key: str) -> None:
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"")
    assert code(refused) == "InvalidURI"


def test_unsupported_features_are_rejected(s3: Any) -> None:
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=BUCKET, Key="x", Body=b"", Metadata={"a": "b"})
    assert code(refused) == "NotImplemented"
    with pytest.raises(ClientError) as refused:
        s3.get_bucket_acl(Bucket=BUCKET)
    assert code(refused) == "NotImplemented"


def test_second_conditional_write_fails(s3: Any) -> None:
    first = s3.put_object(Bucket=BUCKET, Key="x", Body=b"1", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"0"'}):
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=BUCKET, Key="x", Body=b"2", **condition)
        assert code(refused) == "PreconditionFailed"
    with pytest.raises(ClientError):
        s3.put_object(Bucket=BUCKET, Key="y", Body=b"2", IfMatch=first)
    s3.put_object(Bucket=BUCKET, Key="x", Body=b"3", IfMatch=first)
    assert s3.get_object(Bucket=BUCKET, Key="x")["Body"].read() == b"3"


def test_unwritable_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "s3").write_text("a file where the folder should be")
    s3 = LocalBackend(tmp_path, tmp_path).client("s3")
    with pytest.raises(ClientError, match=rf"s3://bucket/x: .*{tmp_path}/s3/bucket/x"):
        s3.put_object(Bucket=BUCKET, Key="x", Body=b"")
