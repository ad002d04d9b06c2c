"""Settings that rules read, with the value they have when nobody set another (catalogue, section "Settings")."""

from typing import Any

SETTINGS: dict[str, Any] = {
    "auth.lock_threshold": 5,
    "auth.lock_minutes": 15,
    "auth.max_sessions": 10,
    "auth.max_api_keys": 10,
    "bill.dunning_days": [3, 7, 14],
    "bill.payment_terms_days": 14,
    "bill.suspend_after_days": 21,
    "tnnt.reserved_slugs": ["www", "api", "admin", "app", "mail", "static", "status"],
    "tnnt.platform_zone": "cxg.example",
    "tnnt.invitation_days": 7,
    "tnnt.closing_days": 30,
    # "" = the name servers that the operating system knows
    "tnnt.dns_server": "",
    "tnnt.dns_port": 53,
    "tnnt.verification_hours": 72,
    "noti.retry_minutes": [1, 5, 15],
    "srm.invoice_policy": "delivered",
    "apm.match_price_tolerance_pct": 2,
    "apm.match_qty_tolerance_pct": 0,
    "base_currency": "USD",
}
