"""The intrinsic functions and dynamic references of a CloudFormation template, as strings.

CloudFormation evaluates them at deployment. sagebridge does not know their values, so each one
becomes the variable of the ``Fn::Sub`` with the same meaning: ``{"Ref": "Bucket"}`` becomes
``${Bucket}``, ``{"Fn::GetAtt": ["Role", "Arn"]}`` becomes ``${Role.Arn}``. ``Fn::Sub`` and
``Fn::Join`` of strings become one string. ``{{resolve:ssm:/image}}`` stays as it is. A function
that ``Fn::Sub`` has no variable for becomes ``${Fn::Name:arguments}``. Each is a loss, with the
``--map`` option that sets its value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sagebridge.model.display import shown
from sagebridge.model.losses import Loss
from sagebridge.model.visit import escape

_VARIABLE = re.compile(r"\$\{(?!!)([^{}]{1,200})\}")
_DYNAMIC = re.compile(r"\{\{resolve:[^{}]{1,300}\}\}")
"""https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html"""
_IN_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|\$\{[^{}]{1,200}\}', re.DOTALL)
_UNSAFE = re.compile(r"""[\s"'\\{}\[\]$]+""")
_PUNCTUATION = re.compile(r'["{}\[\]]+')
_LONGEST = 120


def function_name(raw: Any) -> str:
    """``Ref`` or ``Fn::Name`` if the value is a call of an intrinsic function, otherwise empty."""
    if isinstance(raw, Mapping) and len(raw) == 1:
        (name,) = raw
        if name == "Ref" or str(name).startswith("Fn::"):
            return str(name)
    return ""


class Functions:
    """Replaces the functions in the values of a template and collects a loss for each."""

    def __init__(self, defaults: Mapping[str, Any]) -> None:
        """``defaults`` are those of the template's parameters, for the losses."""
        self._defaults = defaults
        self._found: dict[tuple[str, str], None] = {}
        self._unquoted: set[str] = set()

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(text for _, text in self._found)

    def losses(self) -> Iterator[Loss]:
        for pointer, text in self._found:
            default = self._defaults.get(text[2:-1])
            known = "" if default is None else f", by default {shown(default)}"
            what = f"{text} is set by CloudFormation{known}; it is kept as a string"
            fix = f"set its value with --map '{text}=VALUE'"
            if text in self._unquoted:
                fix = "replace the string by the number, Boolean or object that it stands for"
            yield Loss("template-function", "changed", pointer, what, "sagemaker", fix)

    def value(self, raw: Any, pointer: str) -> Any:
        """A JSON value without functions; ``pointer`` is its location in the template."""
        if name := function_name(raw):
            return self._call(name, raw[name], f"{pointer}/{escape(name)}")
        if isinstance(raw, str):
            return self._dynamic(raw, pointer)
        if isinstance(raw, Mapping):
            return {key: self.value(item, f"{pointer}/{escape(key)}") for key, item in raw.items()}
        if isinstance(raw, list):
            return [self.value(item, f"{pointer}/{index}") for index, item in enumerate(raw)]
        return raw

    def json(self, raw: Any, pointer: str) -> str | None:
        """The JSON text that a property has after deployment; None if it is not known.

        ``raw`` is a string, a definition, or a function that makes either. A variable outside of
        the strings of the text, such as a number, becomes a string.
        """
        if function_name(raw) == "Fn::ToJsonString":
            raw, pointer = raw["Fn::ToJsonString"], f"{pointer}/Fn::ToJsonString"
        if isinstance(raw, Mapping) and not function_name(raw):
            return json.dumps(self.value(raw, pointer))
        if function_name(raw) not in ("Fn::Sub", "Fn::Join") and not isinstance(raw, str):
            return None
        text = self.value(raw, pointer)
        return text if isinstance(raw, str) else _IN_JSON.sub(self._as_string, text)

    def _call(self, name: str, argument: Any, pointer: str) -> Any:
        match name, argument:
            case "Fn::ToJsonString", _:
                return json.dumps(self.value(argument, pointer))
            case "Ref", str():
                return self._variable(argument, pointer)
            case "Fn::GetAtt", [str(resource), str(attribute)]:
                return self._variable(f"{resource}.{attribute}", pointer)
            case "Fn::GetAtt", str():
                return self._variable(argument, pointer)
            case "Fn::Sub", str():
                return self._sub(argument, {}, pointer)
            case "Fn::Sub", [str(text), dict(values)]:
                return self._sub(text, values, pointer)
            case "Fn::Sub", [str(text)]:
                return self._sub(text, {}, pointer)
            case "Fn::Join", [str(separator), list(parts)] if not any(map(_is_list, parts)):
                texts = [self._part(part, f"{pointer}/1/{i}") for i, part in enumerate(parts)]
                return separator.join(texts)
        return self._variable(f"{name}:{_summary(argument)}", pointer)

    def _sub(self, text: str, values: Mapping[str, Any], pointer: str) -> str:
        def replacement(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name in values:
                return self._part(values[name], f"{pointer}/1/{escape(name)}")
            return self._variable(name, pointer)

        replaced = _VARIABLE.sub(replacement, text)
        return self._dynamic(replaced.replace("${!", "${"), pointer)

    def _part(self, raw: Any, pointer: str) -> str:
        """A part of a string."""
        value = self.value(raw, pointer)
        return value if isinstance(value, str) else json.dumps(value)

    def _variable(self, name: str, pointer: str) -> str:
        text = f"${{{name}}}"
        self._found[pointer, text] = None
        return text

    def _as_string(self, match: re.Match[str]) -> str:
        if match[0].startswith('"'):
            return match[0]
        self._unquoted.add(match[0])
        return f'"{match[0]}"'

    def _dynamic(self, text: str, pointer: str) -> str:
        """The string itself; its dynamic references are losses."""
        for match in _DYNAMIC.finditer(text):
            self._found[pointer, match[0]] = None
        return text


def _is_list(part: Any) -> bool:
    return isinstance(part, Sequence) and not isinstance(part, str)


def _summary(argument: Any) -> str:
    """The arguments of a function in a form that is safe inside a JSON string, and unique."""
    text = argument if isinstance(argument, str) else json.dumps(argument, separators=(",", ":"))
    short = _UNSAFE.sub("", text)
    known = text if isinstance(argument, str) else _PUNCTUATION.sub("", text)
    if short == known and len(short) <= _LONGEST:
        return short
    return f"{short[:_LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
