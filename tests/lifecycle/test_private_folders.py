"""The working folder belongs to one user; no other user can read or plant anything in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagebridge_operators.backends import open_records
from sagebridge_operators.backends.local import LocalBackend
from sagebridge_operators.backends.local.store import FolderStore
from sagebridge_operators.launch.workdir import Workdir
from sagebridge_operators.lifecycle.objects import Folder
from sagebridge_operators.lifecycle.private_folders import make_private, restrict
from sagebridge_operators.run_errors import WorkdirUnusable
from tests.other_user import (
    IS_ROOT,
    OTHER_UID,
    OTHER_USER,
    as_other_user,
    readable_files,
    shared_folder,
)


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def shared() -> Iterator[Path]:
    with shared_folder() as folder:
        yield folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def use(home: Path, records: Path | None = None) -> None:
    """Write an object, a record and a model, as a run does."""
    backend = LocalBackend(home, home.parent)
    s3 = backend.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="deep/key", Body=b"secret")
    image = {"Image": "i", "Environment": {"TOKEN": "secret"}}
    role = "arn:aws:iam::111122223333:role/r"
    backend.client("sagemaker").create_model(
        ModelName="m", PrimaryContainer=image, ExecutionRoleArn=role
    )
    Folder(records or home / "executions").put("id/execution.json", {"token": "secret"})


def test_new_folders_are_private(tmp_path: Path) -> None:
    home = tmp_path / "new" / ".sagebridge"

    use(home)

    folders = [home.parent, home, *(home / name for name in ("s3", "executions", "executions/id"))]
    assert [mode(folder) for folder in folders] == [0o700] * 5
    assert mode(tmp_path / "new") == 0o700


def test_objects_outside_the_store_keep_usual_modes(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "home", tmp_path)
    FolderStore(backend.home / "s3", tmp_path).write(str(tmp_path / "results" / "r.csv"), b"1")

    assert mode(tmp_path / "results") == 0o755
    assert mode(tmp_path / "results" / "r.csv") == 0o644


@pytest.mark.parametrize("before", [0o755, 0o777, 0o750, 0o2775])
def test_existing_folder_is_restricted(tmp_path: Path, before: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(before)

    LocalBackend(home, tmp_path)

    assert mode(home) & 0o777 == 0o700


def test_command_restricts_the_folder_for_every_backend(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)

    Workdir("aws", home, tmp_path, "s3://bucket/records").check_writable()

    assert mode(home) == 0o700


def test_records_restrict_the_folder_they_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    monkeypatch.setenv("SAGEBRIDGE_HOME", str(home))
    monkeypatch.delenv("SAGEBRIDGE_RECORDS", raising=False)

    open_records(LocalBackend(tmp_path / "other", tmp_path))

    assert mode(home) == 0o700


def test_own_records_folder_elsewhere_keeps_its_mode(tmp_path: Path) -> None:
    records = tmp_path / "team"
    records.mkdir(mode=0o755)

    use(tmp_path / "home", records)

    assert mode(records) == 0o755
    assert mode(records / "id") == 0o700


def test_link_of_the_same_user_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "home").symlink_to(tmp_path / "disk")

    restrict(tmp_path / "home")

    assert mode(tmp_path / "disk") == 0o700


def test_existing_parents_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)

    make_private(tmp_path / "a" / "b" / "c")

    assert mode(tmp_path / "a" / "b") == 0o700
    assert mode(tmp_path / "a") == 0o755


def test_missing_folder_is_not_created(tmp_path: Path) -> None:
    LocalBackend(tmp_path / "home", tmp_path)

    assert not (tmp_path / "home").exists()


def test_file_system_without_permissions_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "fchmod", lambda descriptor, mode: None)

    with pytest.raises(WorkdirUnusable, match="file system cannot restrict it"):
        restrict(tmp_path)


if IS_ROOT:

    def test_other_user_cannot_read_a_new_folder(shared: Path) -> None:
        (shared / "visible").write_text("")
        home = shared / "project" / ".sagebridge"
        home.parent.mkdir(mode=0o755)

        use(home)

        assert as_other_user(lambda: readable_files(shared)) == [str(shared / "visible")]
        assert len(readable_files(home)) > 3

    def test_other_user_cannot_read_an_existing_folder(shared: Path) -> None:
        home = shared / ".sagebridge"
        home.mkdir(mode=0o755)
        (home / "old").write_text("secret")
        assert as_other_user(lambda: readable_files(shared)) == [str(home / "old")]

        use(home)

        assert as_other_user(lambda: readable_files(shared)) == []

    @pytest.mark.parametrize("mine", ["nothing", "link"])
    def test_folder_of_another_user_is_rejected(shared: Path, mine: str) -> None:
        home = theirs = shared / "theirs"
        theirs.mkdir()
        os.chown(theirs, OTHER_UID, OTHER_UID)
        if mine == "link":
            home = shared / "mine"
            home.symlink_to(theirs)

        with pytest.raises(WorkdirUnusable) as raised:
            LocalBackend(home, shared)

        assert str(raised.value) == (
            f"the working folder {home} cannot be used: it belongs to {OTHER_USER} (uid 65534), "
            "not to root (uid 0); fix this, or set another folder with --workdir or SAGEBRIDGE_HOME"
        )
        assert mode(theirs) == 0o755

    def test_link_of_another_user_is_rejected(shared: Path) -> None:
        (shared / "mine").mkdir(mode=0o755)
        (shared / "home").symlink_to(shared / "mine")
        os.chown(shared / "home", OTHER_UID, OTHER_UID, follow_symlinks=False)

        with pytest.raises(WorkdirUnusable, match=f"the link belongs to {OTHER_USER}"):
            Workdir("local", shared / "home", shared, str(shared / "records")).check_writable()
        assert mode(shared / "mine") == 0o755

    def test_entry_planted_by_another_user_is_rejected(shared: Path) -> None:
        home = shared / "home"
        home.mkdir()
        home.chmod(0o777)
        as_other_user(lambda: (home / "s3").symlink_to("/etc"))

        for _ in range(2):
            with pytest.raises(WorkdirUnusable, match=rf"/s3\): the link belongs to {OTHER_USER}"):
                LocalBackend(home, shared)
        (home / "s3").unlink()
        LocalBackend(home, shared)
        assert mode(home) == 0o700
