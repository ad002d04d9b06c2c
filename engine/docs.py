"""Documentation pages: the OpenAPI document, Swagger UI at /docs and Scalar at /scalar. They ask no other host.

The pages' programs are files of the installed package `offapi`. It is found and not imported: that would read 9 MB.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles

from engine.catalog import Catalog
from engine.errors import StartupFault
from engine.openapi import build_document
from engine.routes import ROUTES

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
SAFE = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
# name under /docs/ -> file of offapi
ASSETS = {"swagger.js": "swagger_bundle.js", "swagger.css": "swagger_style.css", "scalar.js": "scalar.js"}

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API documentation</title>
<link rel="icon" href="data:,">
{head}
</head>
<body>
<div id="docs"></div>
<script src="docs/{program}"></script>
<script src="docs/{start}"></script>
</body>
</html>
"""
# `tenant/address` as user name: the form of Swagger's Authorize has no field for the tenant
START_SWAGGER = """window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  docExpansion: "none",
  defaultModelsExpandDepth: -1,
  deepLinking: true,
  filter: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    if (request.url.endsWith("/auth/token") && request.body) {
      const form = new URLSearchParams(request.body);
      const [tenant, name] = (form.get("username") || "").split("/");
      if (name) {
        form.set("tenant", tenant);
        form.set("username", name);
        request.body = form.toString();
      }
    }
    return request;
  },
});
"""
START_SCALAR = """Scalar.createApiReference("#docs", {
  url: "openapi.json",
  withDefaultFonts: false,
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  showDeveloperTools: "never",
  hideClientButton: true,
  defaultOpenAllTags: false,
  proxyUrl: "",
});
"""


def document_of(catalog: Catalog, root: str = "", *, signs_in: bool = True) -> bytes:
    """The OpenAPI document as JSON text; `root`: where the application is mounted; `signs_in`: with the routes of signing
    in, where the catalogue has an identity."""
    document = build_document(catalog, ROUTES, root, signs_in=signs_in and catalog.identity is not None)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def assets_folder() -> Path:
    """Where the pages' programs are. StartupFault when the package is not installed."""
    found = find_spec("offapi")
    if found is None or found.origin is None:
        raise StartupFault("the package offapi, which brings the documentation pages, is not installed")
    return Path(found.origin).parent


def page(program: str, start: str, head: str = "") -> Response:
    """An HTML page that loads its program from here."""
    return Response(PAGE.format(head=head, program=program, start=start), headers=SAFE, media_type="text/html")


def script(text: str) -> Response:
    """A program of our own."""
    return Response(text, headers=SAFE, media_type="text/javascript")


class Docs:
    """Handlers of the documentation routes."""

    def __init__(self, catalog: Catalog, signs_in: bool) -> None:
        self.catalog, self.signs_in = catalog, signs_in
        self.files = StaticFiles(directory=assets_folder())
        # by the path that the application is mounted at, which its host says
        self.told = lru_cache(maxsize=8)(self._told)

    def _told(self, root: str) -> dict[str, tuple[bytes, dict[str, str]]]:
        """The document by its encoding, built once, with the headers that say so."""
        body = document_of(self.catalog, root, signs_in=self.signs_in)
        tag = hashlib.sha256(body).hexdigest()[:32]
        packed = {"ETag": f'"{tag}-gzip"', "Content-Encoding": "gzip"}
        return {"": (body, {"ETag": f'"{tag}"'}), "gzip": (gzip.compress(body, 6, mtime=0), packed)}

    async def document(self, request: Request) -> Response:
        """GET /openapi.json: packed for who takes that, 304 when the caller has it."""
        forms = await asyncio.to_thread(self.told, request.scope.get("root_path", ""))
        body, headers = forms["gzip" if "gzip" in request.headers.get("accept-encoding", "") else ""]
        usual = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
        known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
        if headers["ETag"] in known or "*" in known:
            return Response(status_code=304, headers=usual | {"ETag": headers["ETag"]})
        return Response(body, headers=usual | headers, media_type="application/json")

    async def swagger(self, _request: Request) -> Response:
        """GET /docs."""
        return page("swagger.js", "start-swagger.js", '<link rel="stylesheet" href="docs/swagger.css">')

    async def scalar(self, _request: Request) -> Response:
        """GET /scalar."""
        return page("scalar.js", "start-scalar.js")

    async def start_swagger(self, _request: Request) -> Response:
        """GET /docs/start-swagger.js."""
        return script(START_SWAGGER)

    async def start_scalar(self, _request: Request) -> Response:
        """GET /docs/start-scalar.js."""
        return script(START_SCALAR)

    async def asset(self, request: Request) -> Response:
        """GET /docs/<asset>: a file of offapi, 304 when the caller has it."""
        name = ASSETS[request.url.path.rpartition("/")[2]]
        answer = await self.files.get_response(name, request.scope)
        answer.headers.update({"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"})
        return answer


def docs_routes(catalog: Catalog, *, signs_in: bool) -> list[BaseRoute]:
    """The documentation routes of a catalogue; `signs_in`: callers may sign in here."""
    docs = Docs(catalog, signs_in)
    return [
        Route("/openapi.json", docs.document),
        Route("/docs", docs.swagger),
        Route("/scalar", docs.scalar),
        Route("/docs/start-swagger.js", docs.start_swagger),
        Route("/docs/start-scalar.js", docs.start_scalar),
        *(Route(f"/docs/{name}", docs.asset) for name in ASSETS),
    ]
