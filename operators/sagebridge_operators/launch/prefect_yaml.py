"""``prefect.yaml``: the deployments for ``prefect deploy --all``."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from sagebridge.authoring.prefect_deployment import SLUG
from sagebridge.errors import SourceError
from sagebridge.terminal.source_files import content

FILE = Path("prefect.yaml")
_HEAD = "# Written by `sagebridge deploy`. `prefect deploy --all` makes the same deployments.\n"


def merge_deployments(file: Path, entries: Sequence[Mapping[str, Any]]) -> str:
    """The file's text with these deployments; everything else is kept, comments included.

    Raises SourceError if the file is not a ``prefect.yaml``, or if one of the deployment names is
    taken by another flow.
    """
    text = content(file)
    if text is None and file.exists():
        raise SourceError(str(file), "not a readable UTF-8 file")
    yaml = YAML()
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = {} if text is None else _read(yaml, file, text)
    listed = document.get("deployments") or []
    changed = False
    for entry in entries:
        found = next((one for one in listed if one.get("name") == entry["name"]), None)
        if found is None:
            listed.append({key: value for key, value in entry.items() if value or key == "tags"})
            changed = True
            continue
        if found.get("entrypoint") not in (None, entry["entrypoint"]):
            other = f"deployment {entry['name']!r} has the entrypoint {found.get('entrypoint')}"
            fix = f"rename it, or set its entrypoint to {entry['entrypoint']}"
            raise SourceError(str(file), other, fix)
        wanted = {**entry, **_with_others(found, entry)}
        if any(found.get(key, []) != value for key, value in wanted.items()):
            found.update({key: value for key, value in wanted.items() if value or key in found})
            changed = True
    if text is not None and not changed:
        return text
    document["deployments"] = listed
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue() if text is not None else _HEAD + out.getvalue()


def _with_others(found: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The schedules and triggers of an entry, after the hand-written ones of the file."""
    result = {}
    for key, mark in (("schedules", "slug"), ("triggers", "name")):
        others = [
            one
            for one in found.get(key) or ()
            if not (isinstance(one, Mapping) and str(one.get(mark)).startswith(SLUG))
        ]
        result[key] = [*others, *entry.get(key, ())]
    return result


def _read(yaml: YAML, file: Path, text: str) -> Any:
    try:
        document = yaml.load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SourceError(f"{file}:{line}", f"not valid YAML: {error.problem}") from None
    except YAMLError as error:
        raise SourceError(str(file), f"not valid YAML: {str(error).splitlines()[0]}") from None
    if document is None:
        return {}
    listed = document.get("deployments") if isinstance(document, Mapping) else ""
    if not (listed is None or isinstance(listed, list)) or not all(
        isinstance(one, Mapping) for one in listed or ()
    ):
        raise SourceError(str(file), "not a prefect.yaml: 'deployments' must be a list of mappings")
    return document
