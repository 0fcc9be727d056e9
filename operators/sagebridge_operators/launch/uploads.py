"""Uploads of local files to S3 or the local store before a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sagebridge.errors import UsageError
from sagebridge_operators.run_errors import StoreError

_FORM = "expected LOCAL=s3://bucket/key"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file or folder and its target.

    If ``uri`` ends in a slash or has no key, a file keeps its name below it.
    """

    local: Path
    uri: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``LOCAL=S3URI``. Raises UsageError for a wrong format or a missing file."""
        local, equals, rest = text.partition("=s3://")
        if not equals or not local or not rest.partition("/")[0]:
            raise UsageError(f"--upload {text}: {_FORM}")
        path = Path(local)
        if not path.exists():
            raise UsageError(f"--upload {text}: {path.absolute()} does not exist")
        if not path.is_file() and not path.is_dir():  # reading a FIFO or device may never end
            raise UsageError(f"--upload {text}: {path.absolute()} is not a regular file or folder")
        return cls(path, f"s3://{rest}")

    def send(self, s3: Any) -> None:
        """Upload every file with a boto3 S3 client. Raises StoreError."""
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import ClientError

        for path, uri in self._files():
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            try:
                s3.upload_file(str(path), bucket, key)
            except (ClientError, S3UploadFailedError, OSError) as error:
                raise StoreError(uri, f"upload of {path}", str(error)) from error

    def _files(self) -> Iterator[tuple[Path, str]]:
        if not self.local.is_dir():
            below = not self.uri.partition("://")[2].partition("/")[2] or self.uri.endswith("/")
            folder = f"{self.uri.rstrip('/')}/"
            yield self.local, f"{folder}{self.local.name}" if below else self.uri
            return
        for path in sorted(self.local.rglob("*")):
            if path.is_file():
                yield path, f"{self.uri.rstrip('/')}/{path.relative_to(self.local).as_posix()}"
