"""What docker-compose.yml promises by itself: pins, health checks, loopback, no password."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.compose.stack import CHECKOUT, FILE, IMAGE, load, of_profile, shipped

DOCUMENT = load()
SERVICES: dict[str, Any] = DOCUMENT["services"]
ONCE = {"airflow-init", "airflow-migrate", "prefect-init", "prefect-deploy"}
DOCKERFILE = (CHECKOUT / "docker" / "Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_whether_it_is_well_or_ends_by_itself(name: str) -> None:
    service = SERVICES[name]
    if name in ONCE:
        assert service["restart"] == "no"
        assert "healthcheck" not in service
        assert name in {one for other in SERVICES.values() for one in other["depends_on"]}
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("profile", ["airflow", "prefect"])
def test_a_stack_needs_nothing_of_the_other(profile: str) -> None:
    mine = of_profile(SERVICES, profile)
    for service in mine.values():
        assert service["profiles"] == [profile]
        assert set(service["depends_on"]) <= set(mine)
    hosts = "|".join(set(SERVICES) - set(mine))
    assert not re.findall(rf"\b(?:{hosts}):\d+", json.dumps(mine))


def test_both_stacks_share_one_store_and_run_one_code() -> None:
    ours = [one for one in SERVICES.values() if not one["image"].startswith("postgres")]
    for name in ("SAGEBRIDGE_HOME", "SAGEBRIDGE_BACKEND", "SAGEBRIDGE_BASE"):
        assert len({one["environment"][name] for one in ours}) == 1
    home = ours[0]["environment"]["SAGEBRIDGE_HOME"]
    assert all(f"store:{home}" in one["volumes"] for one in ours)
    builds = [one["build"] for one in ours if "build" in one]
    assert len({(one["context"], one["dockerfile"]) for one in builds}) == 1
    # Made anew at every start, so that no image has an older code than the other.
    assert all(one["pull_policy"] == "build" for one in ours if "build" in one)


def test_images_are_pinned() -> None:
    tags = {one["image"] for one in SERVICES.values()} | set(re.findall("FROM (.*)", DOCKERFILE))
    for tag in tags:
        assert re.fullmatch(r"[a-z-]+:\d+(\.\d+)+(-[a-z-]+)?", tag), tag


@pytest.mark.parametrize(
    ("environment", "package"), [("airflow", "apache-airflow"), ("prefect", "prefect")]
)
def test_an_images_tag_is_the_version_in_it(environment: str, package: str) -> None:
    pins = (CHECKOUT / "requirements" / f"{environment}.txt").read_text()
    found = re.search(rf"^{package}==(\S+)", pins, re.MULTILINE)
    assert found
    assert {one["image"] for one in of_profile(SERVICES, environment).values()} - {
        SERVICES["postgres"]["image"]
    } == {f"sagebridge-{environment}:{found[1]}"}


def test_ports_are_open_on_loopback_only() -> None:
    published = [port for one in SERVICES.values() for port in one.get("ports", ())]
    assert len(published) == 2
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)
    assert not any("network_mode" in one for one in SERVICES.values())


def test_no_secret_is_in_the_file() -> None:
    for name, service in SERVICES.items():
        for key, value in service["environment"].items():
            if re.search("PASS|SECRET|KEY|TOKEN|AUTH_STRING|CONN", key):
                is_reference = re.fullmatch(r"(cat )?/srv/secrets(/[a-z.-]+)?", str(value))
                is_bare_url = re.fullmatch(r"postgresql\+psycopg2://airflow@[^:@]+:\d+/\w+", value)
                assert is_reference or is_bare_url, f"{name}: {key}"
    assert not re.search(r"://[^/\s]*:[^/\s]*@", FILE.read_text())


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "postgres"])
def test_our_services_have_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "user", "cap_add", "pid"} & set(service)
    assert DOCKERFILE.rstrip().endswith("USER sagebridge")


def copies() -> list[tuple[list[str], str]]:
    """The sources and the target of each COPY of the Dockerfile."""
    lines = [line.split() for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE)]
    return [(words[:-1], words[-1]) for words in lines]


def test_the_image_gets_all_that_it_is_made_from_and_starts() -> None:
    copied = {source for sources, _ in copies() for source in sources} - {"."}
    for source in copied | {"docker/init.py", "docker/health.py"}:
        assert (CHECKOUT / source).exists()
        assert source.split("/")[0] in shipped()
    assert f"WORKDIR {IMAGE}\n" in DOCKERFILE


def test_the_project_is_installed_from_what_is_copied_first(tmp_path: Path) -> None:
    (*first, everything) = copies()
    assert everything == (["."], ".")
    for sources, target in first:
        for source in sources:
            into = tmp_path / target / ("" if (CHECKOUT / source).is_dir() else Path(source).name)
            into.parent.mkdir(parents=True, exist_ok=True)
            if (CHECKOUT / source).is_dir():
                shutil.copytree(CHECKOUT / source, into)
            else:
                shutil.copy(CHECKOUT / source, into)
    build = "from hatchling.build import build_editable; print(build_editable('.'))"
    built = subprocess.run(
        [sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(tmp_path / built.stdout.split()[-1]) as wheel:
        (paths,) = (wheel.read(name) for name in wheel.namelist() if name.endswith(".pth"))
    assert paths.decode().split() == [str(tmp_path / "adapters"), str(tmp_path / "operators")]


def test_volumes_are_declared_and_belong_to_the_images_user() -> None:
    mounts = [mount.split(":") for one in SERVICES.values() for mount in one["volumes"]]
    assert all((CHECKOUT / source).is_dir() for source, *_ in mounts if source[0] == ".")
    assert {source for source, *_ in mounts if source[0] != "."} == set(DOCUMENT["volumes"])
    # A new volume has the owner of the image's folder of that path.
    ours = {inside for source, inside, *_ in mounts if source[0] != "."} - {
        "/var/lib/postgresql/data"
    }
    made = re.search(r"install --directory --owner sagebridge[^&]*", DOCKERFILE)
    assert made
    assert ours <= set(made[0].split())


def compose_client() -> tuple[str, ...] | None:
    """Of Compose 2 or newer, where the machine has one."""
    for client in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(client[0]):
            version = [*client, "version", "--short"]
            told = subprocess.run(version, capture_output=True, text=True, check=False)
            if told.returncode == 0 and not told.stdout.startswith("1."):
                return client
    return None


if COMPOSE := compose_client():

    @pytest.mark.parametrize("profile", ["airflow", "prefect", "*"])
    def test_compose_reads_the_file(profile: str) -> None:
        assert COMPOSE
        command = [*COMPOSE, "--file", str(FILE), "--profile", profile, "config", "--quiet"]
        subprocess.run(command, check=True, timeout=60)
