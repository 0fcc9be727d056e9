"""Methods to give a process a private /opt/ml, and the probe that finds one that works.

Capabilities, limits, AppArmor and seccomp can all forbid namespaces, so the only reliable test is
to try: a method works if a command reads a file under /opt/ml with it. The result is cached in
``home`` until the next reboot.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sagebridge_operators.lifecycle.private_folders import make_private
from sagebridge_operators.run_errors import IsolationError

INIT = Path(__file__).with_name("container_init.py")
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL")
PROBE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class IsolationMethod:
    """``prefix(ml)`` precedes the command line of ``container_init.py``; ``mode`` is its MODE."""

    title: str
    prefix: Callable[[Path], Sequence[str]]
    mode: str

    @property
    def rewrites(self) -> bool:
        """Whether the job has no /opt/ml, so that paths in its files must be replaced."""
        return self.mode == "rewrite"

    def command(self, ml: Path, cwd: Path, control: int, command: Sequence[str]) -> list[str]:
        """The command line that runs ``command`` with ``ml`` as /opt/ml."""
        init = [sys.executable, "-I", "-S", str(INIT), self.mode, str(ml), str(cwd), str(control)]
        return [*self.prefix(ml), *init, *command]


def _bubblewrap(ml: Path) -> list[str]:
    command = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/opt"]
    for entry in sorted(Path("/opt").iterdir()):
        if entry.is_symlink():
            command += ["--symlink", str(entry.readlink()), str(entry)]
        elif entry.name != "ml":
            command += ["--dev-bind", str(entry), str(entry)]
    command += ["--bind", str(ml), "/opt/ml", "--unshare-pid", "--proc", "/proc"]
    return [*command, "--die-with-parent", "--"]


METHODS: Mapping[str, IsolationMethod] = {
    "mount": IsolationMethod("a private mount namespace", lambda _: NAMESPACES, "mount"),
    "userns": IsolationMethod(
        "a user namespace",
        lambda _: (*NAMESPACES, "--user", "--map-root-user"),
        "mount",
    ),
    "bwrap": IsolationMethod("bubblewrap", _bubblewrap, "ready"),
    "rewrite": IsolationMethod(
        "path rewriting in *.py and *.sh files, arguments and environment variables; "
        "other uses of /opt/ml fail",
        lambda _: (),
        "rewrite",
    ),
}


def choose(home: Path, allowed: str | None = None) -> IsolationMethod:
    """The first method that works on this machine.

    ``allowed`` is a comma-separated list of methods to try in order (default: SAGEBRIDGE_ISOLATION
    or ``auto``, which means all).

    Raises:
        IsolationError: no method works, or a name is unknown.
    """
    wanted = allowed or os.environ.get("SAGEBRIDGE_ISOLATION") or "auto"
    names = list(METHODS) if wanted == "auto" else [name.strip() for name in wanted.split(",")]
    if unknown := [name for name in names if name not in METHODS]:
        known = f"unknown method (expected {', '.join(METHODS)} or auto)"
        raise IsolationError(dict.fromkeys(unknown, known))
    cache = home / "isolation.json"
    here = {"wanted": names, "boot": _boot(), "user": os.geteuid(), "python": sys.executable}
    try:
        cached = json.loads(cache.read_text())
        if cached["here"] == here:
            return METHODS[cached["method"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    tried: dict[str, str] = {}
    for name in names:
        problem = probe(METHODS[name], home)
        if not problem:
            _save(cache, {"here": here, "method": name, "tried": tried})
            return METHODS[name]
        tried[name] = problem
    raise IsolationError(tried)


def probe(method: IsolationMethod, home: Path) -> str:
    """Try to read a file under the private /opt/ml. Returns the problem, empty if it works."""
    make_private(home)
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=home) as name:
        ml = Path(name).absolute()
        (ml / "token").write_text(name)
        path = ml / "token" if method.rewrites else Path("/opt/ml/token")
        if not method.rewrites and not Path("/opt").is_dir():
            return "this machine has no folder /opt"
        parent, child = socket.socketpair()
        with parent, child:
            try:
                result = subprocess.run(
                    method.command(ml, ml, child.fileno(), ["cat", str(path)]),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    pass_fds=[child.fileno()],
                    timeout=PROBE_SECONDS,
                    check=False,
                )
            except FileNotFoundError as error:
                return f"{error.filename} is not installed"
            except (OSError, subprocess.TimeoutExpired) as error:
                return str(error)
            if result.stdout == name:
                return ""
            child.close()
            answer = parent.recv(1000).decode(errors="replace").removeprefix("error ").strip()
        return " ".join((result.stderr.strip() or answer or "no output").split())


def rewrite(folder: Path, ml: Path) -> None:
    """Replace /opt/ml by ``ml`` in the scripts and configuration files below ``folder``."""
    for path in folder.rglob("*"):
        if path.suffix in {".py", ".sh", ".json"} and path.is_file() and not path.is_symlink():
            if path.suffix == ".json" and path.parent.name != "config":
                continue
            content = path.read_bytes()
            if b"/opt/ml" in content:
                path.write_bytes(content.replace(b"/opt/ml", os.fsencode(ml)))


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _save(cache: Path, value: object) -> None:
    with tempfile.NamedTemporaryFile("w", dir=cache.parent, delete=False) as fresh:
        json.dump(value, fresh)
    shutil.move(fresh.name, cache)
