"""What is done for each operation: a handler takes the call and gives the answer."""

from __future__ import annotations

from engine.call import Handler
from engine.handlers.bulk import delete_many, update_many
from engine.handlers.exchange import export, import_rows
from engine.handlers.reading import get, history, list_rows, query, transitions
from engine.handlers.upsert import upsert
from engine.handlers.writing import create, delete, replace, status, update
from engine.types import Op

HANDLERS: dict[Op, Handler] = {
    Op.CREATE: create,
    Op.LIST: list_rows,
    Op.GET: get,
    Op.UPDATE: update,
    Op.REPLACE: replace,
    Op.DELETE: delete,
    Op.STATUS: status,
    Op.TRANSITIONS: transitions,
    Op.HISTORY: history,
    Op.UPDATE_MANY: update_many,
    Op.DELETE_MANY: delete_many,
    Op.UPSERT: upsert,
    Op.EXPORT: export,
    Op.IMPORT: import_rows,
    Op.QUERY: query,
}
