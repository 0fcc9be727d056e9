"""Checks of docker-compose.yml itself: pins, health checks, loopback, no passwords."""

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
SETUP_SERVICES = {"airflow-init", "airflow-migrate", "prefect-init", "prefect-deploy"}
DOCKERFILE = (CHECKOUT / "docker" / "Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_service_has_a_health_check_or_runs_once(name: str) -> None:
    service = SERVICES[name]
    if name in SETUP_SERVICES:
        assert service["restart"] == "no"
        assert "healthcheck" not in service
        assert name in {one for other in SERVICES.values() for one in other["depends_on"]}
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("profile", ["airflow", "prefect"])
def test_stack_does_not_depend_on_the_other(profile: str) -> None:
    own = of_profile(SERVICES, profile)
    for service in own.values():
        assert service["profiles"] == [profile]
        assert set(service["depends_on"]) <= set(own)
    hosts = "|".join(set(SERVICES) - set(own))
    assert not re.findall(rf"\b(?:{hosts}):\d+", json.dumps(own))


def test_stacks_share_the_store_and_the_code() -> None:
    services = [one for one in SERVICES.values() if not one["image"].startswith("postgres")]
    for name in ("SAGEBRIDGE_HOME", "SAGEBRIDGE_BACKEND", "SAGEBRIDGE_BASE"):
        assert len({one["environment"][name] for one in services}) == 1
    home = services[0]["environment"]["SAGEBRIDGE_HOME"]
    without = [name for name, one in SERVICES.items() if f"store:{home}" not in one["volumes"]]
    assert without == ["postgres", "prefect-server"]
    builds = [one["build"] for one in services if "build" in one]
    assert len({(one["context"], one["dockerfile"]) for one in builds}) == 1
    # Images are rebuilt at every start, so that both contain the same code.
    assert all(one["pull_policy"] == "build" for one in services if "build" in one)


def test_images_are_pinned() -> None:
    tags = {one["image"] for one in SERVICES.values()} | set(re.findall("FROM (.*)", DOCKERFILE))
    for tag in tags:
        assert re.fullmatch(r"[a-z-]+:\d+(\.\d+)+(-[a-z-]+)?", tag), tag


@pytest.mark.parametrize(
    ("environment", "package"), [("airflow", "apache-airflow"), ("prefect", "prefect")]
)
def test_image_tag_is_the_version_of_its_package(environment: str, package: str) -> None:
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


def test_file_contains_no_secrets() -> None:
    for name, service in SERVICES.items():
        for key, value in service["environment"].items():
            if re.search("PASS|SECRET|KEY|TOKEN|AUTH_STRING|CONN", key):
                is_reference = re.fullmatch(r"(cat )?/srv/secrets/[a-z]+/[a-z.-]+", str(value))
                is_bare_url = re.fullmatch(r"postgresql\+psycopg2://airflow@[^:@]+:\d+/\w+", value)
                assert is_reference or is_bare_url, f"{name}: {key}"
    assert not re.search(r"://[^/\s]*:[^/\s]*@", FILE.read_text())


@pytest.mark.parametrize(
    ("volume", "services"),
    [
        ("airflow-web", {"airflow-api"}),
        ("airflow-tokens", {"airflow-api", "airflow-scheduler"}),
        (
            "airflow-fernet",
            {"airflow-api", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"},
        ),
        ("postgres-password", {"postgres"}),
        ("prefect-server", {"prefect-server"}),
        ("prefect-client", {"prefect-deploy", "prefect-worker"}),
    ],
)
def test_service_mounts_only_its_own_secrets(volume: str, services: set[str]) -> None:
    setup = {"airflow-init", "prefect-init"}
    mounting = {
        name
        for name, one in SERVICES.items()
        if any(mount.startswith(f"{volume}:/srv/secrets/") for mount in one["volumes"])
    }
    assert mounting - setup == services


@pytest.mark.parametrize("name", [name for name in SERVICES if not name.endswith("-init")])
def test_setting_reads_a_mounted_secret(name: str) -> None:
    mounted = {mount.split(":")[1] for mount in SERVICES[name]["volumes"]}
    secrets = re.findall(r"(/srv/secrets/[a-z]+)/", json.dumps(SERVICES[name]["environment"]))
    assert secrets
    assert set(secrets) <= mounted


@pytest.mark.parametrize("profile", ["airflow", "prefect"])
def test_each_stack_has_its_own_network(profile: str) -> None:
    assert DOCUMENT["networks"] == {"airflow": None, "prefect": None}
    for service in of_profile(SERVICES, profile).values():
        assert service["networks"] == [profile]


def test_prefect_allows_its_own_origin_only() -> None:
    settings = SERVICES["prefect-server"]["environment"]
    assert settings["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == settings["PREFECT_UI_URL"]


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "postgres"])
def test_sagebridge_services_have_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "user", "cap_add", "pid"} & set(service)
    assert DOCKERFILE.rstrip().endswith("USER sagebridge")


def copies() -> list[tuple[list[str], str]]:
    """Return the sources and the target of each COPY line in the Dockerfile."""
    lines = [line.split() for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE)]
    return [(parts[:-1], parts[-1]) for parts in lines]


def test_image_contains_its_files() -> None:
    copied = {source for sources, _ in copies() for source in sources} - {"."}
    for source in copied | {"docker/init.py", "docker/health.py"}:
        assert (CHECKOUT / source).exists()
        assert source.split("/")[0] in shipped()
    assert f"WORKDIR {IMAGE}\n" in DOCKERFILE


def test_first_copied_files_suffice_to_install(tmp_path: Path) -> None:
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


def test_volumes_are_declared_and_writable() -> None:
    mounts = [mount.split(":") for one in SERVICES.values() for mount in one["volumes"]]
    assert all((CHECKOUT / source).is_dir() for source, *_ in mounts if source[0] == ".")
    assert {source for source, *_ in mounts if source[0] != "."} == set(DOCUMENT["volumes"])
    # Docker gives a new volume the owner of the folder that it is mounted on.
    mounted = {inside for source, inside, *_ in mounts if source[0] != "."} - {
        "/var/lib/postgresql/data"
    }
    created = re.search(r"install --directory --owner sagebridge[^&]*", DOCKERFILE)
    assert created
    assert mounted <= set(created[0].split())


def compose_client() -> tuple[str, ...] | None:
    """Return the command of Compose 2 or newer, or None if it is not installed."""
    for client in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(client[0]):
            version = [*client, "version", "--short"]
            result = subprocess.run(version, capture_output=True, text=True, check=False)
            if result.returncode == 0 and not result.stdout.startswith("1."):
                return client
    return None


if COMPOSE := compose_client():

    @pytest.mark.parametrize("profile", ["airflow", "prefect", "*"])
    def test_compose_reads_the_file(profile: str) -> None:
        assert COMPOSE
        command = [*COMPOSE, "--file", str(FILE), "--profile", profile, "config", "--quiet"]
        subprocess.run(command, check=True, timeout=60)
