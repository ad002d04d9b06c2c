"""The OpenAPI 3.1 document, made from the same catalogue and table of routes that serve the requests. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from engine.catalog import Catalog, Resource
from engine.described import described
from engine.openapi import answers, beside, envelopes, grouping, many, parameters, querying, tables, transfers
from engine.openapi.answers import answer, content, failures, headers, page_of
from engine.openapi.parameters import Parameters, simple
from engine.openapi.schemas import NULL, Schema, Schemas, name_of, ref
from engine.types import Op

HISTORY = ("id", "occurred_at", "actor_id", "actor_email", "action", "changes", "request_id")
LATER: Schema = {"202": {"$ref": "#/components/responses/accepted"}}
ETAG, LOCATION = ("ETag", "etag"), ("Location", "location")
ABOUT = """One set of routes for every entity: `/<scope>/<domain>/<entity>`.

Every answer is `{"success", "data", "error"}`; an error has a `code`, a `message` and `details` for every fault found.
numeric and bigint values are strings. Each row has a `version`; its ETag begins with it. Deletion is soft.
Unknown, repeated or misspelt parameters are errors, never ignored. An operation names the codes that are its own;
`x-error-codes` has all of them."""
BESIDE = """Beside the parameters below: `filter[relation.field][op]`, and of what `expand` shows `fields[path]`,
`expand[path][limit]`, `expand[path][sort]`, `expand[path][filter][field][op]`; `POST .../query` takes all of it as a body.

