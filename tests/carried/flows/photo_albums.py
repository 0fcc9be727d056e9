"""Thumbnails of photo albums: a subflow for each album, mapped tasks in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePosixPath

import boto3
from prefect import flow, tags, task, unmapped

BUCKET = "photos"
SIZES = {"small": 4, "large": 8}


@dataclass(frozen=True)
class Album:
    name: str
    year: int

    @property
    def prefix(self) -> str:
        return f"{self.year}/{self.name}/"


ALBUMS = [Album("harbour", 2024), Album("garden", 2025)]


@task(tags=["s3"])
def list_photos(prefix: str) -> list[str]:
    found = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return sorted(item["Key"] for item in found.get("Contents", []))


@task(retries=1, timeout_seconds=60)
def thumbnail(key: str, size: int, suffix: str) -> str:
    """A made-up thumbnail: the first characters of the photo's digest."""
    s3 = boto3.client("s3")
    body = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    path = PurePosixPath("thumbs") / PurePosixPath(key).with_suffix(suffix)
    digest = hashlib.sha256(body).hexdigest()[:size]
    s3.put_object(Bucket=BUCKET, Key=str(path), Body=digest.encode())
    return str(path)


@task
def contact_sheet(thumbs: list[str], title: str) -> dict:
    return {"title": title.title(), "count": len(thumbs), "first": thumbs[0]}


@task
def empty_album(name: str) -> dict:
    return {"title": name, "count": 0, "first": None}


@task
def index(sheets: list[dict]) -> int:
    body = json.dumps(sheets).encode()
    boto3.client("s3").put_object(Bucket=BUCKET, Key="index.json", Body=body)
    return sum(sheet["count"] for sheet in sheets)


@flow(name="album")
def album(name: str, prefix: str, size: int) -> dict:
    keys = list_photos(prefix)
    if len(keys) == 0:
        return empty_album(name)
    thumbs = thumbnail.map(keys, size=size, suffix=unmapped(".thumb"))
    return contact_sheet(thumbs, name)


@flow(name="photo-albums")
def photo_albums(size: str = "small") -> int:
    """Number of thumbnails of all albums."""
    sheets = []
    for one in ALBUMS:
        with tags(one.name):
            sheets.append(album(one.name, one.prefix, SIZES[size]))
    return index(sheets)


if __name__ == "__main__":
    photo_albums()
