"""IDAM-U7: enrolling and leaving the second factor (TOTP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyotp

from engine.errors import ConflictError, Fault, ForbiddenError, UnauthorizedError, invalid
from engine.hooks import Moment, Row
from registry.manager.passwords import hashable
from registry.manager.policies import mfa_is_mandatory
from registry.manager.sign_in import code_fits, invalid_credentials

ISSUER = "CXG"


async def second_factor(moment: Moment, step: str, given: Mapping[str, str]) -> Mapping[str, Any]:
    """One step of `STEPS`, for the signed-in user himself."""
    take = STEPS.get(step)
    if take is None:
        raise invalid([Fault("step", "invalid_choice", f"one of {', '.join(STEPS)}")])
    if moment.principal.session_id is None:
        raise ForbiddenError("permission_denied", "Only a signed-in person can change his second factor")
    user = await moment.get("idam.users", moment.principal.user_id) if moment.principal.user_id else None
    if user is None:
        raise UnauthorizedError("invalid_token")
    return await take(moment, user, given)


async def _begin(moment: Moment, user: Row, given: Mapping[str, str]) -> Mapping[str, Any]:
    """Make a secret and show it once; sign-in asks for codes only after the first right one."""
    if user["mfa_enabled"]:
        raise ConflictError("conflict", "The second factor is already in use; end it first")
    secret = pyotp.random_base32()
    await moment.update("idam.users", [{"id": user["id"], "mfa_secret": secret}])
    return {"secret": secret, "uri": pyotp.TOTP(secret).provisioning_uri(name=user["email"], issuer_name=ISSUER)}


async def _confirm(moment: Moment, user: Row, given: Mapping[str, str]) -> Mapping[str, Any]:
    """The first right code switches the factor on."""
    if user["mfa_secret"] is None:
        raise ConflictError("conflict", "No second factor was begun")
    if not code_fits(moment, user, given.get("code", "")):
        raise invalid([Fault("code", "invalid_format", "is not the code of this moment")])
    await moment.update("idam.users", [{"id": user["id"], "mfa_enabled": True}])
    return {"mfa_enabled": True}


async def _end(moment: Moment, user: Row, given: Mapping[str, str]) -> Mapping[str, Any]:
    """Switching it off needs the password, and no policy may ask for it."""
    password = given.get("password", "")
    if not hashable(password) or not await moment.check_password(password, user["password_hash"]):
        raise invalid_credentials()
    if await mfa_is_mandatory(moment, user["id"]):
        raise ConflictError("mfa_mandatory", "A policy requires the second factor")
    await moment.update("idam.users", [{"id": user["id"], "mfa_enabled": False, "mfa_secret": None}])
    return {"mfa_enabled": False}


STEPS = {"begin": _begin, "confirm": _confirm, "end": _end}