"""
SIGN_IN = """An access token of `POST /auth/token`. On the Swagger page a person of a tenant signs in with the user name
`tenant/address`, such as `acme/ann@example.com`; elsewhere the form has a field `tenant`."""


class RouteRow(Protocol):
    """A row of the table of routes: method, what follows `/<scope>/<domain>/<entity>`, operation, summary."""

    @property
    def method(self) -> str: ...
    @property
    def tail(self) -> str: ...
    @property
    def op(self) -> Op: ...
    @property
    def summary(self) -> str: ...


class Builder:
    """Collects the parts of one document."""

    def __init__(self, catalog: Catalog, root: str, signs_in: bool) -> None:
        """`root`: path of the application in the one that it is mounted in; `signs_in`: callers get their tokens here, not
        from an outside issuer alone or from the application around."""
        self.catalog, self.root, self.signs_in = catalog, root, signs_in
        self.schemas, self.parameters = Schemas(catalog), Parameters(catalog)
        self.responses: dict[str, Schema] = {
            **answers.error_responses(),
            "minimal": answers.minimal(),
            "file": tables.file(),
            "accepted": transfers.accepted(),
        }

    # -- one operation

    def operation(self, resource: Resource, route: RouteRow) -> Schema:
        """The operation object of a route of an entity."""
        op = route.op
        codes, writes = answers.codes_of(self.catalog, resource, op), op in answers.WRITES
        done = ANSWERS[op](self, resource)
        made: Schema = {
            "operationId": f"{name_of(resource)}_{op.value}",
            "tags": [tag_of(resource)],
            "summary": route.summary if resource.soft else route.summary.replace("Soft delete", "Delete"),
            "description": describe(resource, op, codes),
            "responses": {**(answers.written(done) if writes else done), **failures(codes)},
            "x-permission": resource.permissions[op],
            "x-error-codes": {str(status): names for status, names in codes.items()},
        }
        key = [self.parameters.key(resource)] if "{id}" in route.tail else []
        repeated = simple("idempotency_key", "prefer") if writes else simple("prefer") if op is Op.EXPORT else []
        if taken := [*key, *self.parameters.of(resource, op), *repeated]:
            made["parameters"] = taken
        if op in BODIES and (body := BODIES[op](self, resource)):
            made["requestBody"] = {"required": op is not Op.DELETE, "content": body}
        return made

    # -- bodies

    def create_body(self, resource: Resource) -> Schema:
        """One object, or a list of them."""
        one = self.schemas.create(resource)
        return content({"oneOf": [one, {"type": "array", "items": one}]})

    def update_body(self, resource: Resource) -> Schema:
        """What changes: fields as they shall be, or a merge patch that reaches into them."""
        return {
            **content(self.schemas.update(resource)),
            **content(self.schemas.patch(resource), "application/merge-patch+json"),
        }

    def set_body(self, resource: Resource) -> Schema:
        """What every row of a set becomes: a merge patch without a version."""
        without: Schema = {"not": {"required": ["version"]}} if resource.versioned else {}
        return content({"allOf": [self.schemas.update(resource)], **without})

    def replace_body(self, resource: Resource) -> Schema:
        """A whole row."""
        return content(self.schemas.replace(resource))

    def status_body(self, resource: Resource) -> Schema:
        """The state to go to."""
        return content(self.schemas.status(resource))

    def deletion_body(self, resource: Resource) -> Schema:
        """The version that was read, which may stand in the query instead."""
        return content(ref("Deletion")) if resource.versioned else {}

    def query_body(self, _resource: Resource) -> Schema:
        """The words of a list's query."""
        return content(ref("Query"))

    def files(self, _resource: Resource) -> Schema:
        """A table in each format."""
        return tables.files(sent=True)

    # -- answers

    def created(self, resource: Resource) -> Schema:
        """201 with the row, or with the rows in the order of the body."""
        row = self.schemas.written(resource)
        both = self._named(resource, "created", {"oneOf": [row, {"type": "array", "items": row}, NULL]})
        text = "The row as it is stored; a list for a list; null for return=minimal. ETag and Location for one row"
        return {"201": answer(text, both, ETAG, LOCATION), **self.each(resource)}

    def upserted(self, resource: Resource) -> Schema:
        """200 or 201 with the row, or with what became of each."""
        row = self.schemas.written(resource)
        known = self._named(resource, "upserted", {"oneOf": [row, self._results(resource)]})
        new = self._named(resource, "new", {"oneOf": [row, NULL]})
        return {**many.upserted(known, new), **self.each(resource)}

    def each(self, resource: Resource) -> Schema:
        """207 with what became of each row of a list."""
        name = f"{name_of(resource)}_each"
        if name not in self.responses:
            self.responses |= answers.written({name: many.each(self._results(resource))})
        return {"207": {"$ref": f"#/components/responses/{name}"}}

    def _results(self, resource: Resource) -> Schema:
        one = self._named(resource, "result", many.result(self.schemas.written(resource)))
        return self._named(resource, "results", {"type": "array", "items": one})

    def _named(self, resource: Resource, suffix: str, schema: Schema) -> Schema:
        """A reference to a schema of the entity: what has a name has it in generated clients too."""
        name = f"{name_of(resource)}_{suffix}"
        self.schemas.components.setdefault(name, schema)
        return ref(name)

    def counted(self, resource: Resource) -> Schema:
        """200 with the number of rows."""
        count = self._named(resource, "count", many.count(self.schemas.written(resource)))
        return {"200": answer("How many rows were written", count)}

    def row(self, resource: Resource) -> Schema:
        """200 with the row as it now stands."""
        name = f"{name_of(resource)}_row"
        if name not in self.responses:
            row = answer("The row as it now stands", self.schemas.written(resource), ETAG)
            self.responses |= answers.written({name: row})
        return {"200": {"$ref": f"#/components/responses/{name}"}}

    def listed(self, resource: Resource) -> Schema:
        """200 with one page."""
        page = page_of(self.schemas.part(resource), grouping.MEMBERS)
        return {"200": answer("One page", self._named(resource, "page", page))}

    def exported(self, _resource: Resource) -> Schema:
        """200 with a file, or 202."""
        return {"200": {"$ref": "#/components/responses/file"}, **LATER}

    def imported(self, _resource: Resource) -> Schema:
        """200 with what became of the rows, or 202."""
        return {"200": answer("What became of the rows", ref("ImportReport")), **LATER}

    def got(self, resource: Resource) -> Schema:
        """200 with the row, or 304."""
        unchanged = {"description": "What If-None-Match names still stands", "headers": headers(ETAG)}
        return {"200": answer("The row", self.schemas.viewed(resource), ETAG), "304": unchanged}

    def transitions(self, resource: Resource) -> Schema:
        """200 with the ways out of the present state."""
        return {"200": answer("The present state and every other", self.schemas.transitions(resource))}

    def history(self, resource: Resource) -> Schema:
        """200 with one page of the change log."""
        name = f"{resource.scope.name}_history"
        if name not in self.responses:
            page = page_of(self.schemas.record(resource, HISTORY))
            self.schemas.components[f"{name}_page"] = page
            self.responses[name] = answer("One page, newest first", ref(f"{name}_page"))
        return {"200": {"$ref": f"#/components/responses/{name}"}}

    # -- the whole

    def paths(self, routes: Iterable[RouteRow]) -> dict[str, Schema]:
        """Path items of every entity, then of the routes beside them."""
        rows, found = list(routes), dict[str, Schema]()
        for path, resource in self.catalog.resources.items():
            for route in rows:
                # OpenAPI 3.1 has no place for the method QUERY; POST .../query is the same
                if route.op in resource.ops and route.method != "QUERY":
                    item = found.setdefault(f"/{path}{route.tail}", {})
                    item[route.method.lower()] = self.operation(resource, route)
            if f"/{path}" in found:
                found[f"/{path}"]["x-entity"] = described(resource)
        return {**found, **beside.paths(signs_in=self.signs_in), **transfers.paths()}

    def components(self) -> Schema:
        """What operations share; to be asked for after the paths."""
        self.schemas.finish()
        return {
            "schemas": {
                **answers.SCHEMAS,
                **beside.SCHEMAS,
                **querying.SCHEMAS,
                **grouping.SCHEMAS,
                **tables.SCHEMAS,
                **transfers.SCHEMAS,
                **parameters.SCHEMAS,
                **self.parameters.values,
                **self.schemas.components,
            },
            "parameters": self.parameters.components,
            "responses": self.responses,
            "headers": answers.HEADERS,
            "securitySchemes": self.schemes(),
        }

    def schemes(self) -> Schema:
        """How callers show who they are."""
        text = "An access token, or an API key (`cxg_...`)"
        schemes: Schema = {"bearer": {"type": "http", "scheme": "bearer", "description": text}}
        if not self.signs_in:
            return schemes
        url = f"{self.root}/auth/token"
        flow = {"password": {"tokenUrl": url, "refreshUrl": url, "scopes": {}}}
        return {"oauth2": {"type": "oauth2", "description": SIGN_IN, "flows": flow}, **schemes}


