"""The folder store: objects are files, writes are atomic, keys stay inside their bucket."""

from __future__ import annotations

import errno
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagebridge_operators.backends.local.store import FolderStore
from sagebridge_operators.run_errors import BadUri, ObjectNotFound, StoreError


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "s3", tmp_path / "base")


def uris(store: FolderStore, prefix: str) -> list[str]:
    return [stored.uri for stored in store.list(prefix)]


def test_object_is_a_file_at_the_obvious_path(store: FolderStore) -> None:
    store.write("s3://bucket/data/train.csv", b"1,2\n")
    assert (store.root / "bucket" / "data" / "train.csv").read_bytes() == b"1,2\n"
    assert store.read("s3://bucket/data/train.csv") == b"1,2\n"


@pytest.mark.parametrize(
    "key",
    ["a b/c+d.csv", "ünï/日本.csv", "a//b", "a/", "/a", "100%", "a/%/b", "a/%%", "q?x#y"],
)
def test_keys_are_unchanged(store: FolderStore, key: str) -> None:
    uri = f"s3://bucket/{key}"
    store.write(uri, key.encode())
    assert store.read(uri) == key.encode()
    assert uris(store, "s3://bucket/") == [uri]


def test_keys_do_not_share_files(store: FolderStore) -> None:
    keys = ["a//b", "a/%/b", "a/%%/b", "b/", "b/%", "b/%25"]
    for key in keys:
        store.write(f"s3://bucket/{key}", key.encode())
    assert [store.read(f"s3://bucket/{key}").decode() for key in keys] == keys


def test_prefix_is_a_string_as_in_s3(store: FolderStore) -> None:
    for key in ("data/a.csv", "data/b/c.csv", "database.csv", "other/data.csv"):
        store.write(f"s3://bucket/{key}", b"x")
    assert uris(store, "s3://bucket/data") == [
        "s3://bucket/data/a.csv",
        "s3://bucket/data/b/c.csv",
        "s3://bucket/database.csv",
    ]
    assert uris(store, "s3://bucket/data/") == [
        "s3://bucket/data/a.csv",
        "s3://bucket/data/b/c.csv",
    ]
    assert uris(store, "s3://bucket/none") == uris(store, "s3://absent/") == []


def test_list_is_sorted_by_key(store: FolderStore) -> None:
    for key in ("a/b", "a-b", "a.b", "B"):
        store.write(f"s3://bucket/{key}", b"")
    assert uris(store, "s3://bucket") == [
        f"s3://bucket/{key}" for key in ("B", "a-b", "a.b", "a/b")
    ]


def test_file_uris_and_paths(store: FolderStore, tmp_path: Path) -> None:
    store.write(f"file://{tmp_path}/a%20b/x.csv", b"1")
    assert (tmp_path / "a b" / "x.csv").read_bytes() == b"1"
    store.write("out/y.csv", b"2")
    assert (tmp_path / "base" / "out" / "y.csv").read_bytes() == b"2"
    assert store.read(str(tmp_path / "a b" / "x.csv")) == b"1"
    assert uris(store, f"file://{tmp_path}/a%20b") == [f"file://{tmp_path}/a%20b/x.csv"]
    assert uris(store, "out") == uris(store, "out/") == ["out/y.csv"]
    assert uris(store, "out/y") == ["out/y.csv"]


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/../../etc/passwd",
        "s3://bucket/a/../b",
        "s3://bucket/./a",
        "s3://../a",
        "s3://",
        "s3:///a",
        "s3://bucket/a\0b",
        "https://example.org/x",
        "file://elsewhere/x",
        "",
    ],
)
def test_invalid_uri_is_rejected(store: FolderStore, uri: str) -> None:
    with pytest.raises(BadUri) as caught:
        store.write(uri, b"")
    assert caught.value.uri == uri


