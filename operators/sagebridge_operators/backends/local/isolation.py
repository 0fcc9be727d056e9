"""Ways to give a process its own /opt/ml, and the probe that finds one that works here.

Namespaces are forbidden in too many ways to be known from outside (capabilities, nested limits,
AppArmor, seccomp), so a way counts only after it has really run a command that read a file under
/opt/ml. The answer is kept for this home until the machine boots again.
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

from sagebridge_operators.run_errors import IsolationError

INIT = Path(__file__).with_name("container_init.py")
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL")
PROBE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Way:
    """``prefix(ml)`` comes before init's command line; ``mode`` is what init has to do itself."""

    title: str
    prefix: Callable[[Path], Sequence[str]]
    mode: str

    @property
    def rewrites(self) -> bool:
        """Whether the job sees no /opt/ml, so that its files have to name the real folder."""
        return self.mode == "rewrite"

    def command(self, ml: Path, cwd: Path, control: int, command: Sequence[str]) -> list[str]:
        """The command line that runs ``command`` with ``ml`` as its /opt/ml."""
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


WAYS: Mapping[str, Way] = {
    "mount": Way("a private mount namespace", lambda _: NAMESPACES, "mount"),
    "userns": Way(
        "a user namespace",
        lambda _: (*NAMESPACES, "--user", "--map-root-user"),
        "mount",
    ),
    "bwrap": Way("bubblewrap", _bubblewrap, "ready"),
    "rewrite": Way(
        "rewriting: /opt/ml is replaced in *.py, *.sh, arguments and environment; "
        "other programs that name it will not find it",
        lambda _: (),
        "rewrite",
    ),
}


def choose(home: Path, allowed: str | None = None) -> Way:
    """The first way that works on this machine.

    ``allowed`` is a comma list of ways in order (default SAGEBRIDGE_ISOLATION, else all).

    Raises:
        IsolationError: none does, or a name is unknown.
    """
    asked = allowed or os.environ.get("SAGEBRIDGE_ISOLATION") or "auto"
    names = list(WAYS) if asked == "auto" else [name.strip() for name in asked.split(",")]
    if unknown := [name for name in names if name not in WAYS]:
        known = f"unknown in SAGEBRIDGE_ISOLATION, which knows {', '.join(WAYS)} and auto"
        raise IsolationError(dict.fromkeys(unknown, known))
    cache = home / "isolation.json"
    here = {"asked": names, "boot": _boot(), "user": os.geteuid(), "python": sys.executable}
    try:
        kept = json.loads(cache.read_text())
        if kept["here"] == here:
            return WAYS[kept["way"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    tried: dict[str, str] = {}
    for name in names:
        problem = probe(WAYS[name], home)
        if not problem:
            _keep(cache, {"here": here, "way": name, "tried": tried})
            return WAYS[name]
        tried[name] = problem
    raise IsolationError(tried)


def probe(way: Way, home: Path) -> str:
    """What goes wrong when a command reads a file of its own /opt/ml; empty when nothing does."""
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=home) as name:
        ml = Path(name).absolute()
        (ml / "token").write_text(name)
        path = ml / "token" if way.rewrites else Path("/opt/ml/token")
        if not way.rewrites and not Path("/opt").is_dir():
            return "this machine has no /opt to put it in"
        ours, theirs = socket.socketpair()
        with ours, theirs:
            try:
                result = subprocess.run(
                    way.command(ml, ml, theirs.fileno(), ["cat", str(path)]),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    pass_fds=[theirs.fileno()],
                    timeout=PROBE_SECONDS,
                    check=False,
                )
            except FileNotFoundError as error:
                return f"{error.filename} is not installed"
            except (OSError, subprocess.TimeoutExpired) as error:
                return str(error)
            if result.stdout == name:
                return ""
            theirs.close()
            told = ours.recv(1000).decode(errors="replace").removeprefix("error ").strip()
        return " ".join((result.stderr.strip() or told or "no output").split())


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


def _keep(cache: Path, value: object) -> None:
    with tempfile.NamedTemporaryFile("w", dir=cache.parent, delete=False) as fresh:
        json.dump(value, fresh)
    shutil.move(fresh.name, cache)
