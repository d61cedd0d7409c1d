"""Which Prometheus a back-fill asks, which objectives it is for, and where its blocks go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opsloop.catalog.load import load
from opsloop.catalog.model import Catalog
from opsloop.compile.options import Options
from opsloop.compile.slo_resolve import slo_specs
from opsloop.compile.slo_spec import SLOSpec
from opsloop.drivers.http import BasicAuth
from opsloop.errors import ArgumentError, NotRunning, StackError
from opsloop.settings import Ports, Settings
from opsloop.stack import binaries
from opsloop.stack.backfill_pieces import Target
from opsloop.stack.prepare import compiled
from opsloop.stack.reach import prometheus_address
from opsloop.stack.state import StateFolder

_BESIDE = ".opsloop-backfill"  # of the blocks, so that moving one is a rename


@dataclass(frozen=True, slots=True)
class Source:
    """`specs` are those of the services asked for."""

    url: str
    auth: BasicAuth | None
    target: Target
    specs: tuple[SLOSpec, ...]


def of_stack(settings: Settings, services: Sequence[str]) -> Source:
    """The stack that is up, and the catalog that it runs.

    Raises NotRunning, ArgumentError for an unknown service, MissingBinary.
    """
    url, auth = prometheus_address(settings.state)
    folder = StateFolder(settings.state)
    info, engine = folder.read(), compiled(folder)
    if engine is None or info is None:
        raise NotRunning(str(folder.build), "holds no catalog that runs", "run `opsloop reload`")
    if info.runtime != "native":
        raise StackError(
            f"the {info.runtime} runtime",
            "keeps the data of its Prometheus to itself",
            f"add --url {url} --out DIR, and copy the blocks into its volume",
        )
    data = folder.data / "prometheus"
    target = Target(data, folder.data / "backfill", _promtool(engine.catalog))
    specs = slo_specs(engine.catalog, Options(ports=Ports(info.port_base)))
    return Source(url, auth, target, _of(specs, services))


def elsewhere(
    settings: Settings, url: str, auth: BasicAuth | None, out: Path, services: Sequence[str]
) -> Source:
    """Any Prometheus, and the catalog of the settings; blocks stay in `out`.

    Raises CatalogError, ArgumentError, MissingBinary.
    """
    if out.exists() and not out.is_dir():
        raise ArgumentError("--out", f"{out} is not a folder", "name another")
    catalog = load(settings.catalog, os.environ, settings).catalog
    target = Target(out, out / _BESIDE, _promtool(catalog), running=False)
    specs = slo_specs(catalog, Options(ports=settings.ports))
    return Source(url, auth, target, _of(specs, services))


def _promtool(catalog: Catalog) -> Path:
    program = binaries.PROGRAMS["promtool"]
    return binaries.find_all([program], catalog.stack.binaries)["promtool"]


def _of(specs: Sequence[SLOSpec], services: Sequence[str]) -> tuple[SLOSpec, ...]:
    known = {s.service for s in specs}
    for service in services:
        if service not in known:
            raise ArgumentError(
                "--service",
                f"{service!r} has no objective in the catalog",
                f"those that have: {', '.join(sorted(known)) or 'none'}",
            )
    return tuple(s for s in specs if not services or s.service in services)
