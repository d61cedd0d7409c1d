"""Which services depend on which, directly or through others."""

from __future__ import annotations

from opsloop.catalog.model import Catalog


def dependents_of(catalog: Catalog) -> dict[str, list[str]]:
    """For each service, those that depend on it, directly or through others, without itself."""
    users: dict[str, set[str]] = {name: set() for name in catalog.services}
    for name, service in catalog.services.items():
        for other in service.depends_on:
            users.setdefault(other, set()).add(name)
    found: dict[str, list[str]] = {}
    for name in sorted(users):
        reached, edge = set[str](), users[name]
        while edge:
            reached |= edge
            edge = {user for service in edge for user in users[service]} - reached
        found[name] = sorted(reached - {name})
    return found
