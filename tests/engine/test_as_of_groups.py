"""Groups and facets of rows as they were."""

from __future__ import annotations

from engine.testing.harness import Live
from tests.calls import Caller

THINGS = "annals/ann/things"


def test_groups_and_facets_are_of_the_moment(annals: Live) -> None:
    admin = Caller(annals.client("annals"))
    rows = [admin.make(THINGS, name="Grouped then", many=many) for many in (1, 2, 4)]
    then = rows[-1]["created_at"].replace("+", "%2B")
    admin.send(200, "PATCH", f"{THINGS}/{rows[0]['id']}/status", {"status": "sold"})
    admin.change(THINGS, rows[1]["id"], many=20)
    admin.send(200, "DELETE", f"{THINGS}/{rows[2]['id']}")
    asked = "filter[name]=Grouped then&aggregate=n:count(),many:sum(many)&group=status"

    now = admin.send(200, "GET", f"{THINGS}?{asked}&sort=status")["groups"]
    assert now == [{"status": "new", "n": 1, "many": "20"}, {"status": "sold", "n": 1, "many": "1"}]
    past = admin.send(200, "GET", f"{THINGS}?{asked}&as_of={then}")["groups"]
    assert past == [{"status": "new", "n": 3, "many": "7"}]
    facets = admin.send(200, "GET", f"{THINGS}?filter[name]=Grouped then&facets=status&as_of={then}")["facets"]
    assert facets == {"status": [{"value": "new", "count": 3}]}
