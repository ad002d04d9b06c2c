"""Names for the envelopes of answers: what has none gets one of the generator of a client, such as `Response200`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.openapi.schemas import Schema, ref


def named(paths: Mapping[str, Schema], responses: Mapping[str, Schema]) -> dict[str, Schema]:
    """Component schemas of all envelopes; in their places the document refers to them. `Plan` comes in `PlanAnswer`."""
    found: dict[str, Schema] = {}
    for stem, response in _responses(paths, responses):
        for media in response.get("content", {}).values():
            data = media["schema"].get("properties", {}).get("data")
            if data is not None:
                name = _name_of(data, stem)
                found.setdefault(name, media["schema"])
                media["schema"] = ref(name)
    return found


def _responses(paths: Mapping[str, Schema], responses: Mapping[str, Schema]) -> Iterator[tuple[str, Any]]:
    """Every answer that is written out, with a name in case its data has none."""
    yield from responses.items()
    operations = [one for item in paths.values() for one in item.values() if "responses" in one]
    for operation in operations:
        for status, response in operation["responses"].items():
            yield f"{operation['operationId']}_{status}", response


def _name_of(data: Schema, stem: str) -> str:
    name = str(data["$ref"]).rpartition("/")[2] if "$ref" in data else stem
    return f"{name}Answer" if name[0].isupper() else f"{name}_answer"
