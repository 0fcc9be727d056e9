"""Builds HTML in which every string is escaped, unless it is already markup."""

from __future__ import annotations

from html import escape

from sagebridge.model.display import printable

_VOID = frozenset(("col", "meta"))


class Markup(str):
    """HTML that is not escaped again."""

    __slots__ = ()


def markup(*parts: str | int) -> Markup:
    """The parts as HTML. Control and direction characters of strings become visible."""
    return Markup(
        "".join(
            part if isinstance(part, Markup) else escape(printable(str(part)), quote=False)
            for part in parts
        )
    )


def tag(name: str, /, *content: str | int, **attributes: str | int | bool) -> Markup:
    """An element. ``_`` ends attributes such as ``class_``; false attributes are left out."""
    words = [name]
    for key, value in attributes.items():
        word = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(word)
        elif value is not False:
            words.append(f'{word}="{escape(printable(str(value)))}"')
    opening = f"<{' '.join(words)}>"
    return Markup(opening if name in _VOID else f"{opening}{markup(*content)}</{name}>")
