"""One clear reason for failures that any script can have: packages, credentials, a full disk."""

from __future__ import annotations

import re
from pathlib import Path

from sagebridge_operators.backends.local.os_errors import FULL, is_full

_OFFLINE = re.compile(
    r"NewConnectionError|Failed to establish a new connection|NameResolutionError|"
    r"ConnectTimeoutError|ProxyError|Connection (refused|reset|aborted)|"
    r"dns error|error sending request"
)
# pip's message, then uv's.
_PACKAGE = re.compile(
    r"ERROR: No matching distribution found for (?P<pip>.+)|"
    r"Because (?P<uv>\S+) was not found in the (package registry|provided package)"
)
_CREDENTIALS = re.compile(r"NoCredentialsError|Unable to locate credentials")
_FULL = re.compile(r"\[Errno (28|122)\]|No space left on device|Disk quota exceeded")


def explain(output: str, folder: str) -> str:
    """The reason of a failure that the last lines of a log show; empty for all others.

    Args:
        output: the last lines.
        folder: the working folder.
    """
    if found := _PACKAGE.search(output):
        package = (found["pip"] or found["uv"]).strip()
        problem = "no configured package index or folder has it"
        if _OFFLINE.search(output):
            problem = "no package index can be reached"
        return (
            f"cannot install the package {package}: {problem}; check the name and version, "
            "connect this machine, or set PIP_INDEX_URL or PIP_FIND_LINKS where jobs start"
        )
    if _CREDENTIALS.search(output):
        return (
            "the script calls AWS, but local jobs have no AWS account; declare its data as inputs "
            "and outputs of the step (copy objects to the local store with --upload), or run the "
            "pipeline with --backend aws"
        )
    if _FULL.search(output):
        return _full(folder)
    if is_full(Path(folder)):
        return f"{_full(folder)}; last output: {output.strip() or 'none'}"
    return ""


def _full(folder: str) -> str:
    return f"{FULL} (now {folder})"
