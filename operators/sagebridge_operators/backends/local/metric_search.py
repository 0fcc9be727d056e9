"""Print the last value of a metric in a log: ``metric_search.py REGEX < LOG``.

It is a separate process because a regular expression from a definition may never finish, and
``re`` has no timeout. It runs with ``python -I -S`` and the standard library only, so it starts in
milliseconds.
"""

from __future__ import annotations

import re
import sys


def last(pattern: re.Pattern[str], text: str) -> str:
    """The first group of the last match. SageMaker's logs contain ``#011`` instead of a tab."""
    value = ""
    for line in text.splitlines():
        found = pattern.search(line) or pattern.search(line.replace("\t", "#011"))
        if found and found.groups():
            value = found.group(1) or ""
    return value


if __name__ == "__main__":
    try:
        wanted = re.compile(sys.argv[1])
    except re.error as error:
        sys.exit(f"invalid regular expression: {error}")
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.stdout.write(last(wanted, sys.stdin.read()))
