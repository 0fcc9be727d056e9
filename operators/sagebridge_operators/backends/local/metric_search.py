"""The last value of a metric in a log: ``metric_search.py REGEX < LOG``, in a process of its own.

A definition's pattern may take for ever on some lines, and only a process can be ended. Run with
``python -I -S``, standard library only, so that it starts in milliseconds.
"""

from __future__ import annotations

import re
import sys


def last(pattern: re.Pattern[str], text: str) -> str:
    """The first group of the last match; the service's logs show a tab as #011."""
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
        sys.exit(f"no regular expression: {error}")
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.stdout.write(last(wanted, sys.stdin.read()))
