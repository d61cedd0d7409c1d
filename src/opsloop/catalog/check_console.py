"""Rules over the console's section: nobody is let in by a mistake, and nobody locked out."""

from __future__ import annotations

from opsloop.catalog.console import ROLES, is_loopback
from opsloop.catalog.findings import Scope

_PATH = ("console",)
_LEAST_S = 60


def console(scope: Scope) -> None:
    given, stack = scope.catalog.console, scope.catalog.stack
    if given.sign_in == "none" and not is_loopback(stack.bind):
        scope.error(
            (*_PATH, "sign_in"),
            f"none is for loopback only, and the stack binds to {stack.bind}",
            "write basic or openid",
            reads=[("stack", "bind")],
        )
    if given.sign_in == "openid":
        if given.openid is None:
            scope.error((*_PATH, "sign_in"), "openid needs the provider", "write console.openid")
        if stack.console_url is None:
            hint = "write stack.console_url, which the provider sends people back to"
            scope.error((*_PATH, "openid"), "the console's own address is not known", hint)
    elif given.openid is not None:
        scope.error((*_PATH, "openid"), "is not used", "write sign_in: openid")
    if given.users_file is not None and given.sign_in != "basic":
        scope.error((*_PATH, "users_file"), "is not used", "write sign_in: basic")
    needs_roles = given.sign_in == "openid" or given.users_file is not None
    if needs_roles and not any(getattr(given.roles, role) for role in ROLES):
        hint = 'give roles to groups or people, as viewer: ["*"]'
        scope.error((*_PATH, "roles"), "nobody has a role, so nobody could see anything", hint)
    if given.session.seconds < _LEAST_S:
        scope.error((*_PATH, "session"), f"must be at least {_LEAST_S}s", "write 8h")
