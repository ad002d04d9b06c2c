"""What is asked of every contestant, and how near to the floor the engine has to come (design/performance.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from tests.benchmarks.contestants import Server
from tests.benchmarks.load import CONNECTIONS
from tests.benchmarks.stage import Stage

USERS, CONTACTS, CUSTOMERS = "/manager/idam/users", "/tenants/crm/contacts", "/tenants/crm/customers"
SET = 1000  # rows of a bulk create
PAGES = 10  # the first pages of a list are asked in turn


class Request(NamedTuple):
    """One HTTP request; `body` empty = none."""

    method: str
    path: str
    body: bytes = b""


class Round(NamedTuple):
    """What requests are made for: the rows, whether in the engine's query syntax, and a number of its own."""

    stage: Stage
    engine: bool
    serial: int


class Case(NamedTuple):
    """`target`: at most so many times the floor's CPU; `gain`: at least so many times less than the ORM's; None = not
    said. `once`: a request is sent once only. `before`, `after`: statements that ready and tidy up the rows. `takers`:
    contestants by name; () = all. `connections`: requests at once."""

    name: str
    title: str
    make: Callable[[Round], list[Request]]
    target: float | None = None
    gain: float | None = None
    once: bool = False
    scope: str = "manager"
    before: str | None = None
    after: str | None = None
    takers: tuple[str, ...] = ()
    connections: int = CONNECTIONS


def get(at: Round) -> list[Request]:
    """Every user once."""
    return [Request("GET", f"{USERS}/{key}") for key in at.stage.users]


def get_contact(at: Round) -> list[Request]:
    """Every contact once."""
    return [Request("GET", f"{CONTACTS}/{key}") for key in at.stage.contacts]


def list_counted(at: Round) -> list[Request]:
    """Pages of 50 with the exact total."""
    return [Request("GET", f"{USERS}?page={page}&page_size=50") for page in range(1, PAGES + 1)]


def list_uncounted(at: Round) -> list[Request]:
    """Pages of 50 without a total."""
    return [Request("GET", f"{USERS}?page={page}&page_size=50&count=none") for page in range(1, PAGES + 1)]


def list_filtered(at: Round) -> list[Request]:
    """50 tenant users from a varying address on, by address. More addresses than the engine keeps questions of: what is
    measured is a known shape with values that are new."""
    span = max(len(at.stage.users) - 200, 1)
    starts = [f"user-{index % span:05}@example.com" for index in range(0, 97 * 4000, 97)]
    if not at.engine:
        rest = "user_type=tenant&sort=email&page_size=50&count=none"
        return [Request("GET", f"{USERS}?email_from={quote(start)}&{rest}") for start in starts]
    by_email, by_type = quote("filter[email][gte]"), quote("filter[user_type]")
    rest = f"{by_type}=tenant&sort=email&page_size=50&count=none"
    return [Request("GET", f"{USERS}?{by_email}={quote(start)}&{rest}") for start in starts]


def update(at: Round) -> list[Request]:
    """A new name for every user, and then another."""
    names = (f"Name {at.serial} {half}".encode() for half in "ab")
    bodies = [b'{"full_name":"%b"}' % name for name in names]
    return [Request("PATCH", f"{USERS}/{key}", body) for body in bodies for key in at.stage.users]


def create(at: Round) -> list[Request]:
    """New users, each with an address of its own."""
    constant = {"full_name": "Made By Benchmark", "user_type": "tenant", "locale": "de"}
    count = 2 * len(at.stage.users)
    rows = ({"email": f"made-{at.serial}-{index}@example.com", **constant} for index in range(count))
    return [Request("POST", USERS, msgspec.json.encode(row)) for row in rows]


def status(at: Round) -> list[Request]:
    """Every user from invited to active."""
    return [Request("PATCH", f"{USERS}/{key}/status", b'{"status":"active"}') for key in at.stage.users]


def expand(at: Round) -> list[Request]:
    """Pages of 50 customers, each with its parent and its first five contacts."""
    shown = "fields=id,number,name,status&expand=parent,contacts&fields[parent]=id,name"
    below = (
        "fields[contacts]=id,full_name,email,phone,position&expand[contacts][sort]=full_name&expand[contacts][limit]=5"
    )
    pages = min(PAGES, len(at.stage.customers) // 50 or 1)
    query = f"page_size=50&count=none&{quote(f'{shown}&{below}', safe='=&,')}"
    return [Request("GET", f"{CUSTOMERS}?page={page}&{query}") for page in range(1, pages + 1)]


def create_many(at: Round) -> list[Request]:
    """Lists of a thousand new users."""
    constant = {"full_name": "Made By Benchmark", "user_type": "tenant", "locale": "de"}
    count = max(len(at.stage.users) // 400, 4)
    rows = [
        [{"email": f"made-{at.serial}-{index}-{place}@example.com", **constant} for place in range(SET)]
        for index in range(count)
    ]
    return [Request("POST", USERS, msgspec.json.encode(one)) for one in rows]


INVITE = "update idam.users set status = 'invited' where email like 'user-%' and status <> 'invited'"
UNMAKE = "delete from idam.users where email like 'made-%'"
CASES: tuple[Case, ...] = (
    Case("get", "get by id", get, 1.5, 6),
    Case("list", "list 50, exact total", list_counted, 1.4, 15),
    Case("list-none", "list 50, no total", list_uncounted),
    Case("list-filter", "list 50, filter + sort, no total", list_filtered, 1.5, 12),
    Case("tenants-get", "get by id, tenants scope", get_contact, 1.5, 4, scope="tenants"),
    Case("update", "update one field", update, 1.6, 9),
    Case("create", "create", create, 1.6, 9, once=True, after=UNMAKE),
    Case("expand", "list 50, expand to-one + to-many", expand, 1.6, scope="tenants", takers=("floor", "engine")),
    Case(
        *("bulk", "create 1,000 in one request", create_many),
        once=True,
        after=UNMAKE,
        takers=("floor", "engine", "ruleless"),
        connections=4,  # more would wait for a database connection longer than the engine lets them
    ),
    Case("status", "status change", status, 1.6, 9, once=True, before=INVITE),
)


def rendered(server: Server, case: Case, request: Request) -> bytes:
    """The request as it goes over the wire."""
    lines = [
        f"{request.method} {request.path} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "User-Agent: benchmark",
        "Accept: */*",
    ]
    if case.scope in server.tokens:
        lines.append(f"Authorization: {server.tokens[case.scope]}")
    if request.body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(request.body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + request.body
