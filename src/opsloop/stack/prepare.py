"""What a start needs before it touches anything: catalog, bundle, programs, wanted instances."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from opsloop import names
from opsloop.catalog.facts import EngineInput
from opsloop.catalog.files import DEFAULTS
from opsloop.catalog.load import load
from opsloop.catalog.model import Catalog
from opsloop.compile.bundle import compile_catalog
from opsloop.compile.options import Options
from opsloop.compile.places import CATALOG_LINK
from opsloop.drivers.targets import write_targets
from opsloop.errors import StoreError
from opsloop.settings import Ports, Settings
from opsloop.stack import binaries, build_folder, checkers, supervisord
from opsloop.stack.files import usable
from opsloop.stack.secrets import vendors
from opsloop.stack.state import StateFolder
from opsloop.store.sqlite import SqliteStore


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that can be known without a running stack. `before`: what is compiled there now."""

    catalog: Catalog
    directory: Path
    options: Options
    bundle: Mapping[str, str]
    programs: Mapping[str, Path]
    before: EngineInput | None
    warnings: tuple[str, ...]

    @property
    def conf(self) -> str:
        return self.bundle[names.SUPERVISORD_CONF]


def prepare(
    settings: Settings,
    environ: Mapping[str, str],
    state: StateFolder,
    say: Callable[[str], None],
) -> Prepared:
    """Load, compile, find the programs, and have promtool and amtool look at what is new.

    Raises CatalogError, ArgumentError, MissingBinary or BundleError; nothing is written.
    """
    loaded = load(settings.catalog, environ, settings)
    catalog = loaded.catalog
    found = vendors(state.secrets, catalog, environ, loaded.directory)
    grafana = binaries.find_grafana(catalog.stack.binaries)
    options = Options(
        ports=settings.ports,
        slack_stand_in=found.slack == "stand-in",
        pagerduty=found.pagerduty,
        stand_ins=found.missing_files,
        grafana=grafana is not None,
    )
    bundle = compile_catalog(catalog, options).files
    needed = binaries.needed(catalog)
    programs = binaries.find_all(needed, catalog.stack.binaries)
    # Those that are here but not needed now: a catalog that changes later may need them.
    for program in binaries.needed(None):
        path = None if program.name in programs else binaries.find(program, catalog.stack.binaries)
        if path is not None:
            programs[program.name] = path
    if grafana is not None:
        programs[binaries.GRAFANA.name] = grafana
    if build_folder.changes(state.build, bundle):
        say("checking the bundle with promtool and amtool")
        _refuse_broken(bundle, catalog)
    return Prepared(
        catalog=catalog,
        directory=loaded.directory,
        options=options,
        bundle=bundle,
        programs=programs,
        before=compiled(state),
        warnings=tuple(str(w) for w in loaded.warnings),
    )


def _refuse_broken(bundle: Mapping[str, str], catalog: Catalog) -> None:
    with tempfile.TemporaryDirectory(prefix="opsloop-check-") as folder:
        build_folder.write(Path(folder), bundle)
        checkers.refuse_failed(checkers.check_bundle(Path(folder), catalog.stack.binaries))


def with_catalog(settings: Settings, state: StateFolder) -> Settings:
    """The settings with an absolute catalog path: as given, or what runs, or the default places."""
    path = settings.catalog
    if path is None:
        info = state.read()
        if info is not None and info.started and supervisord.find(state):
            path = Path(info.catalog)
    if path is None:
        path = next((Path(name) for name in DEFAULTS if Path(name).exists()), None)
    if path is None:
        return settings
    return replace(settings, catalog=Path(os.path.abspath(path)))  # noqa: PTH100 - keeps links


def link_catalog(state: StateFolder, directory: Path) -> None:
    """STATE/catalog leads to the catalog's folder: the bundle names its files through it."""
    link, fresh = state.root / CATALOG_LINK, state.root / f".{CATALOG_LINK}.new"
    with usable(link):
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(directory, target_is_directory=True)
        fresh.replace(link)


def compiled(state: StateFolder) -> EngineInput | None:
    """What the bundle in STATE/build was compiled from; None when there is none to read."""
    try:
        return EngineInput.model_validate_json((state.build / names.ENGINE_JSON).read_text())
    except (OSError, ValidationError):
        return None


def wanted(state: StateFolder, catalog: Catalog, before: EngineInput | None) -> dict[str, int]:
    """Service -> instances that should run: the store's number, which the loop may have changed.

    A person who changes `instances.wanted` in the catalog means it, so a number that differs
    from what was compiled before is written to the store.
    """
    found = {n: s.instances.wanted for n, s in catalog.services.items() if s.process is not None}
    path = state.root / names.STORE_FILE
    if not path.is_file():
        return found
    with SqliteStore(path, create=False) as store:
        for name, declared in found.items():
            old = before.catalog.services.get(name) if before else None
            if old is not None and old.instances.wanted != declared:
                store.set_wanted(name, declared, time.time())
            found[name] = _within(catalog, name, store.wanted(name) or declared)
    return found


def wanted_now(state: StateFolder, catalog: Catalog) -> dict[str, int]:
    """As `wanted`, only reading; a store that cannot be read leaves the catalog's numbers."""
    try:
        return wanted(state, catalog, None)
    except StoreError:
        return wanted(StateFolder(state.root / "nowhere"), catalog, None)


def _within(catalog: Catalog, service: str, count: int) -> int:
    most = catalog.max_instances(service) or count
    return max(catalog.services[service].instances.min, min(count, most))


def write_all_targets(
    state: StateFolder, catalog: Catalog, ports: Ports, counts: Mapping[str, int]
) -> None:
    """targets/SERVICE.json of every process-backed service, and no other file."""
    kept = {write_targets(state.root, catalog, ports, name, n) for name, n in counts.items()}
    with usable(state.targets):
        for path in state.targets.glob("*.json"):
            if path not in kept:
                path.unlink()
