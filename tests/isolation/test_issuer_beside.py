"""An outside issuer beside the bundled identity: both kinds of callers, and tenants whom tokens name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from engine.entrance import outside_of
from engine.errors import StartupFault
from engine.settings import Settings
from engine.testing.harness import Live, serving, settings_for_tests
from tests.calls import Caller
from tests.issuer import AUDIENCE, ISSUER, Issuer, issuing

CLIENTS = "hedge/garden/clients"
POLICY = """
[roles.gardener."garden.clients"]
operations = ["read", "create"]

[roles.office."bill.plans"]
operations = ["read"]
"""


class Both:
    """The server and its issuer."""

    def __init__(self, live: Live, issuer: Issuer) -> None:
        self.live, self.issuer = live, issuer

    def caller(self, *roles: str, **claims: object) -> Caller:
        token = self.issuer.token(realm_access={"roles": list(roles)}, sub=str(uuid4()), **claims)
        client = httpx.Client(base_url=self.live.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        self.live.clients[token] = client
        return Caller(client)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("beside")
    policy = folder / "policy.toml"
    policy.write_text(POLICY)
    with issuing() as issuer:
        settings = settings_for_tests(
            folder,
            issuer=ISSUER,
            audience=AUDIENCE,
            jwks_url=issuer.url,
            policy=policy,
            roles_claim="realm_access.roles",
            tenant_claim="org",
        )
        with serving(settings, ["registry", "tests.isolation.hedges"]) as live:
            yield Both(live, issuer)


def test_both_kinds_of_callers_come_in(both: Both) -> None:
    plans = Caller(both.live.client("manager")).list("manager/bill/plans")
    assert both.caller("office").list("manager/bill/plans") == plans
    both.caller("gardener").expect_refusal("403:permission_denied", "GET", "manager/bill/plans")
    assert both.caller("office", email="ann@id.example").send(200, "GET", "auth/me")["email"] == "ann@id.example"
    assert Caller(both.live.client("manager")).send(200, "GET", "auth/me")["scope"] == "manager"


def test_a_token_names_a_tenant_that_there_is(both: Both) -> None:
    tenant = str(both.live.tenant(both.live.client("tenants")))
    regions = {"regions": ["east"]}
    by_slug, by_id = both.caller("gardener", org="first", **regions), both.caller("gardener", org=tenant, **regions)
    made = by_slug.make(CLIENTS, name="Rose", region="east")
    assert made["id"] in {row["id"] for row in by_id.list(CLIENTS)}
    other = both.caller("gardener", org="second", **regions)
    assert other.list(CLIENTS) == [] and other.send(200, "GET", "auth/me")["tenant"]["slug"] == "second"
    both.caller("gardener", org="nowhere", **regions).expect_refusal("403:wrong_scope", "GET", CLIENTS)
    both.caller("gardener", **regions).expect_refusal("403:wrong_scope", "GET", CLIENTS)
    by_slug.expect_refusal("403:wrong_scope", "GET", "manager/bill/plans")


def test_the_rules_of_the_entity_hold_beside_the_policy(both: Both) -> None:
    both.caller("gardener", org="first", regions=["west"]).make(CLIENTS, name="West", region="west")
    assert both.caller("gardener", org="first", regions=[]).list(CLIENTS) == []


def test_a_token_of_the_issuer_is_no_session_here(both: Both) -> None:
    """Its name does not make a token good, and ours are not the issuer's."""
    forged = both.issuer.token(key=both.issuer.private["rsa-1"], algorithm="RS256")
    for token in (forged, both.live.token("admin@example.com")[:-6] + "AAAAAA"):
        answer = httpx.get(f"{both.live.url}/manager/bill/plans", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"issuer": ISSUER}, "go together; jwks_url, audience, policy is not set"),
        ({"policy": Path("p.toml")}, "issuer, jwks_url, audience is not set"),
        ({"issuer": "cxg", "audience": "x"}, "an outside issuer has a name of its own"),
        ({"jwks_url": "http://id.example/jwks"}, "clear text; say https"),
        ({"issuer_algorithms": ["HS256"]}, "'HS256' is no algorithm for public keys"),
    ],
)
def test_half_an_issuer_is_told_at_start(said: dict[str, object], text: str) -> None:
    whole = {"issuer": ISSUER, "jwks_url": "https://id.example/jwks", "audience": AUDIENCE, "policy": Path("p.toml")}
    given = said if len(said) == 1 and ("issuer" in said or "policy" in said) else {**whole, **said}
    with pytest.raises(StartupFault, match=r"trusted|together|outside") as fault:
        outside_of(Settings(admin_password=SecretStr("x"), **given))  # type: ignore[arg-type]
    assert text in str(fault.value)
    assert outside_of(Settings()) is None
