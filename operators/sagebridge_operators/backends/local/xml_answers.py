"""XML responses of AWS services."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from sagebridge_operators.backends.local.api import Answer

Content = str | Mapping[str, Any] | None
"""A text, or elements by name; a list repeats its element."""


def xml_answer(name: str, content: Content, namespace: str = "", status: int = 200) -> Answer:
    """A response with one document."""
    root = ET.Element(name, xmlns=namespace) if namespace else ET.Element(name)
    _fill(root, content)
    text = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    headers = {"Content-Type": "application/xml", "Content-Length": str(len(text))}
    return Answer(status, headers, io.BytesIO(text))


def _fill(element: ET.Element, content: Content) -> None:
    if not isinstance(content, Mapping):
        element.text = content
        return
    for name, value in content.items():
        for one in value if isinstance(value, list) else [value]:
            _fill(ET.SubElement(element, name), one)
