"""Which values a setting takes: its declared type, what its default looks like, and a JSON schema of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from registry.defaults import SETTINGS

Check = Callable[[Any], bool]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


TYPES: dict[str, Check] = {
    "string": lambda value: isinstance(value, str),
    "int": _is_int,
    "number": lambda value: _is_int(value) or isinstance(value, (float, Decimal)),  # a body's fractions stay exact
    "bool": lambda value: isinstance(value, bool),
    "json": lambda value: True,
}


def type_of(key: str) -> str | None:
    """The type of a key that rules read; None for any other key. A share in percent need not be whole."""
    if key not in SETTINGS:
        return None
    default = SETTINGS[key]
    kinds = {bool: "bool", str: "string", float: "number", int: "number" if key.endswith("_pct") else "int"}
    return kinds.get(type(default), "json")


def fault_of(key: str, value: Any, value_type: str) -> str | None:
    """Why a value does not fit the type, or the default that rules count on. None when it does; null says nothing. The
    message holds nothing of the value, which may be a secret."""
    if value is None:
        return None
    if not TYPES[value_type](value):
        return f"is not of the type {value_type}"
    known = type_of(key)
    if known is None:
        return None
    if not TYPES[known](value) or not _alike(SETTINGS[key], value):
        return f"is not like the default of {key}, {SETTINGS[key]!r}"
    return None


def _alike(default: Any, value: Any) -> bool:
    """Whether lists and objects are made as the default's are; numbers and null inside them are free."""
    if isinstance(default, list):
        return isinstance(value, list) and all(_alike(default[0], item) for item in value if default)
    if isinstance(default, dict):
        same = isinstance(value, dict) and value.keys() == default.keys()
        return same and all(value[name] is None or _alike(default[name], value[name]) for name in default)
    if isinstance(default, (str, bool)):
        return isinstance(value, type(default))
    return TYPES["number"](value)


def schema_fault(schema: Mapping[str, Any], value: Any = None, *, given: bool = True) -> str | None:
    """Why a value does not fit a JSON schema (2020-12), or why that is none; `given` False looks at the schema alone. What
    the schema refers to must stand in it: nothing is fetched."""
    # 0.1 s to import, and only administrators who write settings with a schema need it
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema, registry=Registry())
        wrong = best_match(validator.iter_errors(value)) if given else None
    except SchemaError as error:
        return f"is no JSON schema: {error.json_path}"
    except (Unresolvable, RecursionError):
        return "has a JSON schema with references that lead nowhere"
    return f"does not fit its schema: {wrong.validator} at {wrong.json_path}" if wrong else None
