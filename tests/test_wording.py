"""tools/check_wording.py finds banned phrases in pages, strings, comments and names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parent.parent / "tools" / "check_wording.py"
# Assembled here, because the check reads this file too.
PHRASES = {"IS_NO": "is_no", "AGAIN": "where_it_is", "SO": "says_so"}


def check(path: Path, text: str) -> list[str]:
    """The findings in a file, without its path."""
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, CHECK, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == (1 if done.stdout else 0), done.stderr
    return [line.removeprefix(f"{path}:") for line in done.stdout.splitlines()]


def test_page_with_a_broken_line(tmp_path: Path) -> None:
    same, broken = (PHRASES["IS_NO"].replace("_", one) for one in " \n")
    page = f"A file that {broken} error.\n\n```\nthis {same} error\n```\n\nThere is no file.\n"
    (found,) = check(tmp_path / "page.md", page)
    assert found.startswith(f"1: '{same}': write")


@pytest.mark.parametrize("line", ['x = "{}"', 'x = f"{{x}}: {}"', "x = 1  # {}", '"""{}."""'])
@pytest.mark.parametrize("phrase", PHRASES.values(), ids=PHRASES)
def test_python_strings_and_comments(tmp_path: Path, line: str, phrase: str) -> None:
    phrase = phrase.replace("_", " ")
    text = line.format(f"it runs {phrase} today")
    (found,) = check(tmp_path / "module.py", f"y = 2\n{text}\n")
    assert found.startswith(f"2: '{phrase}")


def test_names(tmp_path: Path) -> None:
    (found,) = check(tmp_path / "module.py", "def test_what_is_left(): pass\n")
    assert found.startswith("1: 'test_what_': write")


def test_plain_english_has_no_findings(tmp_path: Path) -> None:
    text = '"""Stop the job. If there is no job, nothing happens."""\n'
    assert check(tmp_path / "module.py", text) == []
