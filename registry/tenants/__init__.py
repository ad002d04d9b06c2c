"""Tenants scope: written as if there were one tenant; registration adds `tenant_id` to every table, key and index."""

from engine.types import Model


class TenantModel(Model, abstract=True):
    """Base of the models whose rows belong to one tenant."""
