"""The programs that a stack needs: what they are called, who packages them, where they are."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsloop.catalog.model import Catalog
from opsloop.errors import MissingBinary
from opsloop.stack.install import install_command

ENV_PREFIX = "OPSLOOP_BIN_"


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its name in the catalog (`stack.binaries`), executables, Debian package."""

    name: str
    executables: tuple[str, ...]
    package: str
    folders: tuple[str, ...] = ()  # glob patterns beside PATH

    @property
    def variable(self) -> str:
        return ENV_PREFIX + self.name.upper().replace("-", "_")


PROGRAMS: Mapping[str, Program] = {
    p.name: p
    for p in (
        Program("prometheus", ("prometheus",), "prometheus"),
        Program("promtool", ("promtool",), "prometheus"),
        # Debian renames it; a binary of the project itself has the short name.
        Program(
            "alertmanager", ("prometheus-alertmanager", "alertmanager"), "prometheus-alertmanager"
        ),
        Program("amtool", ("amtool",), "prometheus-alertmanager"),
        Program(
            "node-exporter",
            ("prometheus-node-exporter", "node_exporter"),
            "prometheus-node-exporter",
        ),
        Program(
            "blackbox-exporter",
            ("prometheus-blackbox-exporter", "blackbox_exporter"),
            "prometheus-blackbox-exporter",
        ),
        Program(
            "postgres-exporter",
            ("prometheus-postgres-exporter", "postgres_exporter"),
            "prometheus-postgres-exporter",
        ),
        Program("postgres", ("postgres",), "postgresql", ("/usr/lib/postgresql/*/bin",)),
        Program("setpriv", ("setpriv",), "util-linux"),
        Program("openssl", ("openssl",), "openssl"),  # the engine reads certificates with it
    )
}


GRAFANA = Program("grafana", ("grafana",), "grafana")
"""Runs where it is found; no package of Debian."""
ENV_GRAFANA_HOME = "OPSLOOP_GRAFANA_HOME"
_DEFAULTS = "conf/defaults.ini"  # is in Grafana's home
_GRAFANA_HOMES = (Path("/usr/share/grafana"), Path("/usr/local/share/grafana"))


def needed(catalog: Catalog | None) -> list[Program]:
    """The programs that this catalog's stack runs and checks with; without one, all of them."""
    if catalog is None:
        return list(PROGRAMS.values())
    wanted = ["prometheus", "promtool", "alertmanager", "amtool", "setpriv"]
    wanted += ["node-exporter", "blackbox-exporter"]
    databases = [s for s in catalog.services.values() if s.postgres]
    if databases:
        wanted.append("postgres-exporter")
    if any(s.process for s in databases):
        wanted.append("postgres")
    if catalog.certificates:
        wanted.append("openssl")
    return [PROGRAMS[name] for name in wanted]


def in_conf(conf: str) -> list[Program]:
    """The programs that a supervisord.conf names by their OPSLOOP_BIN_ variables."""
    variables = set(re.findall(rf"ENV_({ENV_PREFIX}[A-Z_]+)\)", conf))
    return [p for p in (*PROGRAMS.values(), GRAFANA) if p.variable in variables]


def find(
    program: Program, named: Mapping[str, str] | None = None, path: str | None = None
) -> Path | None:
    """Its path: what the catalog names, else PATH, else the package's own folder. None: absent.

    Raises MissingBinary when the catalog names something that cannot be run.
    """
    given = (named or {}).get(program.name)
    if given:
        found = shutil.which(os.path.expanduser(given), path=path)  # noqa: PTH111 - may be a name
        if found is None:
            raise MissingBinary(
                program.name,
                f"stack.binaries names {given}, which is not a program that can be run",
                "correct it, or leave it out to use the installed one",
            )
        return Path(found).absolute()
    for executable in program.executables:
        found = shutil.which(executable, path=path)
        if found:
            return Path(found).absolute()
    for pattern in program.folders:
        root, _, rest = pattern.lstrip("/").partition("/")
        for folder in sorted(Path("/", root).glob(rest), key=_version, reverse=True):
            for executable in program.executables:
                if os.access(folder / executable, os.X_OK):
                    return folder / executable
    return None


def find_all(
    programs: Iterable[Program], named: Mapping[str, str] | None = None
) -> dict[str, Path]:
    """Program name -> path. Raises MissingBinary naming all that lack, with one command."""
    found: dict[str, Path] = {}
    absent: list[Program] = []
    for program in programs:
        path = find(program, named)
        if path is None:
            absent.append(program)
        else:
            found[program.name] = path
    if absent:
        raise missing(absent)
    return found


def missing(absent: Sequence[Program]) -> MissingBinary:
    """The error for programs that are not installed."""
    words = ", ".join(p.name for p in absent)
    verb = "is" if len(absent) == 1 else "are"
    packages = sorted({p.package for p in absent})
    return MissingBinary(words, f"{verb} not installed", f"run: {install_command(packages)}")


def environment(found: Mapping[str, Path]) -> dict[str, str]:
    """OPSLOOP_BIN_* for supervisord.conf, and Grafana's home."""
    known = {**PROGRAMS, GRAFANA.name: GRAFANA}
    named = {known[name].variable: str(path) for name, path in found.items()}
    if GRAFANA.name in found:
        named[ENV_GRAFANA_HOME] = str(grafana_home(found[GRAFANA.name]))
    return named


def find_grafana(named: Mapping[str, str] | None = None, path: str | None = None) -> Path | None:
    """The Grafana that is on PATH or named in the catalog; None without one.

    Raises MissingBinary for one that the catalog names and that cannot be run, or that has lost
    the files which belong to it.
    """
    found = find(GRAFANA, named, path)
    if found is None or grafana_home(found) is not None:
        return found
    if not (named or {}).get(GRAFANA.name):
        return None  # some other program of that name
    raise MissingBinary(
        GRAFANA.name,
        f"{found} has no {_DEFAULTS} beside it or in {' or '.join(map(str, _GRAFANA_HOMES))}",
        "name the program in the bin folder of an unpacked Grafana",
    )


def grafana_home(binary: Path) -> Path | None:
    """The folder of its defaults and pages: beside bin/, or where packages put it."""
    for home in (binary.resolve().parent.parent, *_GRAFANA_HOMES):
        if (home / _DEFAULTS).is_file():
            return home
    return None


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", str(folder)))
