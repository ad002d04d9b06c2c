"""Joining a tenant by the link of an invitation (TNNT-V3): the one write that somebody makes who may not sign in yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import ApiError, ConflictError, Fault, invalid
from engine.hooks import Moment, Row
from registry.locks import lock_by_id, lock_rows
from registry.manager.authority import digest
from registry.manager.idam import User
from registry.manager.passwords import storable
from registry.manager.seed import find_user
from registry.manager.tnnt import Invitation, Tenant, TenantMember

NAME_CHARACTERS = 160
# who has no password yet may choose it here; who has one signs in with it as before
MAY_JOIN = ("invited", "active", "locked")


async def accept_invitation(moment: Moment, given: Mapping[str, str]) -> Mapping[str, Any]:
    """Make the bearer of an invitation's `token` a member of its tenant. The invitation went to the person's address, so
    that whoever holds its token holds the address too: somebody new brings `full_name` and `password` and may sign in."""
    invitation = await _live_invitation(moment, given["token"])
    tenant = (await lock_by_id(moment, Tenant, {invitation["tenant_id"]})).get(invitation["tenant_id"])
    if tenant is None or tenant["status"] != "active":
        raise _not_valid()
    user = await _person(moment, invitation["email"], given)
    await _join(moment, invitation, user)
    place = {"id": tenant["id"], "slug": tenant["slug"]}
    return {"tenant": place, "user": {"id": user["id"], "email": user["email"]}, "role": invitation["role"]}


def _not_valid() -> ApiError:
    return ConflictError("invitation_not_valid", "The invitation was used, has ended or was taken back")


async def _live_invitation(moment: Moment, token: str) -> Row:
    """The pending invitation of a token, locked: of two who come with it at once the second finds it accepted."""
    invitations = Invitation.__table__.c
    found = await lock_rows(
        moment, Invitation, invitations.token_hash == digest(token), invitations.status == "pending"
    )
    if not found or found[0]["expires_at"] <= moment.now:
        raise _not_valid()
    return found[0]


async def _person(moment: Moment, email: str, given: Mapping[str, str]) -> Row:
    """The user of the address; a new one where there is none, or none who could ever sign in."""
    known = await find_user(moment, email)
    if known is None:
        own = _own_words(given, needed=("full_name", "password"))
        seen = {"user_type": "tenant", "email_verified_at": moment.now}
        return (await moment.create("idam.users", [{"email": email, **own, **seen}]))[0]
    user = (await lock_by_id(moment, User, {known["id"]}))[known["id"]]
    if user["user_type"] == "service" or user["status"] not in MAY_JOIN:
        raise _not_valid()
    changes: dict[str, Any] = {} if user["email_verified_at"] else {"email_verified_at": moment.now}
    if user["status"] == "invited":
        changes |= _own_words(given, needed=("password",))
    if changes:
        [user] = await moment.update("idam.users", [{"id": user["id"], **changes}])
    if user["status"] == "invited":
        [user] = await moment.status("idam.users", [user["id"]], "active", "accepted an invitation")
    return user


def _own_words(given: Mapping[str, str], needed: tuple[str, ...]) -> dict[str, str]:
    """What the person says of himself. 422 for what is missing or does not fit its column; the password is judged by
    IDAM-U1."""
    own = {name: given[name].strip() if name == "full_name" else given[name] for name in given if name != "token"}
    faults = [Fault(name, "required", "is needed: the person is new here") for name in needed if not own.get(name)]
    if len(own.get("full_name", "")) > NAME_CHARACTERS:
        faults.append(Fault("full_name", "too_long", f"has at most {NAME_CHARACTERS} characters"))
    if not storable(own.get("full_name", "")):
        faults.append(Fault("full_name", "invalid_format", "must be a text without NUL"))
    if faults:
        raise invalid(faults)
    return {name: value for name, value in own.items() if value}


async def _join(moment: Moment, invitation: Row, user: Row) -> None:
    """The membership, and the invitation accepted. 409 for who became a member in the meantime."""
    members = TenantMember.__table__.c
    place = {"tenant_id": invitation["tenant_id"], "user_id": user["id"]}
    own = (members[name] == value for name, value in place.items())
    if await moment.list("tnnt.tenant-members", *own, members.status != "removed", limit=1):
        raise _not_valid()
    await moment.update("tnnt.invitations", [{"id": invitation["id"], "accepted_user_id": user["id"]}])
    # before the member takes the place: the invitation gives it up
    await moment.status("tnnt.invitations", [invitation["id"]], "accepted")
    await moment.create("tnnt.tenant-members", [{**place, "role": invitation["role"], "joined_at": moment.now}])
