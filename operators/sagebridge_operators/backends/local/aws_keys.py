"""The access key of a working folder, with which its jobs sign AWS requests."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sagebridge_operators.lifecycle.private_folders import make_private

FILE = "aws-keys.json"


@dataclass(frozen=True, slots=True)
class Keys:
    """The access key of a working folder."""

    access: str
    secret: str


def keys(home: Path) -> Keys:
    """The access key of the working folder ``home``, created on first use. Raises OSError."""
    path = home / FILE
    if not path.exists():
        make_private(home)
        # Readable only by its owner, as all files of tempfile; linked into place when complete.
        with tempfile.NamedTemporaryFile("w", dir=home, prefix=".aws-keys-") as file:
            made = {"access": f"LOCAL{secrets.token_hex(8).upper()}"}
            json.dump(made | {"secret": secrets.token_urlsafe(30)}, file)
            file.flush()
            with suppress(FileExistsError):
                os.link(file.name, path)
    return Keys(**json.loads(path.read_text()))
