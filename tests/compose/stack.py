"""Runs docker-compose.yml without Docker: each service is a process on loopback.

Commands, settings and health checks come from the file. Folders replace volumes and mounts,
127.0.0.1 and free ports replace the addresses of services, and an environment in ``.venvs/``
replaces an image.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import yaml

from sagebridge_operators.launch.private_engine import free_port
from tests.database import postgres_command, postgres_programs

CHECKOUT = Path(__file__).resolve().parents[2]
FILE = CHECKOUT / "docker-compose.yml"
IMAGE = "/srv/sagebridge"
"""Folder of the checkout's files in the image: WORKDIR of the Dockerfile."""
MARK = "SAGEBRIDGE_COMPOSED"
TIMEOUT = 240.0
"""Seconds until a service must be healthy or have ended."""

Service = Mapping[str, Any]
_PORT_BOUNDARIES = (r"(?<![\w.])", r"(?![\w.])")


def load() -> dict[str, Any]:
    """Load docker-compose.yml with the default values of its variables."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", FILE.read_text())
    return dict(yaml.safe_load(text))


def of_profile(services: Mapping[str, Service], profile: str) -> dict[str, Service]:
    return {name: one for name, one in services.items() if profile in one["profiles"]}


def shipped() -> list[str]:
    """Return the paths that an image contains: the ``!`` lines of .dockerignore."""
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    return [line[1:] for line in lines if line.startswith("!")]


class Stack:
    """The services of docker-compose.yml. Files in ``root`` outlive ``down``, like volumes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.services: dict[str, Service] = load()["services"]
        self._ports = {str(port): str(free_port()) for port in _ports(self.services)}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._image = root / "image"
        for folder in (self._image, *(root / name for name in ("home", "logs", "tmp", "volumes"))):
            folder.mkdir(parents=True, exist_ok=True)
        for name in shipped():
            if not (self._image / name).is_symlink() and (CHECKOUT / name).exists():
                (self._image / name).symlink_to(CHECKOUT / name)

    def url(self, service: str) -> str:
        """Return the published address of a service."""
        published = self.services[service]["ports"][0].rpartition(":")[0]
        return f"http://{self._here(service, published)}"

    def up(self, profile: str) -> None:
        """``docker compose --profile PROFILE up``; returns when all servers are healthy."""
        for name in of_profile(self.services, profile):
            self.start(name)
        for name in self._running:
            if "healthcheck" in self.services[name]:
                self._wait_until_healthy(name)

    def start(self, name: str) -> None:
        """Start a service once the conditions of its ``depends_on`` are met."""
        if name in self._running:
            return
        for needed, how in self.services[name]["depends_on"].items():
            self.start(needed)
            if how["condition"] == "service_healthy":
                self._wait_until_healthy(needed)
            else:
                assert how["condition"] == "service_completed_successfully"
                self.finish(needed)
        service = self.services[name]
        command = [self._here(name, part) for part in shlex.split(service.get("command", ""))]
        if self._built(name) is None:
            command = self._postgres_entrypoint(name)
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd=self._here(name, service.get("working_dir", IMAGE)),
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self, name: str) -> None:
        """Wait for the end of a setup service."""
        code = self._running[name].wait(TIMEOUT)
        assert code == 0, self._failure(name)

    def run(self, service: str, *command: str) -> str:
        """``docker compose exec SERVICE COMMAND``; returns the output."""
        done = subprocess.run(
            [self._here(service, part) for part in command],
            cwd=self._image,
            env=self.environment(service),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def is_healthy(self, name: str) -> bool:
        """Run the service's health check."""
        kind, *test = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        done = subprocess.run(
            [self._here(name, str(part)) for part in test],
            env=self.environment(name),
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        return done.returncode == 0

    def down(self) -> None:
        """End the services like containers: signal the command, then kill all its processes."""
        for name, process in reversed(self._running.items()):
            process.send_signal(signal.SIGTERM if self._built(name) else signal.SIGINT)
        deadline = time.monotonic() + 10
        for name, process in reversed(self._running.items()):
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for left in self._processes(name):
                left.kill()
        self._running.clear()

    def volume(self, name: str) -> Path:
        """Return the folder that replaces a volume."""
        folder = self.root / "volumes" / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment variables of a service."""
        built = self._built(name)
        programs = CHECKOUT / ".venvs" / built / "bin" if built else postgres_programs()
        passed = ("LANG", "LC_ALL", "SAGEBRIDGE_TEST_SESSION")
        return {
            **{key: os.environ[key] for key in passed if key in os.environ},
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "PGPORT": self._ports["5432"],
            MARK: self._mark(name),
            # The only isolation that works in a container without privileges.
            "SAGEBRIDGE_ISOLATION": "rewrite",
            **{
                key: self._here(name, str(one))
                for key, one in self.services[name]["environment"].items()
            },
        }

    def leftovers(self) -> list[psutil.Process]:
        """Return processes of any service that are still running."""
        return [one for name in self.services for one in self._processes(name)]

    @cached_property
    def _names(self) -> str:
        return "|".join(self.services)

    def _here(self, name: str, text: str) -> str:
        """Replace hosts, ports and folders in a string of a service by those of this machine."""
        text = re.sub(rf"\b(?:{self._names}):(?=\d)", "127.0.0.1:", text)
        text = text.replace("0.0.0.0", "127.0.0.1")
        ports = f"{_PORT_BOUNDARIES[0]}(?:{'|'.join(self._ports)}){_PORT_BOUNDARIES[1]}"
        text = re.sub(ports, lambda found: self._ports[found[0]], text)
        folders = self._folders(name)
        inside = "|".join(sorted(folders, key=len, reverse=True))
        return re.sub(rf"(?:{inside})\b", lambda found: str(folders[found[0]]), text)

    def _folders(self, name: str) -> dict[str, Path]:
        """Return the folders of this machine by their paths in the container."""
        found = {IMAGE: self._image}
        for mount in self.services[name]["volumes"]:
            source, inside = mount.split(":")[:2]
            found[inside] = CHECKOUT / source if source[0] == "." else self.volume(source)
        return found

    def _built(self, name: str) -> str | None:
        """Return the environment that a service's image is built from; None for PostgreSQL."""
        image = self.services[name]["image"]
        same = (one for one in self.services.values() if one["image"] == image)
        return next((one["build"]["args"]["ENVIRONMENT"] for one in same if "build" in one), None)

    def _postgres_entrypoint(self, name: str) -> list[str]:
        """Create the database if it is missing, as PostgreSQL's image does. Return the command."""
        environment = self.environment(name)
        return postgres_command(
            self._folders(name)["/var/lib/postgresql/data"],
            environment,
            user=environment["POSTGRES_USER"],
            database=environment["POSTGRES_DB"],
            password=Path(environment["POSTGRES_PASSWORD_FILE"]).read_text(),
        )

    def _wait_until_healthy(self, name: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not self.is_healthy(name):
            assert self._running[name].poll() is None, self._failure(name)
            assert time.monotonic() < deadline, self._failure(name)
            time.sleep(0.5)

    def _log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def _failure(self, name: str) -> str:
        process = self._running[name]
        lines = self._log(name).read_text(errors="replace").splitlines()
        return "\n".join([f"{name}: exit code {process.poll()}", *lines[-40:]])

    def _mark(self, name: str) -> str:
        return f"{self.root}#{name}"

    def _processes(self, name: str) -> Sequence[psutil.Process]:
        """Return all processes that a service started, including detached ones."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._mark(name):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


def _ports(services: Mapping[str, Service]) -> set[str]:
    """Return the ports of all services: the numbers with four digits in the file."""
    return set(
        re.findall(
            rf"{_PORT_BOUNDARIES[0]}\d{{4}}{_PORT_BOUNDARIES[1]}", yaml.safe_dump(dict(services))
        )
    )
