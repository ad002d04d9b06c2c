"""The floor's statements over sets of rows: relations shown inside rows, and many new rows with their audit records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

# a page of customers, each with its parent and the first five of its contacts
EXPANDED = """
select string_agg(row_to_json(x)::text, ',') from (
    select c.id, c.number, c.name, c.status, p.shown as parent, coalesce(k.shown, '[]') as contacts
    from (
        select * from crm.customers where tenant_id = $1 and is_active order by id limit $2 offset $3
    ) c
    left join lateral (
        select row_to_json(o) as shown from (
            select id, name from crm.customers where tenant_id = $1 and id = c.parent_id and is_active
        ) o
    ) p on true
    left join lateral (
        select json_agg(o) as shown from (
            select id, full_name, email, phone, position from crm.contacts
            where tenant_id = $1 and customer_id = c.id and is_active order by full_name, id limit 5
        ) o
    ) k on true
    order by c.id
) x
"""
CREATE_MANY = """
with given as (
    select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[])
        with ordinality as g (id, record, email, full_name, user_type, locale, place)
),
new as (insert into idam.users (
    id, email, full_name, user_type, locale, timezone, password_history,
    must_change_password, mfa_enabled, failed_login_count, status, created_at, updated_at, created_by, updated_by)
    select id, email, full_name, user_type, locale, 'UTC', '[]', false, false, 0, 'invited', $7, $7, $8, $8 from given
    returning *),
log as (insert into audt.audit_logs ({logged})
    select given.record, $7, $7, $7, $8, 'manager', $8, 'admin@example.com', 'create', 'idam', 'users', new.id,
        jsonb_build_object('row', to_jsonb(new)), 'ok', '127.0.0.1', $9, $10
    from new join given using (id))
select string_agg(row_to_json(x)::text, ',' order by place)
from new join given using (id), lateral (select {shown}) x
"""


def many_values(rows: Sequence[dict[str, Any]], actor: UUID, agent: str | None, now: datetime) -> list[Any]:
    """The arguments of CREATE_MANY."""
    columns = [[row[name] for row in rows] for name in ("email", "full_name", "user_type", "locale")]
    keys, records = ([uuid7() for _ in rows] for _ in range(2))
    return [keys, records, *columns, now, actor, agent, str(uuid7())]
