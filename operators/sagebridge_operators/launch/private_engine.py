"""The base of private engines: a home folder and a loopback port, removed when the command ends."""

from __future__ import annotations

import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

from sagebridge.errors import ServiceError
from sagebridge_operators.launch.engine_apis import NO_ANSWER, Api, Login
from sagebridge_operators.launch.process_keeper import (
    LOGS,
    ProcessKeeper,
    clear_home,
    delayed_signals,
)
from sagebridge_operators.lifecycle.private_folders import make_private

LOGIN_FILE = "login.json"
"""The file in an engine's home with its login, while the engine runs."""
_PORT_ATTEMPTS = 5
_T = TypeVar("_T")
_A = TypeVar("_A", bound=Api)


class PrivateEngine(ABC, Generic[_A]):
    """A context manager that starts and stops an engine.

    Args:
        home: its home folder; only the logs are kept.
        execution: the execution whose jobs are stopped if this process is killed.

    Raises:
        ServiceError: the engine does not start, or ends unexpectedly.
    """

    client: type[_A]
    starts_within: ClassVar[float] = 180.0
    """Seconds. A first start without bytecode takes a minute."""
    port_taken: ClassVar[str]
    """The log message for a port in use."""

    def __init__(self, home: Path, execution: str | None) -> None:
        self.home = home.resolve()
        self.url = ""
        self.login = Login.random()
        self._execution = execution
        self._api: _A | None = None
        self._environment: dict[str, str] = {}
        self._keeper: ProcessKeeper | None = None
        self._added: list[ProcessKeeper] = []
        self._logs = self.home / LOGS

    @abstractmethod
    def prepare(self) -> None:
        """Create the home."""

    @abstractmethod
    def commands(self, port: int) -> Mapping[str, Sequence[str]]:
        """The commands of the engine's processes, by log name."""

    @abstractmethod
    def make_environment(self, port: int) -> dict[str, str]:
        """The environment of all processes."""

    @property
    @abstractmethod
    def login_hint(self) -> str:
        """What to enter on the login page of the UI."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the engine is ready. Raises ServiceError if it cannot become ready."""

    def __enter__(self) -> Self:
        try:
            make_private(self._logs)
            self.prepare()
            for _ in range(_PORT_ATTEMPTS):
                keeper = self._start(free_port())
                if self._wait_until_ready():
                    return self
                keeper.kill()
            raise ServiceError(f"{self.title}: none of {_PORT_ATTEMPTS} ports stayed free")
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        try:
            for keeper in self._keepers():
                keeper.stop()
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill the engine and clear its home, except for the logs."""
        for keeper in self._keepers():
            keeper.kill()
        if self._api is not None:
            self._api.close()
        clear_home(self.home)

    @property
    def title(self) -> str:
        return self.client.title

    @property
    def api(self) -> _A:
        if self._api is None or self._api.url != self.url:
            self._api = self.client(self.url, self.login)
        return self._api

    @property
    def running(self) -> bool:
        return self._keeper is not None and self._keeper.running

    def environment(self) -> dict[str, str]:
        """The environment for processes that use the engine; empty before the start."""
        return dict(self._environment)

    def add(
        self,
        name: str,
        command: Sequence[str],
        *,
        execution: str | None = None,
        variables: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> ProcessKeeper:
        """Start another process; it is stopped before the engine.

        Args:
            name: the name of its log.
            command: the program and its arguments.
            execution: the execution whose jobs are stopped if this process is killed.
            variables: additional environment variables.
            folder: its working directory; the home by default.
        """
        with delayed_signals():
            keeper = ProcessKeeper(
                {name: command},
                logs=self._logs,
                cwd=folder or self.home,
                env=self.environment() | dict(variables or {}),
                execution=execution,
                home=self.home,
            )
            self._added.append(keeper)
        return keeper

    def patiently(self, ask: Callable[[], _T], patience: float = 60.0) -> _T:
        """Send a request until it is answered, for ``patience`` seconds. Raises ServiceError."""
        until = time.monotonic() + patience
        while True:
            try:
                return ask()
            except NO_ANSWER as error:
                if not self.running:
                    raise ServiceError(f"{self.title} ended:\n{self.log_tails()}") from None
                if time.monotonic() > until:
                    raise ServiceError(f"{self.title} does not respond: {error}") from None
                time.sleep(0.3)

    def log_tails(self, *components: str) -> str:
        """The last lines of the components' logs; of all by default."""
        names = components or ("process_keeper", *self.commands(0))
        logs = {name: self.log(name) for name in names}
        return "\n".join(
            f"--- {name} ({self.home / 'logs' / name}.log)\n{last_lines(text)}"
            for name, text in logs.items()
            if text
        )

    def _keepers(self) -> list[ProcessKeeper]:
        """All keepers, newest first."""
        return [*reversed(self._added), *filter(None, (self._keeper,))]

    def _start(self, port: int) -> ProcessKeeper:
        self.url = f"http://127.0.0.1:{port}"
        # A new login for each port: the requests of an earlier attempt may have gone to the process
        # that had taken its port.
        self.login = Login.random()
        self.login.write(self.home / LOGIN_FILE)
        self._environment = self.make_environment(port)
        with delayed_signals():
            self._keeper = ProcessKeeper(
                self.commands(port),
                logs=self._logs,
                cwd=self.home,
                env=self._environment,
                execution=self._execution,
                home=self.home,
            )
        return self._keeper

    def _wait_until_ready(self) -> bool:
        """True when the engine is ready; False if its port was taken. Raises ServiceError."""
        until = time.monotonic() + self.starts_within
        while time.monotonic() < until:
            if not self.running:
                if any(self.port_taken in self.log(name) for name in self.commands(0)):
                    return False
                raise ServiceError(f"{self.title} does not start:\n{self.log_tails()}")
            if self.is_ready():
                if not self.patiently(self.api.is_guarded):
                    raise ServiceError(
                        f"{self.title} accepts requests of other web pages:\n{self.log_tails()}"
                    )
                return True
            time.sleep(0.2)
        raise ServiceError(
            f"{self.title} is not ready after {self.starts_within:.0f} s:\n{self.log_tails()}"
        )

    def log(self, component: str) -> str:
        """The log of a process so far."""
        try:
            return (self._logs / f"{component}.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment_without(*prefixes: str) -> dict[str, str]:
    """This process's environment without the variables of an existing engine, given by prefixes.

    NO_PROXY is extended, so that requests to loopback use no proxy.
    """
    # Without bytecode, each process of the engine would compile all modules again.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(prefixes) and name != "PYTHONDONTWRITEBYTECODE"
    }
    loopback = ",".join(filter(None, (kept.get("NO_PROXY"), "127.0.0.1,localhost")))
    return {
        **kept,
        "NO_PROXY": loopback,
        "no_proxy": loopback,
        "PYTHONPATH": os.pathsep.join(_absolute(kept.get("PYTHONPATH", ""))),
    }


def _absolute(path: str) -> list[str]:
    return [str(Path(entry).absolute()) for entry in path.split(os.pathsep) if entry]


def last_lines(text: str, count: int = 15) -> str:
    return "\n".join(text.rstrip().splitlines()[-count:])
