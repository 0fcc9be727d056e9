"""``prefect.yaml``: the deployments that ``prefect deploy --all`` makes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from sagebridge.errors import SourceError
from sagebridge.terminal.source_files import content

FILE = Path("prefect.yaml")
_HEAD = "# Kept by `sagebridge deploy`; `prefect deploy --all` deploys the same.\n"


def updated(file: Path, entries: Sequence[Mapping[str, Any]]) -> str:
    """The file's text with these deployments; all else in it stays as a person wrote it.

    Raises SourceError where the file is no ``prefect.yaml``, or has another flow by a name of ours.
    """
    text = content(file)
    if text is None and file.exists():
        raise SourceError(str(file), "is no UTF-8 text that can be read")
    yaml = YAML()
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = {} if text is None else _read(yaml, file, text)
    listed = document.get("deployments") or []
    changed = False
    for entry in entries:
        found = next((one for one in listed if one.get("name") == entry["name"]), None)
        if found is None:
            listed.append(dict(entry))
            changed = True
            continue
        if found.get("entrypoint") not in (None, entry["entrypoint"]):
            other = f"{entry['name']!r} is the deployment of {found.get('entrypoint')} there"
            fix = f"rename it, or give it the entrypoint {entry['entrypoint']}"
            raise SourceError(str(file), other, fix)
        if any(found.get(key) != value for key, value in entry.items()):
            found.update(entry)
            changed = True
    if text is not None and not changed:
        return text
    document["deployments"] = listed
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue() if text is not None else _HEAD + out.getvalue()


def _read(yaml: YAML, file: Path, text: str) -> Any:
    try:
        document = yaml.load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SourceError(f"{file}:{line}", f"is no YAML: {error.problem}") from None
    except YAMLError as error:
        raise SourceError(str(file), f"is no YAML: {str(error).splitlines()[0]}") from None
    if document is None:
        return {}
    listed = document.get("deployments") if isinstance(document, Mapping) else ""
    if not (listed is None or isinstance(listed, list)) or not all(
        isinstance(one, Mapping) for one in listed or ()
    ):
        raise SourceError(
            str(file), "is no prefect.yaml: deployments have to be a list of mappings"
        )
    return document
