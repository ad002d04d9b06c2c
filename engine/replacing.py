"""PUT: what GET gave can be sent back. What callers do not set may stand in the body too, as it is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from engine.catalog import Catalog, Resource
from engine.errors import Fault, invalid
from engine.parse import BodyReader, load_json
from engine.shapes import Incoming

# what a read shows of a masked column
MASK = "***"


class ReplaceReader(BodyReader):
    """Reads such bodies of one entity."""

    def __init__(self, catalog: Catalog, resource: Resource) -> None:
        super().__init__(catalog, resource, "replace")
        self.fixed = frozenset(name for name, field in resource.fields.items() if field.shown) - self.fields.keys()
        self.masked = frozenset(name for name, field in self.fields.items() if field.masked)

    def read(self, body: bytes) -> tuple[list[Incoming], bool]:
        """The row of a body, with the fields that must be `kept`."""
        rows = None if self.masked else self._quick(body, False)
        if rows is not None:
            return rows, False
        document, faults = load_json(body), list[Fault]()
        kept = self._kept(document) if isinstance(document, dict) else {}
        row = self._row({n: v for n, v in document.items() if n not in kept} if kept else document, faults, "")
        # what is masked is there, though nobody sees it
        faults = [fault for fault in faults if not (fault.code == "required" and fault.field in kept)]
        if faults:
            raise invalid(faults)
        row.kept = kept
        return [row], False

    def _kept(self, document: Mapping[str, Any]) -> dict[str, Any]:
        counted = {"version"} if self.versioned else set()
        kept = {name: document[name] for name in (self.fixed - counted) & document.keys()}
        return kept | {name: MASK for name in self.masked & document.keys() if document[name] == MASK}

    def check(self, kept: Mapping[str, Any], shown: str) -> None:
        """422 for what is not as the row, as its reader sees it, has it."""
        stored = json.loads(shown, parse_float=Decimal)
        faults = [self._refused(name, "") for name, value in kept.items() if stored.get(name) != value]
        if faults:
            raise invalid(faults)
