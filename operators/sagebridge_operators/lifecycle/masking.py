"""Masks secrets in requests, definitions, messages and job logs. The only module that does.

Secret are all values of a job's environment, and values whose name looks secret: hyperparameters,
tags, container arguments (``--api-key VALUE``, ``PASSWORD=VALUE``) and any other key of a request.
A name looks secret if a part of it is in ``_WORDS``, or is ``key`` after one in
``_BEFORE_KEY``, in snake, kebab or camel case. ``max_tokens``, ``tokenizer`` and ``pad_token`` do
not look secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

MASK = "***"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS = _words(
    "apikey authorization credential credentials passphrase passwd password passwords pwd secret "
    "secrets token"
)
_BEFORE_KEY = _words("access account api auth encryption private secret signing")
_BEFORE_TOKEN = _words(
    "begin bos class client cls continuation end eos eot mask max min next num pad pagination per "
    "request sep special start stop unk"
)
_AFTER_TOKEN = _words("budget count dim id ids len length limit max min size type")
"""Words around ``token`` that name a token of a text or of an API, which is not a secret."""
_ENVIRONMENTS = frozenset(("env", "environment", "environmentvariables"))
_VALUES = ("Value", "value")
_EXPRESSION_KEYS = frozenset(("Get", "On", "Path"))
"""Keys of an expression in a definition whose values are not part of its result."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_OPTION = re.compile(r"--?[A-Za-z][\w.-]*")
_ASSIGNMENT = re.compile(
    r"""(?P<name>(?P<dash>--?)?[A-Za-z_][\w.-]*)(?P<between>=|(?(dash)\s+|(?!)))"""
    r"""(?P<value>"[^"]*"|'[^']*'|[^\s"']+)"""
)
_SHORT = 4
"""Shorter values are not masked in messages, where they occur for other reasons."""
_SHORT_IN_LOG = 8
_HARMLESS = re.compile(r"s3://|arn:|/|[a-z]{2}(-[a-z]+)+-\d$|[\d.:+-]+$")
"""Values of an environment that are not masked in job logs: URIs, ARNs, paths, regions, numbers."""
_PASSWORD_IN_URL = re.compile(r"(://[^\s/@:]*:|https?://(?=[^\s/@:]+@))[^\s/@]+@")
"""The password, or a token in place of user and password."""


@cache
def looks_secret(name: str) -> bool:
    """Whether a name is that of a secret, such as ``db_password``, ``ApiKey`` or ``HF-TOKEN``."""
    words = [word.lower() for word in _WORD.findall(name)]
    around = zip(["", *words], words, [*words[1:], ""], strict=False)
    return any(_is_secret(*three) for three in around)


def _is_secret(before: str, word: str, after: str) -> bool:
    if word == "token":
        return before not in _BEFORE_TOKEN and after not in _AFTER_TOKEN
    if word == "key":
        return before in _BEFORE_KEY
    return word in _WORDS or word.endswith("password")


def mask(value: Any) -> Any:
    """A copy of a request or definition with its secrets masked; expressions stay."""
    return _Masker().copy(value)


def mask_text(text: str, request: Mapping[str, Any]) -> str:
    """A message about a request or description, with the secrets in it masked."""
    masker = _Masker()
    masker.copy(request)
    return _replaced(text, (one for one in masker.found if len(one) >= _SHORT))


def secrets_in_log(description: Mapping[str, Any]) -> list[str]:
    """What :func:`mask_line` masks in the log of a job.

    An environment has many values that are not secret, and a log repeats some. Short values, URIs
    and numbers therefore stay, unless their name looks secret.
    """
    masker = _Masker()
    masker.copy(description)
    plain = {one for one in masker.plain if len(one) < _SHORT_IN_LOG or _HARMLESS.match(one)}
    return [one for one in masker.found if len(one) >= _SHORT and one not in plain - masker.named]


def mask_line(line: str, secrets: list[str]) -> str:
    """A line of a job's log with the values of :func:`secrets_in_log` masked.

    Passwords in URLs are masked too: @step functions log all variables of the job, and the worker's
    PIP_INDEX_URL is one of them.
    """
    return _PASSWORD_IN_URL.sub(rf"\1{MASK}@", _replaced(line, secrets))


