"""Fixed assets: the categories that invoices buy for, and the drafts that come of it."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.types import Money, Name, column, reference
from registry.tenants import TenantModel


class AssetCategory(TenantModel, table="fam.asset_categories"):
    """Defaults for life, method and accounts."""

    name: Mapped[Name]
    threshold: Mapped[Money]
    cost_account_id: Mapped[UUID] = reference("fim.accounts")


asset_categories = Entity(AssetCategory, kind="config", label="name", search=["name"])


class Asset(TenantModel, table="fam.assets"):
    """Capitalised asset."""

    name: Mapped[Name]
    category_id: Mapped[UUID] = reference("fam.asset_categories")
    purchase_invoice_line_id: Mapped[UUID | None] = reference("apm.purchase_invoice_lines")
    acquisition_date: Mapped[date]
    cost: Mapped[Money] = column(above=0)
    cost_center_id: Mapped[UUID | None] = reference("fim.cost_centers")


assets = Entity(
    Asset,
    kind="document",
    label="name",
    search=["name"],
    read_only=["purchase_invoice_line_id", "cost_center_id"],
    machine="draft* in_service fully_depreciated disposed : draft>in_service; in_service~>fully_depreciated,disposed; "
    "fully_depreciated~>disposed",
)
