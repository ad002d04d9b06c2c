"""Attributes of products: what a category defines, and whether values fit it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from engine.errors import Fault

Definition = Mapping[str, Any]
CODE = "attribute_invalid"


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(msgspec.convert(value, date))
    except msgspec.ValidationError:
        return False


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


# type -> whether a JSON value has it
FITS: Mapping[str, Callable[[Any, Definition], bool]] = {
    "text": lambda value, _: isinstance(value, str),
    "int": lambda value, _: _is_number(value, int),
    "number": lambda value, _: _is_number(value, int, float, Decimal),
    "bool": lambda value, _: isinstance(value, bool),
    "date": lambda value, _: _is_date(value),
    "option": lambda value, definition: isinstance(value, str) and value in definition["options"],
}


def definition_fault(definition: Definition) -> str | None:
    """What is wrong with a definition by itself, or None."""
    options = definition.get("options") or []
    if definition["type"] not in FITS:
        return f"the type must be one of {', '.join(FITS)}"
    if (definition["type"] == "option") != bool(options):
        return "options are given for the type option, and for no other"
    return "an option is given twice" if len(set(options)) < len(options) else None


def value_faults(definitions: Iterable[Definition], values: Mapping[str, Any]) -> Iterator[Fault]:
    """A fault for each required attribute without value, each value that does not fit, each that nobody defined."""
    known = {definition["code"]: definition for definition in definitions}
    for code, definition in known.items():
        place = f"attributes.{code}"
        if code not in values:
            if definition.get("required"):
                yield Fault(place, CODE, "must be given")
        elif not FITS[definition["type"]](values[code], definition):
            yield Fault(place, CODE, _wanted(definition))
    for code in values.keys() - known.keys():
        yield Fault(f"attributes.{code}"[:120], CODE, "is not defined in the category or above it")


def _wanted(definition: Definition) -> str:
    if definition["type"] == "option":
        return f"must be one of {', '.join(definition['options'])}"
    return f"must be of the type {definition['type']}"
