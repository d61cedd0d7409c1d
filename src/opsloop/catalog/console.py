"""The console in the catalog: who may sign in, and what each may do."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from opsloop.catalog.notify import SecretFile
from opsloop.catalog.units import Duration

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""Each may do what those before it may: look; answer, silence, acknowledge; pause and resume."""
_Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\r\n]*$")]
_Host = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
_Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OpenID(_Model):
    """A provider of OpenID Connect: Google, Okta, or any with a discovery document.

    The redirect address to register there is CONSOLE_URL/sign-in/openid/back.
    """

    issuer: _Url
    client_id: _Line
    client_secret_file: SecretFile
    scopes: list[_Line] = ["openid", "email", "profile"]
    groups_claim: _Line = "groups"
    name_claim: _Line = "email"


class ConsoleRoles(_Model):
    """Which groups (or names of people) have a role; `*` is everybody who could sign in."""

    viewer: list[_Line] = []
    operator: list[_Line] = []
    admin: list[_Line] = []


class Console(_Model):
    """The console. A role is looked up by group and by name, the highest one counts.

    sign_in: none is for loopback only. basic: a form, with the people of users_file (lines
    `name:bcrypt`, as htpasswd -B writes them), or without one the stack's own user. Unset: none
    where the stack binds to loopback, else basic.
    """

    sign_in: Literal["none", "basic", "openid"] | None = None
    users_file: SecretFile | None = None
    openid: OpenID | None = None
    roles: ConsoleRoles = ConsoleRoles()
    hosts: list[_Host] = []  # further names by which it is reached, as behind a proxy
    session: Duration = Field(default=Duration(8 * 3_600_000))  # until one signs in again


def is_loopback(bind: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return bind == "localhost"


def role_of(roles: ConsoleRoles, name: str, groups: list[str]) -> Role | None:
    """The highest role of a person; None: none, and so nothing may be seen."""
    known = {name, *groups, "*"}
    for role in reversed(ROLES):
        if known & set(getattr(roles, role)):
            return role
    return None
