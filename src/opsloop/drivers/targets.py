"""Prometheus's file_sd files of process-backed services: the addresses that should be scraped."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from opsloop import names
from opsloop.catalog.model import Catalog
from opsloop.errors import StateUnusable
from opsloop.settings import Ports


def targets_text(catalog: Catalog, ports: Ports, service: str, wanted: int) -> str:
    """file_sd JSON of the first `wanted` slots of the service's process.

    Only addresses: the labels of the service stand in prometheus.yml, so that they have one
    place. Without a process or a port there is nothing to scrape and the list is empty.
    """
    process = catalog.process_of(service)
    if process is None or process.port is None:
        return "[]\n"
    count = min(wanted, process.slots)
    addresses = [f"127.0.0.1:{ports.process(process.port, slot)}" for slot in range(count)]
    return json.dumps([{"targets": addresses}], indent=2) + "\n"


def write_targets(state: Path, catalog: Catalog, ports: Ports, service: str, wanted: int) -> Path:
    """Write STATE/targets/SERVICE.json, whole or not at all; returns its path.

    Prometheus watches the folder, so a changed file takes effect without a reload. An
    unchanged one is left alone. Raises StateUnusable.
    """
    path = state / names.TARGETS_DIR / f"{service}.json"
    text = targets_text(catalog, ports, service, wanted)
    try:
        if path.is_file() and path.read_text() == text:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Prometheus reads *.json only, so the unfinished file is not seen.
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{service}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(descriptor, 0o644)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StateUnusable(
            str(path), f"cannot be written: {error.strerror or error}", "see `opsloop doctor`"
        ) from error
    return path
