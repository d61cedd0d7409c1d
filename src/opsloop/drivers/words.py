"""What a catalog's words stand for on this machine: {python}, {state}, {catalog_dir}, {port:NAME}."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opsloop.catalog.model import Catalog
from opsloop.errors import DriverError
from opsloop.settings import Ports

_WORD: Final = re.compile(r"\{(python|state|catalog_dir|port:[a-z][a-z0-9-]*)\}")


@dataclass(frozen=True, slots=True)
class Words:
    """The same words as in `processes`, without {port} and {slot}, which only instances have.

    ports: process name -> its first port. catalog_dir: also where relative paths begin.
    """

    state: Path
    catalog_dir: Path
    ports: Mapping[str, int]
    python: str = sys.executable

    @classmethod
    def of(cls, catalog: Catalog, state: Path, catalog_dir: Path, ports: Ports) -> Words:
        there = {n: ports.process(p.port) for n, p in catalog.processes.items() if p.port}
        return cls(state, catalog_dir, there)

    def put(self, text: str) -> str:
        """`text` with every word replaced. Raises DriverError for a port that is not there."""

        def value(match: re.Match[str]) -> str:
            key = match.group(1)
            if key.startswith("port:"):
                name = key.removeprefix("port:")
                if name not in self.ports:
                    raise DriverError(match.group(), "no such process with a port in the catalog")
                return str(self.ports[name])
            fixed = {
                "python": self.python,
                "state": str(self.state),
                "catalog_dir": str(self.catalog_dir),
            }
            return fixed[key]

        return _WORD.sub(value, text)

    def path(self, text: str) -> Path:
        """A path of the catalog: relative ones begin at its folder."""
        return self.catalog_dir / self.put(text)