Part = Callable[[Builder, Resource], Schema]
BODIES: Mapping[Op, Part] = {
    Op.CREATE: Builder.create_body,
    Op.UPDATE: Builder.update_body,
    Op.REPLACE: Builder.replace_body,
    Op.STATUS: Builder.status_body,
    Op.DELETE: Builder.deletion_body,
    Op.UPDATE_MANY: Builder.set_body,
    Op.UPSERT: Builder.create_body,
    Op.QUERY: Builder.query_body,
    Op.IMPORT: Builder.files,
}
ANSWERS: Mapping[Op, Part] = {
    Op.CREATE: Builder.created,
    Op.LIST: Builder.listed,
    Op.EXPORT: Builder.exported,
    Op.IMPORT: Builder.imported,
    Op.GET: Builder.got,
    Op.UPDATE: Builder.row,
    Op.REPLACE: Builder.row,
    Op.DELETE: Builder.row,
    Op.STATUS: Builder.row,
    Op.TRANSITIONS: Builder.transitions,
    Op.HISTORY: Builder.history,
    Op.UPDATE_MANY: Builder.counted,
    Op.DELETE_MANY: Builder.counted,
    Op.UPSERT: Builder.upserted,
    Op.QUERY: Builder.listed,
}


def tag_of(resource: Resource) -> str:
    """`scope/domain`."""
    return f"{resource.scope.name}/{resource.entity.domain}"


def describe(resource: Resource, op: Op, codes: answers.Codes) -> str:
    """What the entity is, what the caller needs, what can go wrong here and not everywhere."""
    told = {
        status: [f"`{name}`" for name in names if name not in answers.EVERYWHERE] for status, names in codes.items()
    }
    errors = "\n".join(f"- {status}: {', '.join(names)}" for status, names in told.items() if names)
    needed = " and ".join(f"`{name}`" for name in resource.needed(op))
    more = BESIDE if op is Op.LIST and resource.relations else ""
    return f"{resource.entity.description}\n\nNeeds {needed}.\n\n{more}{errors}"


def tags_of(catalog: Catalog) -> list[Schema]:
    """One tag a domain, by its label; then the routes of the engine itself."""
    found: dict[str, Schema] = {}
    for resource in catalog.resources.values():
        label = resource.scope.labels.get(resource.entity.domain, resource.entity.domain)
        found.setdefault(tag_of(resource), {"name": tag_of(resource), "description": label, "x-displayName": label})
    own = {"name": "engine", "description": "Signing in, health and documentation", "x-displayName": "Engine"}
    return [*found.values(), own]


def groups_of(catalog: Catalog, tags: list[Schema]) -> list[Schema]:
    """Tags by scope, as Scalar shows them."""
    names = [str(tag["name"]) for tag in tags]
    groups = [
        {"name": scope, "tags": [name for name in names if name.startswith(f"{scope}/")]} for scope in catalog.scopes
    ]
    return [*(group for group in groups if group["tags"]), {"name": "engine", "tags": ["engine"]}]


def build_document(
    catalog: Catalog, routes: Iterable[RouteRow], root: str = "", *, signs_in: bool = True
) -> dict[str, Any]:
    """The document of a catalogue; `routes` is the table of `engine.routes`, `root` where the application is mounted,
    `signs_in` whether callers get their tokens here. KeyError for an operation unknown here."""
    builder = Builder(catalog, root, signs_in)
    paths = builder.paths(routes)
    components = builder.components()
    components["schemas"] |= envelopes.named(paths, components["responses"])
    tags = tags_of(catalog)
    return {
        "openapi": "3.1.0",
        "info": {"title": "CXG", "version": "1", "description": ABOUT},
        "servers": [{"url": root or "/"}],
        "security": [{name: []} for name in builder.schemes()],
        "tags": tags,
        "paths": paths,
        "components": components,
        "x-tagGroups": groups_of(catalog, tags),
        "x-functions": grouping.ROWS,
        "x-error-codes": answers.generic_codes(),
    }


__all__ = ["ANSWERS", "BODIES", "build_document"]
