"""Tables that were just filled have statistics, without a wait for autovacuum."""

from __future__ import annotations

import asyncio

from engine.install import gather_statistics
from engine.testing.harness import Live


def test_what_was_filled_is_known_to_the_planner(live: Live) -> None:
    live.run_sql("tenants", "create table crm.fresh_for_statistics as select generate_series(1, 50) as number")
    try:
        asyncio.run(gather_statistics(live.system))
        [known] = live.run_sql(
            "tenants", "select reltuples from pg_class where oid = 'crm.fresh_for_statistics'::regclass"
        )
        assert known[0] == 50
        live.run_sql("tenants", "insert into crm.fresh_for_statistics values (51)")
        asyncio.run(gather_statistics(live.system))
        [again] = live.run_sql(
            "tenants", "select reltuples from pg_class where oid = 'crm.fresh_for_statistics'::regclass"
        )
        assert again[0] == 50, "what is known is left to autovacuum, so that each start is quick"
    finally:
        live.run_sql("tenants", "drop table crm.fresh_for_statistics")
