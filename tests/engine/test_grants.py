"""The policy file: what is wrong with one is told at once, and what roles have together."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from engine import registration
from engine.catalog import Catalog, compile_catalog
from engine.entity import Entity
from engine.errors import StartupFault
from engine.grants import Share, check_apart, compile_grants, merged, read_grants
from engine.main import load
from engine.types import Scope
from engine.views import seen_by
from tests.test_readme import README

CATALOG: Catalog = load(["registry"])[1]
LEADS, CUSTOMERS, LOG = "tenants/crm/leads", "tenants/crm/customers", "tenants/sys/audit-logs"


def role(name: str = "sales", **shares: Any) -> dict[str, Any]:
    """A document with one role; `crm__leads` is `crm.leads`."""
    return {"roles": {name: {key.replace("__", ".").replace("_", "-"): said for key, said in shares.items()}}}


def leads(**said: Any) -> dict[str, Any]:
    return role(crm__leads={"operations": ["read"], **said})


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("P002", {"rules": {}}, "the file has 'rules'; it has roles alone"),
    ("P002", {}, "the file grants nothing"),
    ("P002", {"roles": {"sales": 3}}, "roles.sales must be a table"),
    (
        "P002",
        leads(operation=["read"]),
        "has 'operation'; it has operations, fields, hidden, rows; perhaps 'operations'",
    ),
    ("P002", role(crm__leads=["read"]), "it has operations"),
    ("P002", leads(fields=["name"]), "fields has read, write, create, update"),
    ("P002", leads(hidden="name"), "hidden must be a list of fields"),
    ("P003", role(crm__laeds={"operations": ["read"]}), "crm.laeds: fits no entity; perhaps 'crm.leads'"),
    ("P004", leads(operations=["raed"]), "'raed' is no operation; they are read, create, update, delete, status, or *"),
    ("P004", role(crm__leads={}), "operations must be a list"),
    ("P005", leads(hidden=["stauts"]), "hidden names 'stauts', which is no field; perhaps 'status'"),
    ("P005", leads(fields={"read": ["nmae"]}), "fields.read names 'nmae'"),
    ("P005", leads(operations=["update"], fields={"write": ["created_at"]}), "nobody writes 'created_at'"),
    ("P006", leads(rows={"field": "owner", "value": 1}), "rows of crm.leads: 'owner' is no readable column"),
    ("P006", leads(rows={"field": "owner_id", "op": "contains", "value": "x"}), "takes eq"),
    ("P006", leads(rows={"field": "owner_id", "value": "$me"}), "'$me' is no value of the caller"),
    ("P006", leads(rows=[]), "rows of crm.leads"),
    ("P006", leads(rows={"read": {"field": "owner_id"}}), "a condition has field, op and value"),
    ("P007", leads(hidden=["id"]), "hidden names 'id', by which rows are known"),
    ("P008", leads(operations=["create"], fields={"write": ["source"]}), "which must be given"),
    ("P009", {"roles": {"sales": {"permissions": ["crm.customers.credt"]}}}, "perhaps 'crm.customers.credit'"),
    (
        "P010",
        role(crm__leads={"operations": ["read"], "hidden": ["score"]}, sys__audit_logs={"operations": ["read"]}),
        "say hidden = ['changes']",
    ),
]


@pytest.mark.parametrize(("number", "document", "text"), WRONG)
def test_what_does_not_fit_is_told(number: str, document: dict[str, Any], text: str) -> None:
    with pytest.raises(StartupFault) as fault:
        compile_grants(document, CATALOG)
    found = [line for line in str(fault.value).splitlines() if line.startswith(number)]
    assert any(text in line for line in found), str(fault.value)


def test_every_number_has_a_bad_example() -> None:
    source = Path("engine/grants.py").read_text() if Path("engine/grants.py").exists() else ""
    numbers = {f"P{number:03}" for number in range(1, 100) if f"P{number:03}" in source}
    assert numbers - {"P001"} == {number for number, _, _ in WRONG}


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(StartupFault) as fault:
        compile_grants(leads(operations=["x"], hidden=["y"], rows={"field": "z", "value": 1}), CATALOG)
    assert [line[:4] for line in str(fault.value).splitlines()[1:]] == ["P004", "P005", "P006"]


@pytest.mark.parametrize("text", ["roles = [", "\xff", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "policy.toml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StartupFault, match=r"P001 .*policy\.toml"):
        read_grants(path, CATALOG)


def test_the_example_of_the_readme_fits() -> None:
    text = README.split("```toml\n# policy.toml", 1)[1].split("\n```", 1)[0]
    grants = compile_grants(tomllib.loads(f"#{text}"), CATALOG)
    sales, reader = grants.roles["sales"], grants.roles["auditor"]
    assert sales.shares[CUSTOMERS].rights == {"read", "update"} and "credit_limit" not in sales.shares[CUSTOMERS].read
    assert sales.shares[CUSTOMERS].update == {"industry", "tags"}
    assert set(reader.shares) == set(CATALOG.resources) and reader.shares[LOG].rights == {"read"}


def test_the_closest_pattern_alone_counts() -> None:
    said = {"operations": ["read"]}
    document = {
        "roles": {
            "r": {
                "bill.*": {"operations": ["*"]},
                "crm.*": said,
                "crm.leads": {**said, "hidden": ["score"]},
                "crm.le*": {"operations": []},
            }
        }
    }
    with pytest.raises(StartupFault, match="P004"):
        compile_grants(document, CATALOG)
    document["roles"]["r"]["crm.le*"] = {"operations": ["delete"]}
    shares = compile_grants(document, CATALOG).roles["r"].shares
    assert shares[LEADS].rights == {"read"} and "score" not in shares[LEADS].read
    assert shares[CUSTOMERS].rights == {"read"} and "delete" in shares["manager/bill/plans"].rights


def share(rights: str, read: str = "", write: str = "", rows: dict[str, Any] | None = None) -> Share:
    words = frozenset(write.split())
    return Share(frozenset(rights.split()), frozenset(read.split()), words, words, rows or {})


def test_what_roles_have_together() -> None:
    """Fields count where a role has the right for them, and one role without a condition lifts those of the others."""
    first, second = {"field": "a"}, {"field": "b"}
    found, rows = merged(
        [
            share("read update", "id a", "a", {"read": first, "update": first}),
            share("read", "id b", "b", {"read": second}),
            share("create delete", "id secret", "c", {"create": second}),
        ]
    )
    assert found.rights == {"read", "update", "create", "delete"}
    assert (found.read, found.create, found.update) == ({"id", "a", "b"}, {"c"}, {"a"})
    assert rows == {"read": (first, second), "update": (first,), "create": (second,)}
    _, free = merged([share("read", "id", "", {"read": first}), share("read", "id")])
    assert free == {}


def test_a_view_leaves_the_whole_as_it_is() -> None:
    """What one set of roles does not see is not lost for others, and entities without a grant are the catalogue's own."""
    grants = compile_grants(leads(hidden=["score", "owner_id"]), CATALOG)
    whole = CATALOG.resources[LEADS]
    seen = seen_by(CATALOG, [grants.roles["sales"]])
    mine = seen.resources[LEADS]
    assert mine.fields["score"].unseen and not mine.fields["score"].shown and not mine.fields["score"].operators
    assert whole.fields["score"].shown and mine.entity.hidden == whole.entity.hidden
    assert seen.resources[CUSTOMERS] is CATALOG.resources[CUSTOMERS] and seen.whole is CATALOG
    assert set(mine.relations) <= set(whole.relations) and mine.hooks is whole.hooks
    assert not any("score" in names for _, names in mine.constraints.values())