def test_link_outside_the_store_is_ignored(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    store.write("s3://bucket/a", b"")
    (store.root / "bucket" / "link").symlink_to(tmp_path / "secret")
    (store.root / "bucket" / "folder").symlink_to(tmp_path)
    (store.root / "bucket" / "loop").symlink_to("loop")
    (store.root / "bucket" / "dangling").symlink_to("nowhere")
    for key in ("link", "folder/secret", "loop"):
        with pytest.raises(BadUri, match="points outside the store"):
            store.read(f"s3://bucket/{key}")
    assert uris(store, "s3://bucket/") == ["s3://bucket/a"]


@given(key=st.text(min_size=1, max_size=30))
def test_key_outside_its_bucket_is_rejected(
    tmp_path_factory: pytest.TempPathFactory, key: str
) -> None:
    store = FolderStore(tmp_path_factory.getbasetemp() / "keys", Path())
    try:
        path = store.path_of(f"s3://bucket/{key}")
    except (BadUri, UnicodeEncodeError):
        return
    assert Path(os.path.normpath(path)).is_relative_to(store.root / "bucket")


def test_missing_object_names_uri_and_path(store: FolderStore) -> None:
    with pytest.raises(ObjectNotFound) as caught:
        store.read("s3://bucket/data/none.csv")
    assert "s3://bucket/data/none.csv: no such object" in str(caught.value)
    assert str(store.root / "bucket" / "data" / "none.csv") in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_key_below_another_object_is_rejected(store: FolderStore) -> None:
    store.write("s3://bucket/a", b"")
    with pytest.raises(StoreError, match="is a parent folder of this key"):
        store.write("s3://bucket/a/b", b"")
    store.write("s3://bucket/c/d", b"")
    with pytest.raises(StoreError, match="so it is a folder"):
        store.write("s3://bucket/c", b"")


def test_delete_removes_empty_folders(store: FolderStore) -> None:
    store.write("s3://bucket/a/b/c", b"")
    store.delete("s3://bucket/a/b/c")
    store.delete("s3://bucket/a/b/c")
    store.write("s3://bucket/a", b"")
    assert uris(store, "s3://bucket/") == ["s3://bucket/a"]
    store.delete("s3://bucket/a")
    assert (store.root / "bucket").is_dir()


def test_full_disk_keeps_the_old_object(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.write("s3://bucket/model", b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copyfileobj", full)
    (tmp_path / "new").write_bytes(b"new")
    with pytest.raises(StoreError, match=r"s3://bucket/model: the disk is full"):
        store.put(tmp_path / "new", "s3://bucket/model")
    assert store.read("s3://bucket/model") == b"old"
    assert [path.name for path in (store.root / "bucket").iterdir()] == ["model"]


def test_unwritable_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "s3").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=str(tmp_path / "s3")):
        FolderStore(tmp_path / "s3", tmp_path).write("s3://bucket/a", b"")


def test_readers_never_see_a_partial_object(store: FolderStore) -> None:
    contents = [bytes([letter]) * 300_000 for letter in b"abcd"]
    store.write("s3://bucket/x", contents[0])

    def use(number: int) -> bool:
        store.write("s3://bucket/x", contents[number % 4])
        return store.read("s3://bucket/x") in contents and len(store.list("s3://bucket/")) == 1

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(80)))


def test_parallel_writes_and_deletes_in_one_folder(store: FolderStore) -> None:
    def use(number: int) -> None:
        uri = f"s3://bucket/a/b/{number}"
        store.write(uri, b"")
        store.delete(uri)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(200)))
    assert uris(store, "s3://bucket/") == []


def test_put_and_fetch_files(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    store.put(tmp_path / "x", "s3://bucket/x")
    store.fetch("s3://bucket/x", tmp_path / "new" / "y")
    assert (tmp_path / "new" / "y").read_bytes() == b"content"
    with pytest.raises(StoreError, match="No such file"):
        store.put(tmp_path / "none", "s3://bucket/z")
    assert not store.exists("s3://bucket/z")


@pytest.mark.parametrize("host", ["s3", "s3.eu-west-1", "s3-eu-west-1"])
def test_https_url_of_an_object_is_its_uri(store: FolderStore, host: str) -> None:
    store.write("s3://my-bucket/a b/model.tar.gz", b"model")
    url = f"https://my-bucket.{host}.amazonaws.com/a%20b/model.tar.gz"
    assert store.read(url) == b"model"
    assert uris(store, url) == ["s3://my-bucket/a b/model.tar.gz"]
