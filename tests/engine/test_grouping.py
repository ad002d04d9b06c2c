"""What groups and facets refuse, and by which hint; masked, hidden, encrypted columns, rows of others, other entities."""

from __future__ import annotations

from uuid import UUID

import pytest

from engine.clock import CLOCK
from engine.errors import ApiError
from engine.grouping import MAX_AGGREGATES, MAX_FACETS, MAX_GROUPS
from engine.main import load
from engine.query import read_listing
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tests.calls import Caller
from tests.engine.wares import CATALOG, WARES
from tests.isolation.clauses import from_beside, naming
from tests.isolation.test_canaries import send, silent

BUYERS, ORDERS, CARDS = "market/shop/buyers", "market/shop/orders", "market/vault/cards"
N = "aggregate=n:count()"


# -- what does not fit


@pytest.mark.parametrize(
    ("query", "field", "code", "hint"),
    [
        ("aggregate=n:countt()", "aggregate", "invalid_choice", "perhaps you meant 'count'"),
        ("aggregate=n:bogus(price)", "aggregate", "invalid_choice", "there is count, count_distinct, sum"),
        ("aggregate=sum()", "aggregate", "invalid_format", "such as sum(total)"),
        ("aggregate=price", "aggregate", "invalid_format", "n:count(),sum(total)"),
        ("aggregate=", "aggregate", "invalid_format", "name:function(field)"),
        ("aggregate=count(),", "aggregate", "invalid_format", "name:function(field)"),
        ("aggregate=a b:count()", "aggregate", "invalid_format", "name:function(field)"),
        ("aggregate=sum(sum(price))", "aggregate", "invalid_format", "name:function(field)"),
        ("aggregate=1:count()", "aggregate", "invalid_format", "name:function(field)"),
        ("aggregate=sum(prize)", "aggregate", "unknown_field", "perhaps you meant 'price'"),
        ("aggregate=sum(title)", "aggregate", "invalid_choice", "takes count, count_distinct, min, max; not sum"),
        ("aggregate=min(id)", "aggregate", "invalid_choice", "not min"),
        ("aggregate=min(ready)", "aggregate", "invalid_choice", "takes count, count_distinct; not min"),
        ("aggregate=count_distinct(tags)", "aggregate", "invalid_choice", "takes count; not count_distinct"),
        ("aggregate=count(shout)", "aggregate", "invalid_choice", "not stored"),
        ("aggregate=sum(parts.weight)", "aggregate", "invalid_choice", "ask for the aggregate of shop.parts"),
        ("aggregate=count(),count()", "aggregate", "repeated", "another name:"),
        (f"{N}&group=n:kind", "group", "repeated", "another name:"),
        ("aggregate=" + ",".join(f"n{i}:count()" for i in range(21)), "aggregate", "out_of_range", f"{MAX_AGGREGATES}"),
        (f"{N}&group=kind,title,code,amount,small,big,price", "group", "out_of_range", f"{MAX_GROUPS}"),
        ("facets=kind,title,code,amount,small,big,price,share,ratio,ready,born", "facets", "out_of_range", f"{MAX_FACETS}"),
        (f"aggregate={'a' * 64}:count()", "aggregate", "invalid_format", "name:function(field)"),
        ("aggregate=count_distinct(parent.parent.parent.parent.title)", "aggregate", "too_complex", "3 relations"),
        (f"{N}&group=tags", "group", "invalid_choice", "rows are not grouped by that"),
        (f"{N}&group=raw", "group", "invalid_choice", "rows are not grouped by that"),
        (f"{N}&group=decade(at)", "group", "invalid_choice", "is not a part of a date"),
        (f"{N}&group=mont(at)", "group", "invalid_choice", "perhaps you meant 'month'"),
        (f"{N}&group=hour(born)", "group", "invalid_choice", "takes year, quarter, month, week, day; not hour"),
        (f"{N}&group=year(title)", "group", "invalid_choice", "takes no part of a date"),
        (f"{N}&group=parts.sku", "group", "invalid_choice", "many rows"),
        ("group=kind", "group", "required", "aggregate=count()"),
        (f"{N}&having[m]=1", "having[m]", "unknown_field", "there is n"),
        ("having[n]=1", "having[n]", "unknown_field", "none without aggregate"),
        (f"{N}&having[n][contains]=1", "having[n][contains]", "invalid_choice", "takes eq, ne"),
        (f"{N}&having[n][gt]=many", "having[n][gt]", "invalid_format", "integer"),
        (f"{N}&group=kind&having[kind]=old", "having[kind]", "invalid_choice", "new, used"),
        (f"{N}&having[n][in]={','.join(['1'] * 501)}", "having[n][in]", "out_of_range", "500"),
        (f"{N}&having[n]=1&having[n][eq]=1", "having[n][eq]", "repeated", "twice"),
        (f"{N}&sort=title", "sort", "unknown_field", "there is n"),
        (f"{N}&sort=n:last", "sort", "invalid_choice", "nullslast"),
        ("facets=parts.sku", "facets", "invalid_choice", "many rows"),
        ("facets=data", "facets", "invalid_choice", "rows are not grouped by that"),
        ("facets=month(at)", "facets", "unknown_field", "not a field"),
        (f"{N}&fields=title", "fields", "exclusive", "group names what a group shows"),
        (f"{N}&expand=parts", "expand", "exclusive", "group by"),
        (f"{N}&cursor=abc", "cursor", "exclusive", "page goes through groups"),
        (f"{N}&facets=kind", "facets", "exclusive", "says the same"),
        ("aggregate=count(secret)", "aggregate", "unknown_field", "is not a field here"),
        (f"{N}&group=secret", "group", "unknown_field", "is not a field here"),
        ("facets=secret", "facets", "unknown_field", "is not a field here"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_hint(query: str, field: str, code: str, hint: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_listing(CATALOG, WARES, query.encode())
    assert caught.value.status == (400 if code == "exclusive" else 422)
    assert [(fault.field, fault.code) for fault in caught.value.details] == [(field, code)]
    assert hint in caught.value.details[0].message


def test_conditions_on_results_count_with_the_others() -> None:
    many = "&".join(f"having[n][{op}]=1" for op in ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"))
    more = "&".join(f"filter[amount][{op}]=1" for op in ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"))
    more += "&filter[big]=1&filter[big][gt]=1&filter[big][lt]=1&filter[big][ne]=1"
    assert read_listing(CATALOG, WARES, f"{N}&{many}&{more}".encode()).grouping
    with pytest.raises(ApiError) as caught:
        read_listing(CATALOG, WARES, f"{N}&{many}&{more}&filter[small]=1".encode())
    assert caught.value.details[0].code == "out_of_range"


# -- whose rows and which columns


def someone(live: Live, *lacking: str, id: UUID | None = None) -> Caller:
    """A caller of tenant `first` who may do everything in the market but this."""
    held = {
        code for r in live.catalog.resources.values() if r.scope.name == "market" for code in r.permissions.values()
    }
    held |= {"shop.orders.manage", "shop.sensitive.read", "vault.sensitive.read"}
    place = TenantRef(live.tenant(live.client("market")), "first")
    return Caller(live.lend(Principal(id or CLOCK.new_id(), tenant=place, permissions=frozenset(held - set(lacking)))))


@pytest.fixture(scope="module")
def mark(market: Live) -> str:
    """The note of what the tests here count."""
    return str(CLOCK.new_id())


MASKED = (
    "aggregate=max(phone)",
    "aggregate=count(phone)",
    f"{N}&group=phone",
    "aggregate=p:max(phone)&having[p]=1",
    "facets=phone",
)


@pytest.mark.parametrize("query", MASKED)
def test_masked_columns_need_the_permission_that_unmasks_them(market: Live, mark: str, query: str) -> None:
    able, unable = someone(market), someone(market, "shop.sensitive.read")
    able.make(BUYERS, name="Ann", nick=mark[:40], phone="+49-1")
    found = able.send(200, "GET", f"{BUYERS}?filter[nick]={mark[:40]}&{query}")
    assert "+49-1" in str(found) or "having" in query or found["groups"][0]["count_phone"] > 0
    error = unable.expect_refusal("403:permission_denied", "GET", f"{BUYERS}?{query}")
    assert "shop.sensitive.read" in error["message"]
    assert unable.send(200, "GET", f"{BUYERS}?{N}&group=kind")["groups"]


def test_no_clause_shows_a_masked_column(market: Live) -> None:
    """Nor do refusals, whatever names it."""
    secret, unable = f"CANARY{CLOCK.new_id().hex}", someone(market, "shop.sensitive.read").client
    row = someone(market).make(BUYERS, name="Ann", phone=secret)
    resources = {path: r for path, r in market.catalog.resources.items() if r.scope.name == "market"}
    buyers = resources[BUYERS]
    asked = [*naming(buyers, row["id"], "phone", "CANARY"), *from_beside(resources, buyers, "phone", "CANARY")]
    assert len([one for one in asked if "aggregate" in one.path or "facets" in one.path]) > 10
    for one in asked:
        silent(send(unable, one), secret)


def test_masked_columns_behind_a_relation_need_it_too(market: Live) -> None:
    able, unable = someone(market), someone(market, "shop.sensitive.read")
    buyer = able.make(BUYERS, name="Ann", phone="+49-2")
    able.make(CARDS, buyer_id=buyer["id"], number="4242")
    query = f"{CARDS}?filter[buyer_id]={buyer['id']}&aggregate=n:count()"
    assert able.send(200, "GET", f"{query}&group=buyer.phone")["groups"] == [{"buyer.phone": "+49-2", "n": 1}]
    unable.expect_refusal("403:permission_denied", "GET", f"{query}&group=buyer.phone")
    assert unable.send(200, "GET", f"{query}&group=number")["groups"] == [{"number": "4242", "n": 1}]


def test_meta_tells_of_masked_columns_what_the_caller_may_make_of_them(market: Live) -> None:
    for caller, told in ((someone(market), True), (someone(market, "shop.sensitive.read"), False)):
        fields = {field["name"]: field for field in caller.send(200, "GET", f"{BUYERS}/_meta")["fields"]}
        assert ("functions" in fields["phone"]) is told and "functions" in fields["name"]


@pytest.mark.parametrize(
    "query", ["aggregate=count(mfa_secret)", "aggregate=n:count()&group=mfa_secret", "facets=mfa_secret"]
)
def test_hidden_and_encrypted_columns_are_never_counted(live: Live, query: str) -> None:
    error = Caller(live.client("manager")).expect_refusal("422:unknown_field", "GET", f"manager/idam/users?{query}")
    assert "is not a field here" in error["message"]


@pytest.mark.parametrize("name", ["pin", "papers"])
def test_encrypted_columns_that_are_shown_are_never_counted(name: str) -> None:
    """Even for those who read them."""
    room = load(["registry", "tests.engine.strongroom"])[1]
    keepers = room.resources["room/room/keepers"]
    assert keepers.fields[name].shown and keepers.fields[name].functions == ()
    for query in (f"aggregate=count({name})", f"{N}&group={name}", f"facets={name}"):
        with pytest.raises(ApiError) as caught:
            read_listing(room, keepers, query.encode())
        assert "encrypted" in caught.value.details[0].message


def test_rows_of_others_are_not_counted(market: Live, mark: str) -> None:
    ids = [CLOCK.new_id(), CLOCK.new_id()]
    one, other = (someone(market, "shop.orders.manage", id=id) for id in ids)
    for seller in (ids[0], ids[0], ids[1]):
        row = someone(market).make(ORDERS, note=mark, total="1")
        sql, tenant = "update shop.orders set seller_id = $1 where id = $2", market.tenant(market.client("market"))
        market.run_sql("tenants", sql, seller, UUID(row["id"]), tenant=tenant)
    query = f"{ORDERS}?filter[note]={mark}&aggregate=n:count(),sum(total)"
    assert one.send(200, "GET", query)["groups"] == [{"n": 2, "sum_total": "2.0000"}]
    assert other.send(200, "GET", query)["groups"] == [{"n": 1, "sum_total": "1.0000"}]
    assert someone(market).send(200, "GET", query)["groups"] == [{"n": 3, "sum_total": "3.0000"}]
    facet = other.send(200, "GET", f"{ORDERS}?facets=note&filter[note]={mark}&page_size=100")["facets"]["note"]
    assert [found["count"] for found in facet if found["value"] == mark] == [1]


def test_rows_of_other_tenants_are_not_counted(market: Live, mark: str) -> None:
    Caller(market.other_tenant()).make(BUYERS, name="Stranger", nick=mark[:40])
    caller = someone(market)
    assert caller.send(200, "GET", f"{BUYERS}?filter[name]=Stranger&{N}")["groups"] == [{"n": 0}]
    assert caller.send(200, "GET", f"{BUYERS}?filter[name]=Stranger&facets=nick")["facets"] == {"nick": []}


@pytest.mark.parametrize("query", ["aggregate=max(buyer.name)", f"{N}&group=buyer.region.name", "facets=buyer.name"])
def test_looking_into_an_entity_needs_its_read_permission(market: Live, query: str) -> None:
    blind = someone(market, "shop.buyers.read")
    assert blind.send(200, "GET", f"{CARDS}?{N}&group=label")["total"] is not None
    blind.expect_refusal("403:permission_denied", "GET", f"{CARDS}?{query}")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{BUYERS}/export?format=csv&{N}"),
        ("GET", f"{BUYERS}/export?format=ndjson&facets=kind"),
        ("DELETE", f"{BUYERS}?{N}&filter[name]=x"),
        ("GET", f"{BUYERS}/01a21a9a-0000-7000-8000-000000000000?{N}"),
    ],
)
def test_other_operations_take_no_groups(market: Live, method: str, path: str) -> None:
    error = someone(market).expect_refusal("400:unknown_parameter", method, path)
    assert "export" not in path or "ask the list" in error["message"]
