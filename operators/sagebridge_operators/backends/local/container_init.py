"""The first process of a job: sets up /opt/ml, runs the job and kills what it leaves running.

It is a script for ``python -I -S`` with the standard library only, so it starts in milliseconds:
``container_init.py MODE ML CWD CONTROL COMMAND...``. CONTROL is a socket to the supervisor. The
byte ``T`` sends SIGTERM to the job; ``K`` or a closed socket kills everything. The result is one
line: ``exit N``, ``signal N`` or ``error TEXT``. The job is a child of this process because the
kernel ignores SIGTERM for process 1 of a PID namespace without a handler (pid_namespaces(7)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
from pathlib import Path

MS_BIND, MS_REC, MS_NOSUID, MS_NODEV = 4096, 16384, 2, 4
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    arguments = [None if text is None else text.encode() for text in (source, target, kind)]
    if libc.mount(*arguments, ctypes.c_ulong(flags), None if data is None else data.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")


def mount_ml(ml: str) -> None:
    """Bind ``ml`` to /opt/ml. Without such a folder, /opt is rebuilt from bind mounts first."""
    target = Path("/opt/ml")
    if target.is_symlink() or not target.is_dir():
        # Open descriptors still reach files that the new /opt hides.
        old = os.open("/opt", os.O_PATH)
        ml = f"/proc/self/fd/{os.open(ml, os.O_PATH)}"
        mount("tmpfs", "/opt", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
        for entry in Path(f"/proc/self/fd/{old}").iterdir():
            copy = Path("/opt", entry.name)
            if copy == target:
                continue
            if entry.is_symlink():
                copy.symlink_to(entry.readlink())
                continue
            if entry.is_dir():
                copy.mkdir()
            else:
                copy.touch()
            mount(str(entry), str(copy), None, MS_BIND | MS_REC)
        target.mkdir()
    mount(ml, str(target), None, MS_BIND | MS_REC)
    # Hosts that mask parts of /proc forbid a new mount (mount_too_revealing in Linux's
    # fs/namespace.c); the old one will do.
    with contextlib.suppress(OSError):
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)


def descendants() -> list[int]:
    """All descendants of this process; needed without a PID namespace, which would end them."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    parents.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def kill_all(group: int) -> None:
    """Kill the job's process group, then all other descendants."""
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGKILL)
    while Path("/proc/self").exists():
        left = descendants()
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not left:
            return


def spawn(command: list[str], cwd: str) -> int:
    """Start the job in its own process group; exit codes 126 and 127 are as in a shell."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        os.chdir(cwd)
        if hasattr(libc, "prctl"):
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606
    except FileNotFoundError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(126)


def run(command: list[str], cwd: str, control: int, *, alone: bool) -> str:
    """Run the job until it or the supervisor ends. Returns the line for the supervisor.

    ``alone``: in a PID namespace, where the kernel kills all processes when this one ends.
    """
    wake, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    job = spawn(command, cwd)
    while True:
        readable, _, _ = select.select([control, wake], [], [])
        if control in readable:
            order = os.read(control, 1)
            if order == b"T":
                with contextlib.suppress(OSError):
                    os.kill(job, signal.SIGTERM)
            else:
                if not alone:
                    kill_all(job)
                return f"signal {signal.SIGKILL:d}"
        if wake in readable:
            os.read(wake, 4096)
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == job:
                    if not alone:
                        kill_all(job)
                    code = os.waitstatus_to_exitcode(status)
                    return f"exit {code}" if code >= 0 else f"signal {-code}"
                if not pid:
                    break


def main(mode: str, ml: str, cwd: str, control: str, *command: str) -> None:
    channel = int(control)
    os.set_inheritable(channel, False)
    try:
        if mode == "mount":
            mount_ml(ml)
        answer = run(list(command), cwd, channel, alone=mode != "rewrite")
    except OSError as error:
        answer = f"error {error.strerror or error}"
    with contextlib.suppress(OSError):
        os.write(channel, f"{answer}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
