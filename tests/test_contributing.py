"""The lists in CONTRIBUTING.md match the repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
TEXT = (CHECKOUT / "CONTRIBUTING.md").read_text()
PACKAGES = ("adapters/sagebridge", "operators/sagebridge_operators")
GENERATED = {"build", "dist", "__pycache__"}
"""Generated folders that are not hidden."""


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def listed_folders() -> list[str]:
    """The folders of the table, without the final slash."""
    rows = (line for line in section("Layout").splitlines() if line.startswith("| `"))
    cells = (row.split("|")[1] for row in rows)
    return [name.rstrip("/") for cell in cells for name in quoted(cell)]


def folders(parent: str) -> set[str]:
    """The folders in a folder of the checkout."""
    found = {path for path in (CHECKOUT / parent).iterdir() if path.is_dir()}
    names = {path.relative_to(CHECKOUT).as_posix() for path in found if path.name not in GENERATED}
    return {name for name in names if not name.rpartition("/")[2].startswith(".")}


def everything() -> set[str]:
    """The files and folders of the checkout."""
    paths = [path for path in CHECKOUT.iterdir() if path.name not in GENERATED]
    paths = [path for path in paths if path.name == ".ci" or not path.name.startswith(".")]
    paths += [inner for path in paths if path.is_dir() for inner in path.rglob("*")]
    return {path.relative_to(CHECKOUT).as_posix() for path in paths}


def test_listed_folders_exist() -> None:
    assert [name for name in listed_folders() if not (CHECKOUT / name).is_dir()] == []


def test_no_folder_is_missing() -> None:
    roots = {"adapters", "operators"}
    existing = folders("") - roots | set(PACKAGES)
    for parent in (*PACKAGES, "adapters/sagebridge/formats"):
        existing |= folders(parent)
    assert sorted(listed_folders()) == sorted(existing)


@pytest.mark.parametrize("title", re.findall(r"^## (.*)$", TEXT, re.MULTILINE))
def test_named_files_exist(title: str) -> None:
    """A file may be named by the end of its path. Files in ``.venvs/`` are not checked."""
    known = everything()
    paths = [name.rstrip("/") for name in quoted(section(title)) if re.fullmatch(r"[\w./-]+", name)]
    named = [
        path
        for path in paths
        if ("/" in path or re.search(r"\.(py|md|toml|yml|yaml)$", path))
        and not path.startswith(".venvs")
    ]
    missing = [
        path for path in named if not any(one == path or one.endswith(f"/{path}") for one in known)
    ]
    assert missing == []


def test_layers_match_the_contracts() -> None:
    contracts = tomllib.loads((CHECKOUT / "layers.toml").read_text())["tool"]["importlinter"]
    layers = {one["id"]: one.get("layers") for one in contracts["contracts"]}
    stated = dict(re.findall(r"^- `(\w+)`: (.*(?:\n  .*)*)", section("Layout"), re.MULTILINE))
    for name, contract in (("sagebridge", "sagebridge"), ("sagebridge_operators", "operators")):
        left_to_right = [set(quoted(layer)) for layer in stated[name].split("←")]
        bottom_up = [set(re.findall(r"\w+", layer)) for layer in reversed(layers[contract])]
        assert left_to_right == [layer - {"provider_info"} for layer in bottom_up]


def test_environments_have_rows() -> None:
    rows = [line for line in section("Environments").splitlines() if line.startswith("| `")]
    named = {name for line in rows for name in quoted(line.split("|")[1])}
    pinned = {path.stem for path in (CHECKOUT / "requirements").glob("*.txt")}
    assert named == pinned - {"uv"}


def test_make_targets_have_rows() -> None:
    named = {name.split()[1] for name in quoted(section("Commands")) if name.startswith("make ")}
    makefile = (CHECKOUT / "Makefile").read_text()
    rules = re.findall(r"^([a-z][a-z0-9. -]*):", makefile, re.MULTILINE)
    targets = {name for names in rules for name in names.split()}
    assert named <= targets | {"test-prefect"}
    assert targets - {name for name in targets if name.startswith("test-")} <= named | {"airflow"}
