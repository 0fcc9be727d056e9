"""docker-compose.yml without Docker: each service's own command as a process on loopback.

What a container would have is replaced by name: volumes and mounts by folders, the other services'
addresses by 127.0.0.1 and free ports, an image by the environment that it is built from. Commands,
settings and health checks are those of the file.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
FILE = CHECKOUT / "docker-compose.yml"
IMAGE = "/srv/sagebridge"
"""Where the image has the files of the checkout: Dockerfile's WORKDIR."""
MARK = "SAGEBRIDGE_COMPOSED"
PATIENCE = 240.0
"""Seconds until a service must be healthy, or done."""

Service = Mapping[str, Any]
_ALONE = (r"(?<![\w.])", r"(?![\w.])")


def load() -> dict[str, Any]:
    """The file, with the defaults of its variables."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", FILE.read_text())
    return dict(yaml.safe_load(text))


def of_profile(services: Mapping[str, Service], profile: str) -> dict[str, Service]:
    return {name: one for name, one in services.items() if profile in one["profiles"]}


def shipped() -> list[str]:
    """What of the checkout an image gets: the lines of .dockerignore that let something in."""
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    return [line[1:] for line in lines if line.startswith("!")]


def postgres_programs() -> Path | None:
    """The folder of the distribution's PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    there = found[-1] if found else shutil.which("postgres")
    return Path(there).parent if there else None


class Stack:
    """The services of the file; what is in ``root`` outlives a ``down``, as volumes do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.services: dict[str, Service] = load()["services"]
        self._ports = {str(port): str(_free_port()) for port in _ports(self.services)}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._image = root / "image"
        for folder in (self._image, *(root / name for name in ("home", "logs", "tmp", "volumes"))):
            folder.mkdir(parents=True, exist_ok=True)
        for name in shipped():
            if not (self._image / name).is_symlink() and (CHECKOUT / name).exists():
                (self._image / name).symlink_to(CHECKOUT / name)

    def url(self, service: str) -> str:
        """Where the file publishes a service."""
        published = self.services[service]["ports"][0].rpartition(":")[0]
        return f"http://{self._here(service, published)}"

    def up(self, profile: str) -> None:
        """``docker compose --profile PROFILE up``, until all that stay up are healthy."""
        for name in of_profile(self.services, profile):
            self.start(name)
        for name in self._running:
            if "healthcheck" in self.services[name]:
                self._wait_until_healthy(name)

    def start(self, name: str) -> None:
        """A service, after those that it depends on have come as far as it wants."""
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
        command = [self._here(name, word) for word in shlex.split(service.get("command", ""))]
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
        """Wait for a service that does its work and ends."""
        code = self._running[name].wait(PATIENCE)
        assert code == 0, self._told(name)

    def run(self, service: str, *command: str) -> str:
        """``docker compose exec SERVICE COMMAND``; what it printed."""
        done = subprocess.run(
            [self._here(service, word) for word in command],
            cwd=self._image,
            env=self.environment(service),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def is_healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        kind, *test = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        done = subprocess.run(
            [self._here(name, str(word)) for word in test],
            env=self.environment(name),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode == 0

    def down(self) -> None:
        """As containers end: a signal to the command; later, or when it is gone, all is killed."""
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
        """The folder that stands for a volume."""
        folder = self.root / "volumes" / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def environment(self, name: str) -> dict[str, str]:
        """All that a service's processes get."""
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
            # What is left in a container without privileges.
            "SAGEBRIDGE_ISOLATION": "rewrite",
            **{
                key: self._here(name, str(one))
                for key, one in self.services[name]["environment"].items()
            },
        }

    def leftovers(self) -> list[psutil.Process]:
        """Processes of any service that are still there."""
        return [one for name in self.services for one in self._processes(name)]

    @cached_property
    def _names(self) -> str:
        return "|".join(self.services)

    def _here(self, name: str, text: str) -> str:
        """A text of a service, as it is on this machine."""
        text = re.sub(rf"\b(?:{self._names}):(?=\d)", "127.0.0.1:", text)
        text = text.replace("0.0.0.0", "127.0.0.1")
        ports = f"{_ALONE[0]}(?:{'|'.join(self._ports)}){_ALONE[1]}"
        text = re.sub(ports, lambda found: self._ports[found[0]], text)
        places = self._places(name)
        inside = "|".join(sorted(places, key=len, reverse=True))
        return re.sub(rf"(?:{inside})\b", lambda found: str(places[found[0]]), text)

    def _places(self, name: str) -> dict[str, Path]:
        """The folders that a container would have, by their paths in it."""
        found = {IMAGE: self._image}
        for mount in self.services[name]["volumes"]:
            source, inside = mount.split(":")[:2]
            found[inside] = CHECKOUT / source if source[0] == "." else self.volume(source)
        return found

    def _built(self, name: str) -> str | None:
        """The environment that a service's image is built from; None for PostgreSQL's own."""
        image = self.services[name]["image"]
        same = (one for one in self.services.values() if one["image"] == image)
        return next((one["build"]["args"]["ENVIRONMENT"] for one in same if "build" in one), None)

    def _postgres_entrypoint(self, name: str) -> list[str]:
        """What PostgreSQL's image does: a database at the first start, then the server."""
        environment = self.environment(name)
        data = self._places(name)["/var/lib/postgresql/data"]
        become: list[str] = []
        if os.geteuid() == 0:  # which PostgreSQL refuses
            shutil.chown(data, "postgres", "postgres")
            become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        in_place = ["-D", str(data)]
        if not (data / "PG_VERSION").exists():
            user = environment["POSTGRES_USER"]
            password = Path(environment["POSTGRES_PASSWORD_FILE"]).read_text()
            allowed = ["--auth-local=trust", "--auth-host=scram-sha-256"]
            statements = (
                f"ALTER USER {user} PASSWORD '{password}'\n"
                f"CREATE DATABASE {environment['POSTGRES_DB']}\n"
            )
            for command, text in (
                (["initdb", *in_place, "-U", user, "-E", "UTF8", *allowed], ""),
                (["postgres", "--single", *in_place, "template1"], statements),
            ):
                subprocess.run(
                    [*become, *command],
                    cwd="/",
                    env=environment,
                    input=text,
                    text=True,
                    check=True,
                    capture_output=True,
                )
        return [*become, "postgres", *in_place, "-c", "unix_socket_directories="]

    def _wait_until_healthy(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.is_healthy(name):
            assert self._running[name].poll() is None, self._told(name)
            assert time.monotonic() < deadline, self._told(name)
            time.sleep(0.5)

    def _log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def _told(self, name: str) -> str:
        process = self._running[name]
        lines = self._log(name).read_text(errors="replace").splitlines()
        return "\n".join([f"{name}: exit code {process.poll()}", *lines[-40:]])

    def _mark(self, name: str) -> str:
        return f"{self.root}#{name}"

    def _processes(self, name: str) -> Sequence[psutil.Process]:
        """All that a service started, detached ones too, as a container would hold them."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._mark(name):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


def _ports(services: Mapping[str, Service]) -> set[str]:
    """The ports that services listen on: every number of four digits that the file has."""
    return set(re.findall(rf"{_ALONE[0]}\d{{4}}{_ALONE[1]}", yaml.safe_dump(dict(services))))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
