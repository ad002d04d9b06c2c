"""Manager scope: the platform's own database. Here rows of every tenant lie side by side, so `tenant_id` is a business
column like any other."""

from engine.types import Model


class ManagerModel(Model, abstract=True):
    """Base of the platform's models."""
