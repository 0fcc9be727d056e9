"""One test module per version of the SDK; only that of the installed version is collected."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))  # for tools.news


def installed() -> str:
    try:
        return version("sagemaker").partition(".")[0]
    except PackageNotFoundError:
        return "none"


collect_ignore = ["pipelines", *(f"test_v{other}.py" for other in "23" if other != installed())]
if installed() != "3":
    collect_ignore.append("test_names.py")
