"""Find the code of a user on the stack of an import: the file itself and the modules it imports."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from types import FrameType

_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})
_OWN = ("sagebridge", "sagebridge_operators")


def is_user_code(frame: FrameType) -> bool:
    """Whether this code is neither sagebridge's nor in an installed or standard package."""
    # Code made by a library has a name such as <attrs generated init>.
    if frame.f_code.co_filename.startswith((*_STANDARD, *_INSTALLED, "<")):
        return False
    return module_of(frame).partition(".")[0] not in _OWN


def module_of(frame: FrameType) -> str:
    """The name of the module of a frame."""
    return str(frame.f_globals.get("__name__", ""))


def is_library_import(frame: FrameType | None) -> bool:
    """Whether a library that is being imported runs, rather than a function that is called."""
    while frame is not None and not is_user_code(frame):
        if module_of(frame) == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False


def line_in_file(frame: FrameType | None, file: Path) -> int:
    """The innermost line of the file on the stack; 1 if it is not on the stack of this thread."""
    name = str(file)
    while frame is not None:
        if frame.f_code.co_filename == name:
            return frame.f_lineno
        frame = frame.f_back
    return 1
