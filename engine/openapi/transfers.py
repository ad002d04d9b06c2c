"""Imports and exports that go on after their answer, as the document describes them."""

from __future__ import annotations

from engine.openapi.answers import WISHED, answer, failures
from engine.openapi.schemas import NULL, Schema, closed, ref
from engine.openapi.tables import file

ID: Schema = {"type": "string", "format": "uuid"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
LATER: Schema = {"type": ["string", "null"], "format": "date-time"}
COUNT: Schema = {"type": "integer", "minimum": 0}
MEMBERS: dict[str, Schema] = {
    "id": ID,
    "kind": {"type": "string", "enum": ["import", "export"]},
    "entity": {"type": "string", "description": "Its path, such as tenants/crm/customers"},
    "state": {"type": "string", "enum": ["queued", "running", "done", "failed", "canceled"]},
    "rows": {**COUNT, "description": "Rows that are done"},
    "total": {
        "type": ["integer", "null"],
        "minimum": 0,
        "description": "About how many there are, where that is known",
    },
    "created_at": MOMENT,
    "started_at": LATER,
    "ended_at": LATER,
    "expires_at": {**MOMENT, "description": "Until when it is told of, and its file is there"},
    "report": {"anyOf": [ref("ImportReport"), NULL], "description": "Of an import that came to its end"},
    "error": {"anyOf": [ref("Error"), NULL], "description": "Why it failed; faults of rows are in the report"},
    "file": {"type": ["string", "null"], "description": "Address of an export's file"},
    "size": {"type": ["integer", "null"], "minimum": 0, "description": "Bytes of the file"},
}
SCHEMAS: dict[str, Schema] = {"Transfer": closed(MEMBERS, list(MEMBERS))}
OURS = (500, 503, 504)
AGAIN = ("Retry-After", "retry_after")


def accepted() -> Schema:
    """202 of an import or export."""
    text = (
        "It goes on: `Location` tells how far it is. For `Prefer: respond-async`, and for imports of more rows than the setting "
        "`async_rows`"
    )
    made = answer(text, ref("Transfer"), ("Location", "location"), AGAIN)
    return {**made, "headers": {**made["headers"], **WISHED}}


def _operation(name: str, summary: str, response: Schema) -> Schema:
    segment = {"type": "string", "pattern": "^[a-z0-9_-]+$"}
    parameters = [
        {"name": "scope", "in": "path", "required": True, "schema": segment},
        {"name": "id", "in": "path", "required": True, "schema": ID},
    ]
    responses = {"200": response, **failures((400, 401, 403, 404, *OURS))}
    return {
        "operationId": name,
        "tags": ["engine"],
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
    }


def paths() -> Schema:
    """How a transfer is asked about, ended and fetched."""
    told = answer("How far it is, and what became of it", ref("Transfer"), AGAIN)
    asked = "An import or export that goes on after its answer; only its caller knows of it"
    ended = "End it, so that nothing of it stays; or forget one that is over, and its file"
    kept = {**file(), "description": "The file, as the export would have answered it"}
    return {
        "/{scope}/_transfers/{id}": {
            "get": _operation("transfer", asked, told),
            "delete": _operation("transfer_end", ended, told),
        },
        "/{scope}/_transfers/{id}/file": {
            "get": _operation("transfer_file", "The file of an export; 404 until it is done", kept)
        },
    }