def test_a_pattern_may_begin_with_the_scope() -> None:
    one, more = {"operations": ["read"]}, {"operations": ["read", "update"]}
    roles = {"r": {"*/crm.*": one, "tenants/crm.leads": more, "manager/bill.plans": one}}
    shares = compile_grants({"roles": roles}, CATALOG).roles["r"].shares
    assert (shares[CUSTOMERS].rights, shares[LEADS].rights) == ({"read"}, {"read", "update"})
    assert shares["manager/bill/plans"].rights == {"read"} and "manager/bill/invoices" not in shares
    with pytest.raises(StartupFault, match=r"P003 .*tenant/crm\.leads: fits no entity; perhaps 'tenants/crm\.leads'"):
        compile_grants({"roles": {"r": {"tenant/crm.leads": one}}}, CATALOG)


def test_one_permission_never_opens_the_entities_of_two_scopes() -> None:
    """Another scope with `sales.goods`, which a package has already; logs of several scopes are no fault."""
    one: dict[str, Any] = {"operations": ["read"]}

    def of(*names: str, bound: bool = False) -> Catalog:
        scopes, entities = [], []
        for name in names:
            table = sa.Table("goods", sa.MetaData(), sa.Column("id", sa.Uuid, primary_key=True), schema="sales")
            scopes.append(Scope(name, table.metadata, tenant_bound=bound and name == "two"))
            entities.append(Entity(table))
        registration.complete(entities)
        return compile_catalog(scopes, entities, [])

    check_apart(of("one"))
    check_apart(of("one", "two", bound=True))
    with pytest.raises(
        StartupFault, match=r"sales\.goods stands in the scopes one and two: sales\.goods\.read would open"
    ):
        check_apart(of("one", "two"))
    check_apart(load(["registry", "tests.engine.booth", "tests.engine.desk"])[1])
    with pytest.raises(
        StartupFault, match=r"P003 .*stands in several scopes; say one/sales\.goods or two/sales\.goods"
    ):
        compile_grants({"roles": {"r": {"sales.goods": one}}}, of("one", "two"))
    assert set(compile_grants({"roles": {"r": {"sales.*": one}}}, of("one", "two")).roles["r"].shares) == {
        "one/sales/goods",
        "two/sales/goods",
    }
