"""The S3 hook of the Amazon provider for Airflow, implemented with boto3."""

from __future__ import annotations

import fnmatch
import gzip as gz
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from sagebridge_operators.prefect.airflow_names.aws_hooks import AwsGenericHook
from sagebridge_operators.prefect.airflow_names.exceptions import AirflowException

_KEYS_PER_REQUEST = 1000
"""The most keys in one DeleteObjects request."""


class S3Hook(AwsGenericHook):
    """Amazon S3. A key may be an ``s3://`` URI; then no bucket is given."""

    def __init__(
        self,
        aws_conn_id: str | None = "aws_default",
        transfer_config_args: Mapping[str, Any] | None = None,
        extra_args: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self._extra_args = dict(extra_args or {})
        super().__init__(aws_conn_id, **{**more, "client_type": "s3"})

    @property
    def extra_args(self) -> dict[str, Any]:
        """The arguments of every upload."""
        return dict(self._extra_args)

    @staticmethod
    def parse_s3_url(s3url: str) -> tuple[str, str]:
        """The bucket and key of an ``s3://`` URI."""
        parts = urlsplit(s3url)
        if parts.scheme not in ("s3", "s3a", "s3n") or not parts.netloc:
            raise AirflowException(f'Please provide a bucket name using a valid format: "{s3url}"')
        return parts.netloc, s3url.split(f"{parts.netloc}/", 1)[-1] if parts.path[1:] else ""

    @staticmethod
    def get_s3_bucket_key(
        bucket: str | None, key: str, bucket_param_name: str, key_param_name: str
    ) -> tuple[str, str]:
        """The bucket and key; the key may be a URI. Raises TypeError for a URI and a bucket."""
        if bucket is None:
            return S3Hook.parse_s3_url(key)
        if urlsplit(key).scheme or urlsplit(key).netloc:
            raise TypeError(
                f"If `{bucket_param_name}` is provided, {key_param_name} should be a relative path "
                "from root level, rather than a full s3:// url"
            )
        return bucket, key

    def _place(self, key: str, bucket: str | None) -> tuple[str, str]:
        return self.get_s3_bucket_key(self._bucket(bucket, key), key, "bucket_name", "key")

    def _bucket(self, name: str | None, key: str = "") -> str | None:
        if name or "://" in key:
            return name
        found = self._block_service().get("bucket_name")
        return found or name

    def _block_service(self) -> dict[str, Any]:
        """The ``service_config`` of the connection for S3, which may have a default bucket."""
        try:
            extra = self.get_connection(self.aws_conn_id or "").extra_dejson
        except AirflowException:
            return {}
        found: dict[str, Any] = extra.get("service_config", {}).get("s3", {})
        return found

    @property
    def resource(self) -> Any:
        """The boto3 resource."""
        return self.get_session().resource("s3", **self._options(None))

    def check_for_bucket(self, bucket_name: str | None = None) -> bool:
        """Whether the bucket exists."""
        try:
            self.conn.head_bucket(Bucket=self._bucket(bucket_name))
        except self.conn.exceptions.ClientError:
            return False
        return True

    def get_bucket(self, bucket_name: str | None = None) -> Any:
        """The boto3 Bucket."""
        return self.resource.Bucket(self._bucket(bucket_name))

    def create_bucket(self, bucket_name: str | None = None, region_name: str | None = None) -> None:
        """Creates a bucket."""
        region = region_name or self.conn.meta.region_name
        more: dict[str, Any] = {}
        if region and region not in ("us-east-1", "aws-global"):
            more["CreateBucketConfiguration"] = {"LocationConstraint": region}
        self.conn.create_bucket(Bucket=self._bucket(bucket_name), **more)

    def delete_bucket(
        self, bucket_name: str, force_delete: bool = False, max_retries: int = 5
    ) -> None:
        """Deletes a bucket; with ``force_delete`` its objects first."""
        if force_delete and (keys := self.list_keys(bucket_name)):
            self.delete_objects(bucket_name, keys)
        self.conn.delete_bucket(Bucket=bucket_name)

    def _pages(self, bucket: str | None, limits: Mapping[str, Any], **more: Any) -> Iterator[Any]:
        config = {"PageSize": limits.get("page_size"), "MaxItems": limits.get("max_items")}
        pages = self.conn.get_paginator("list_objects_v2")
        yield from pages.paginate(Bucket=self._bucket(bucket), PaginationConfig=config, **more)

    def check_for_prefix(self, prefix: str, delimiter: str, bucket_name: str | None = None) -> bool:
        """Whether a prefix exists."""
        whole = prefix if prefix.endswith(delimiter) else prefix + delimiter
        above = re.split(rf"(\w+[{delimiter}])$", whole, maxsplit=1)[0]
        return whole in self.list_prefixes(bucket_name, above, delimiter)

    def list_prefixes(
        self,
        bucket_name: str | None = None,
        prefix: str | None = None,
        delimiter: str | None = None,
        page_size: int | None = None,
        max_items: int | None = None,
    ) -> list[str]:
        """The prefixes directly under a prefix."""
        limits = {"page_size": page_size, "max_items": max_items}
        asked = {"Prefix": prefix or "", "Delimiter": delimiter or ""}
        pages = self._pages(bucket_name, limits, **asked)
        return [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ())]

    def list_keys(
        self,
        bucket_name: str | None = None,
        prefix: str | None = None,
        delimiter: str | None = None,
        page_size: int | None = None,
        max_items: int | None = None,
        start_after_key: str | None = None,
        from_datetime: datetime | None = None,
        to_datetime: datetime | None = None,
        object_filter: Callable[..., list[Any]] | None = None,
        apply_wildcard: bool = False,
    ) -> list[Any]:
        """The keys under a prefix."""
        wanted = prefix or ""
        wild = apply_wildcard and "*" in wanted
        limits = {"page_size": page_size, "max_items": max_items}
        asked = {
            "Prefix": wanted.split("*", 1)[0] if wild else wanted,
            "Delimiter": delimiter or "",
            "StartAfter": start_after_key or "",
        }
        pages = self._pages(bucket_name, limits, **asked)
        found = [one for page in pages for one in page.get("Contents", ())]
        if wild:
            found = [one for one in found if fnmatch.fnmatch(one["Key"], wanted)]
        if object_filter is not None:
            return object_filter(found, from_datetime, to_datetime)
        return [
            one["Key"]
            for one in found
            if (from_datetime is None or one["LastModified"] >= from_datetime)
            and (to_datetime is None or one["LastModified"] <= to_datetime)
        ]

    def iter_file_metadata(
        self,
        prefix: str,
        bucket_name: str | None = None,
        page_size: int | None = None,
        max_items: int | None = None,
    ) -> Iterator[Any]:
        """The metadata of the objects under a prefix."""
        limits = {"page_size": page_size, "max_items": max_items}
        for page in self._pages(bucket_name, limits, Prefix=prefix):
            yield from page.get("Contents", ())

    def get_file_metadata(self, prefix: str, *args: Any, **more: Any) -> list[Any]:
        """The same as :meth:`iter_file_metadata`, as a list."""
        return list(self.iter_file_metadata(prefix, *args, **more))

    def head_object(self, key: str, bucket_name: str | None = None) -> Any:
        """The metadata of an object; None if it does not exist."""
        bucket, key = self._place(key, bucket_name)
        try:
            return self.conn.head_object(Bucket=bucket, Key=key)
        except self.conn.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def check_for_key(self, key: str, bucket_name: str | None = None) -> bool:
        """Whether an object exists."""
        return self.head_object(key, bucket_name) is not None

    def get_key(self, key: str, bucket_name: str | None = None) -> Any:
        """The boto3 Object, which must exist."""
        bucket, key = self._place(key, bucket_name)
        found = self.resource.Object(bucket, key)
        found.load()
        return found

    def read_key(self, key: str, bucket_name: str | None = None) -> str:
        """The content of an object, as text."""
        text: str = self.get_key(key, bucket_name).get()["Body"].read().decode("utf-8")
        return text

    def check_for_wildcard_key(
        self, wildcard_key: str, bucket_name: str | None = None, delimiter: str = ""
    ) -> bool:
        """Whether an object matches a pattern."""
        return self.get_wildcard_key(wildcard_key, bucket_name, delimiter) is not None

    def get_wildcard_key(
        self, wildcard_key: str, bucket_name: str | None = None, delimiter: str = ""
    ) -> Any:
        """The first object that matches a pattern; None if no object does."""
        bucket, pattern = self._place(wildcard_key, bucket_name)
        prefix = re.split(r"[\[*?]", pattern, maxsplit=1)[0]
        keys = self.list_keys(bucket, prefix=prefix, delimiter=delimiter)
        found = [key for key in keys if fnmatch.fnmatch(key, pattern)]
        return self.get_key(found[0], bucket) if found else None

    def load_file(
        self,
        filename: Path | str,
        key: str,
        bucket_name: str | None = None,
        replace: bool = False,
        encrypt: bool = False,
        gzip: bool = False,
        acl_policy: str | None = None,
    ) -> None:
        """Uploads a file."""
        path = Path(filename)
        if gzip:
            packed = path.with_name(f"{path.name}.gz")
            with path.open("rb") as source, gz.open(packed, "wb") as target:
                shutil.copyfileobj(source, target)
            path = packed
        with path.open("rb") as file:
            self.load_file_obj(file, key, bucket_name, replace, encrypt, acl_policy)

    def load_string(
        self,
        string_data: str,
        key: str,
        bucket_name: str | None = None,
        replace: bool = False,
        encrypt: bool = False,
        encoding: str | None = None,
        acl_policy: str | None = None,
        compression: str | None = None,
    ) -> None:
        """Uploads a string."""
        if compression not in (None, "gzip"):
            raise NotImplementedError(f"Received {compression} compression type.")
        data = string_data.encode(encoding or "utf-8")
        data = gz.compress(data) if compression else data
        self.load_bytes(data, key, bucket_name, replace, encrypt, acl_policy)

    def load_bytes(
        self,
        bytes_data: bytes,
        key: str,
        bucket_name: str | None = None,
        replace: bool = False,
        encrypt: bool = False,
        acl_policy: str | None = None,
    ) -> None:
        """Uploads bytes."""
        self.load_file_obj(BytesIO(bytes_data), key, bucket_name, replace, encrypt, acl_policy)

    def load_file_obj(
        self,
        file_obj: Any,
        key: str,
        bucket_name: str | None = None,
        replace: bool = False,
        encrypt: bool = False,
        acl_policy: str | None = None,
    ) -> None:
        """Uploads an open file. Raises ValueError if the key exists and ``replace`` is not set."""
        bucket, key = self._place(key, bucket_name)
        if not replace and self.check_for_key(key, bucket):
            raise ValueError(f"The key {key} already exists.")
        extra = self.extra_args
        if encrypt:
            extra["ServerSideEncryption"] = "AES256"
        if acl_policy:
            extra["ACL"] = acl_policy
        self.conn.upload_fileobj(file_obj, bucket, key, ExtraArgs=extra)

    def copy_object(
        self,
        source_bucket_key: str,
        dest_bucket_key: str,
        source_bucket_name: str | None = None,
        dest_bucket_name: str | None = None,
        source_version_id: str | None = None,
        acl_policy: str | None = None,
        meta_data_directive: str | None = None,
        **more: Any,
    ) -> Any:
        """Copies an object."""
        names = "dest_bucket_name", "dest_bucket_key"
        bucket, key = self.get_s3_bucket_key(dest_bucket_name, dest_bucket_key, *names)
        names = "source_bucket_name", "source_bucket_key"
        source = self.get_s3_bucket_key(source_bucket_name, source_bucket_key, *names)
        copied = {"Bucket": source[0], "Key": source[1]}
        if source_version_id:
            copied["VersionId"] = source_version_id
        if (policy := acl_policy or "private") != "no-acl":
            more["ACL"] = policy
        if meta_data_directive:
            more["MetadataDirective"] = meta_data_directive
        return self.conn.copy_object(Bucket=bucket, Key=key, CopySource=copied, **more)

    def delete_objects(self, bucket: str, keys: str | list[str]) -> None:
        """Deletes objects."""
        listed = [keys] if isinstance(keys, str) else keys
        for start in range(0, len(listed), _KEYS_PER_REQUEST):
            part = [{"Key": key} for key in listed[start : start + _KEYS_PER_REQUEST]]
            answer = self.conn.delete_objects(Bucket=bucket, Delete={"Objects": part})
            if errors := [one["Key"] for one in answer.get("Errors", ())]:
                raise AirflowException(f"Errors when deleting: {errors}")

    def download_file(
        self,
        key: str,
        bucket_name: str | None = None,
        local_path: str | None = None,
        preserve_file_name: bool = False,
        use_autogenerated_subdir: bool = True,
    ) -> str:
        """Downloads an object; returns the path of the file."""
        found = self.get_key(key, bucket_name)
        folder = Path(local_path or tempfile.gettempdir())
        if preserve_file_name:
            if use_autogenerated_subdir:
                folder /= f"airflow_tmp_dir_{uuid4().hex[:8]}"
            folder.mkdir(exist_ok=True, parents=True)
            path = folder / found.key.rsplit("/", 1)[-1]
            if path.is_file():
                raise FileExistsError(str(path))
        else:
            descriptor, name = tempfile.mkstemp(dir=local_path, prefix="airflow_tmp_")
            os.close(descriptor)
            path = Path(name)
        with path.open("wb") as file:
            found.download_fileobj(file)
        return str(path)

    def generate_presigned_url(
        self,
        client_method: str,
        params: Mapping[str, Any] | None = None,
        expires_in: int = 3600,
        http_method: str | None = None,
    ) -> Any:
        """A presigned URL for a call."""
        return self.conn.generate_presigned_url(
            ClientMethod=client_method,
            Params=params,
            ExpiresIn=expires_in,
            HttpMethod=http_method,
        )
