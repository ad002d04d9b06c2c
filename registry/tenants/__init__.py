"""Tenants scope: written as if there were one tenant; registration adds `tenant_id` to every table, key and index."""

from sqlalchemy import MetaData

from engine.types import Model
from registry.manager import NAMING


class TenantModel(Model):
    """Base of the models whose rows belong to one tenant."""

    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING)
