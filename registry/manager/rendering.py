"""Texts with placeholders: `{{ name }}` and nothing else, so that a template can neither compute nor reach anything.

render("Hello {{ name }}", {"name": "Ann"})  ->  "Hello Ann"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
NAME = re.compile(r"[a-z][a-z0-9_]*")


def placeholders(text: str) -> set[str]:
    """What stands between braces: names of variables, and whatever else an author may have tried."""
    return {found.strip() for found in PLACEHOLDER.findall(text)}


def render(text: str, values: Mapping[str, Any]) -> str:
    """The text with its values. A value is put in as it is: what looks like a placeholder in it stays. A variable without
    value leaves nothing behind."""

    def value(found: re.Match[str]) -> str:
        name = found.group(1).strip()
        known = values.get(name) if NAME.fullmatch(name) else None
        return "" if known is None else str(known)

    return PLACEHOLDER.sub(value, text)