def named_secrets(request: Mapping[str, Any]) -> list[str]:
    """The values in a request whose names look secret."""
    masker = _Masker()
    masker.copy(request)
    return sorted(masker.named)


class _Masker:
    """Copies a value and collects the secrets in it.

    ``named`` are the values whose name looks secret, ``plain`` all others of an environment.
    """

    def __init__(self) -> None:
        self.named: set[str] = set()
        self.plain: set[str] = set()

    @property
    def found(self) -> set[str]:
        return self.named | self.plain

    def copy(self, value: Any) -> Any:
        match value:
            case Mapping():
                return {name: self._member(str(name), one, value) for name, one in value.items()}
            case list() | tuple():
                return self._items(list(value))
        return value

    def _member(self, name: str, value: Any, parent: Mapping[str, Any]) -> Any:
        if name.lower() in _ENVIRONMENTS and isinstance(value, Mapping):
            return {one: self._hidden(item, one) for one, item in value.items()}
        if name.lower() in _ENVIRONMENTS and isinstance(value, list | tuple):
            return [self._variable(one) for one in value]
        if name in _VALUES and looks_secret(_name_in(parent)):
            return self._hidden(value)
        if looks_secret(name) and not isinstance(value, Mapping | list | tuple):
            return self._hidden(value)
        if looks_secret(name) and isinstance(value, Mapping) and _is_expression(value):
            return self._hidden(value)
        return self.copy(value)

    def _variable(self, value: Any) -> Any:
        """A variable of an environment that is a list, as in ECS and Batch: a name and a value."""
        if not isinstance(value, Mapping):
            return self._hidden(value)
        name = _name_in(value)
        hidden = {key: self._hidden(one, name) for key, one in value.items() if key in _VALUES}
        return {**self.copy(value), **hidden}

    def _hidden(self, value: Any, name: str = "secret") -> Any:
        """``value`` masked; the literal parts of an expression are."""
        match value:
            case Mapping():
                return {
                    key: one if key in _EXPRESSION_KEYS else self._hidden(one, name)
                    for key, one in value.items()
                }
            case list() | tuple():
                return [self._hidden(one, name) for one in value]
            case None | True | False:
                return MASK
        (self.named if looks_secret(name) else self.plain).update(_spellings(str(value)))
        return MASK

    def _items(self, items: list[Any]) -> list[Any]:
        """A list: of strings, such as container arguments, an option is followed by its value."""
        copied: list[Any] = []
        option = ""
        for item in items:
            if option and looks_secret(option) and not isinstance(item, list | tuple):
                copied.append(self._hidden(item))
            elif isinstance(item, str):
                copied.append(_ASSIGNMENT.sub(self._assignment, item))
            else:
                copied.append(self.copy(item))
            option = item if isinstance(item, str) and _OPTION.fullmatch(item) else ""
        return copied

    def _assignment(self, found: re.Match[str]) -> str:
        if not looks_secret(found["name"]):
            return found[0]
        self.named.update(_spellings(found["value"]))
        return f"{found['name']}{found['between']}{MASK}"


def _name_in(pair: Mapping[str, Any]) -> str:
    """The name in a pair of a name and a value, such as a tag."""
    return next((str(pair[key]) for key in ("Key", "Name", "key", "name") if key in pair), "")


def _is_expression(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith(("Get", "Std:"))


def _spellings(value: str) -> Iterator[str]:
    """A value, and without the quotes that the SageMaker SDK adds to hyperparameters."""
    yield value
    if len(value) > 2 and value[0] == value[-1] and value[0] in "\"'":
        yield value[1:-1]


def _replaced(text: str, secrets: Any) -> str:
    """``text`` with the secrets masked, except for the bucket of an S3 URI.

    Many jobs have their bucket in a variable, and the name is needed to find a missing object.
    """
    for value in sorted(set(secrets), key=len, reverse=True):
        one = re.escape(value)
        text = re.sub(f"(?<!s3://){one}|{one}(?!/)", MASK, text)
    return text
