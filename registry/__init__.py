"""The bundled registry: a SaaS back end as data. One file a domain in `manager/` and `tenants/`, each holding models
and their `Entity` declarations; what metadata cannot say stands beside them in `<domain>_hooks.py`."""

from engine.types import Scope
from registry.manager import ManagerModel
from registry.tenants import TenantModel

scopes = [
    Scope(
        "manager",
        ManagerModel.metadata,
        description="The platform: identity, billing, tenants and the trail of all that was done.",
        labels={
            "idam": "Identity and access management",
            "bill": "Platform billing",
            "tnnt": "Tenant management",
            "audt": "Audit and compliance",
            "auto": "Automation",
            "noti": "Notification",
            "intg": "Integration",
            "cnfg": "Configuration",
        },
    ),
    Scope(
        "tenants",
        TenantModel.metadata,
        tenant_bound=True,
        description="What a customer of the platform works with; every row belongs to one tenant.",
        labels={
            "sys": "Tenant system foundation",
            "crm": "Customer relationship management",
            "pim": "Product information management",
            "fim": "Financial management",
            "apm": "Accounts and payments management",
        },
    ),
]
