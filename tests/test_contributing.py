"""The lists of CONTRIBUTING.md are true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
TEXT = (CHECKOUT / "CONTRIBUTING.md").read_text()
PACKAGES = ("adapters/sagebridge", "operators/sagebridge_operators")
MADE = {"build", "dist", "__pycache__"}
"""Folders that are made, beside the hidden ones."""


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def rooms() -> list[str]:
    """The folders of the table, without the final slash."""
    cells = (line.split("|")[1] for line in section("Rooms").splitlines() if line.startswith("| `"))
    return [name.rstrip("/") for cell in cells for name in quoted(cell)]


def folders(parent: str) -> set[str]:
    """The folders in one of the checkout."""
    found = {path for path in (CHECKOUT / parent).iterdir() if path.is_dir()}
    names = {path.relative_to(CHECKOUT).as_posix() for path in found if path.name not in MADE}
    return {name for name in names if not name.rpartition("/")[2].startswith(".")}


def everything() -> set[str]:
    """The files and folders of the checkout."""
    paths = [path for path in CHECKOUT.iterdir() if path.name not in MADE]
    paths = [path for path in paths if path.name == ".ci" or not path.name.startswith(".")]
    paths += [inner for path in paths if path.is_dir() for inner in path.rglob("*")]
    return {path.relative_to(CHECKOUT).as_posix() for path in paths}


def test_every_room_exists() -> None:
    assert [name for name in rooms() if not (CHECKOUT / name).is_dir()] == []


def test_no_room_is_missing() -> None:
    roots = {"adapters", "operators"}
    there = folders("") - roots | set(PACKAGES)
    for parent in (*PACKAGES, "adapters/sagebridge/formats"):
        there |= folders(parent)
    assert sorted(rooms()) == sorted(there)


@pytest.mark.parametrize("title", re.findall(r"^## (.*)$", TEXT, re.MULTILINE))
def test_every_file_that_is_named_exists(title: str) -> None:
    """Whole, or by the end of its path; what is made in `.venvs/` need not be there."""
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


def test_the_layers_are_those_of_the_contracts() -> None:
    contracts = tomllib.loads((CHECKOUT / "layers.toml").read_text())["tool"]["importlinter"]
    layers = {one["id"]: one.get("layers") for one in contracts["contracts"]}
    stated = dict(re.findall(r"^- `(\w+)`: (.*(?:\n  .*)*)", section("Rooms"), re.MULTILINE))
    for name, contract in (("sagebridge", "sagebridge"), ("sagebridge_operators", "operators")):
        left_to_right = [set(quoted(layer)) for layer in stated[name].split("←")]
        bottom_up = [set(re.findall(r"\w+", layer)) for layer in reversed(layers[contract])]
        assert left_to_right == [layer - {"provider_info"} for layer in bottom_up]


def test_every_environment_has_a_row() -> None:
    rows = [line for line in section("Environments").splitlines() if line.startswith("| `")]
    named = {name for line in rows for name in quoted(line.split("|")[1])}
    there = {path.stem for path in (CHECKOUT / "requirements").glob("*.txt")}
    assert named == there - {"uv"}


def test_every_target_of_make_has_a_row() -> None:
    named = {name.split()[1] for name in quoted(section("Commands")) if name.startswith("make ")}
    makefile = (CHECKOUT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert named <= targets | {"test-prefect"}
    assert targets - {name for name in targets if name.startswith("test-")} <= named | {"airflow"}
