"""Check the English of pages, strings, comments and names against tools/banned_phrases.toml.

``python tools/check_wording.py [PATH...]`` prints one line per finding, ``file:line: 'phrase':
advice``, and exits with 1 if there are any. Without paths it checks every tracked file.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = {".md"}
_CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# Golden files hold what other tests print.
EXCLUDED = ("tests/golden/",)

Table = list[tuple[re.Pattern[str], str]]


def main(paths: list[str]) -> int:
    rules = tomllib.loads((CHECKOUT / "tools" / "banned_phrases.toml").read_text("utf-8"))
    phrases = _compile(rules["phrases"])
    names = _compile(rules["names"])
    found = 0
    for path in paths or _tracked():
        file = CHECKOUT / path
        if path.startswith(EXCLUDED) or file.suffix not in {*PAGES, ".py"} or not file.is_file():
            continue
        source = file.read_text("utf-8")
        pieces = _page(source) if file.suffix in PAGES else _python(source)
        checks = [(line, text, phrases) for line, text in pieces]
        if file.suffix == ".py":
            checks += [(line, name, names) for line, name in _names(source)]
        for line, text, table in checks:
            lines = re.sub(r"\n[ \t>*-]*", "\n", text)
            # A line break inside a phrase does not hide it.
            sentence = lines.replace("\n", " ")
            for pattern, advice in table:
                for match in pattern.finditer(sentence):
                    at = line + lines.count("\n", 0, match.start())
                    print(f"{path}:{at}: {' '.join(match[0].split())!r}: write {advice}")
                    found += 1
    return 1 if found else 0


def _compile(table: dict[str, str]) -> Table:
    return [(re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in table.items()]


def _tracked() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "*.md", "*.py"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    return listing.stdout.splitlines()


def _page(source: str) -> Iterator[tuple[int, str]]:
    """The page without its code blocks, line numbers unchanged."""
    yield (
        1,
        re.sub(
            r"^```.*?^```",
            lambda block: "\n" * block[0].count("\n"),
            source,
            flags=re.MULTILINE | re.DOTALL,
        ),
    )


def _python(source: str) -> Iterator[tuple[int, str]]:
    """Strings, parts of f-strings, docstrings and blocks of comments, each with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    block: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if block and token.start[0] != last + 1:
            yield last - len(block) + 1, "\n".join(block)
            block = []
        block.append(token.string.lstrip("# "))
        last = token.start[0]
    if block:
        yield last - len(block) + 1, "\n".join(block)


def _names(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
