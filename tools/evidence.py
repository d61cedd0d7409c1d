"""Evidence of one real run, in docs/evidence: log, pictures of the console, dashboard, load, manifest.

Run it on a machine at rest, with the tree committed: `make evidence`. A test refuses what it made
once the code is another one.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools import evidence_load, evidence_pages

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "docs" / "evidence"
MANIFEST = "manifest.json"
LOG, LOAD, EXPORT, PICTURE = (
    "run-log.txt",
    "load-test-summary.txt",
    "dashboard-export.json",
    "screenshot.svg",
)
# What the evidence shows: when one of these changes, it shows something else.
SHOWN = ("src/opsloop", "examples/shop")
DRILLS = ("service-kill", "database-down", "error-burst", "service-hang")
FILMED = "service-hang"  # the last, so that the pages have something to show


def digests() -> dict[str, str]:
    """A checksum of each package and of the shop, as they lie here."""
    groups: dict[str, list[Path]] = {}
    for folder in SHOWN:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                relative = path.relative_to(ROOT)
                group = str(relative.parent) if len(relative.parts) > 3 else str(relative)
                groups.setdefault(group.split("/static")[0].split("/templates")[0], []).append(path)
    return {name: _checksum(paths) for name, paths in sorted(groups.items())}


def _checksum(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def problems(folder: Path) -> list[str]:
    """What speaks against the evidence in `folder`; nothing when it fits the code of now."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [f"{MANIFEST} cannot be read: {error}"]
    wanted = (LOG, LOAD, EXPORT, PICTURE)
    found = [f"{n} is not in {MANIFEST}" for n in wanted if n not in manifest["files"]]
    for name, checksum in manifest["files"].items():
        path = folder / name
        if not path.is_file() or _checksum([path]) != checksum:
            found.append(f"{name} is not the file that was made")
    now = digests()
    changed = {k for k in {*now, *manifest["shows"]} if now.get(k) != manifest["shows"].get(k)}
    found += [f"{name} has changed since" for name in sorted(changed)]
    found += [f"drill {d['drill']}: {d['reason']}" for d in manifest["drills"] if not d["passed"]]
    return found


class Stack:
    """A stack of its own on free ports, and the log of what is done with it."""

    def __init__(self, folder: Path, log: Path) -> None:
        from benchmarks.loop import _base

        self.state = folder / "state"
        self.base = _base()
        self._log = log
        self._began = time.monotonic()

    def write(self, text: str) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"+{time.monotonic() - self._began:7.1f} s  {text}\n")

    def last_lines(self, count: int) -> list[str]:
        """What the log says last."""
        return self._log.read_text(encoding="utf-8").splitlines()[-count:]

    def opsloop(self, *words: str, needed: bool = True) -> str:
        """Run a command of ours; its words and what it says go into the log."""
        self.write("$ opsloop " + " ".join(words))
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("OPSLOOP_")},
            "OPSLOOP_STATE": str(self.state),
            "OPSLOOP_PORT_BASE": str(self.base),
            "OPSLOOP_CATALOG": str(ROOT / "examples/shop/opsloop.yaml"),
            "NO_COLOR": "1",
        }
        command = [sys.executable, "-m", "opsloop", *words]
        began = time.monotonic()
        ran = subprocess.run(
            command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
        )
        for line in (ran.stdout + ran.stderr).splitlines():
            self.write("  " + line.replace(str(self.state), "STATE").replace(str(ROOT), "."))
        self.write(f"  exit code {ran.returncode} after {time.monotonic() - began:.1f} s")
        if needed and ran.returncode:
            raise SystemExit(f"evidence: opsloop {words[0]} failed: {ran.stderr.strip()}")
        return ran.stdout


@contextmanager
def running(folder: Path, log: Path) -> Iterator[Stack]:
    """`up`, and `down` whatever happens."""
    from benchmarks.loop import _remove_database

    stack = Stack(folder, log)
    try:
        stack.opsloop("up", "--deadline", "180")
        yield stack
    finally:
        stack.opsloop("down", needed=False)
        _remove_database(stack.state)


def make(into: Path) -> dict[str, Any]:
    """Everything into the empty folder `into`; the manifest. Raises SystemExit with what lacks."""
    log = into / LOG
    drills: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="oe-") as folder, running(Path(folder), log) as stack:
        with evidence_pages.signed_in(stack.state, stack.base):
            pass  # before the drills: what lacks is said within a minute
        stack.opsloop("status")
        for name in DRILLS:
            film = _filming(stack, into) if name == FILMED else None
            drills.append(_drilled(stack, name))
            if film is not None:
                film.join()
        drills.append(_drilled(stack, "service-kill", "--control"))
        for words in ("runs", "episodes", "slo", "status"):
            stack.opsloop(words)
        evidence_pages.all_pages(stack.state, stack.base, into)
        (into / EXPORT).write_text(_export(stack.state / "build"), encoding="utf-8")
        (into / LOAD).write_text(evidence_load.summary(stack.base), encoding="utf-8")
    picture = into / "healing.png"
    if not picture.exists():
        raise SystemExit("evidence: no picture was taken while the loop was healing")
    (into / PICTURE).write_text(framed(picture.read_bytes()), encoding="utf-8")
    manifest = {
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _said("git", "rev-parse", "HEAD"),
        "versions": versions(),
        "drills": drills,
        "shows": digests(),
        "files": {p.name: _checksum([p]) for p in sorted(into.iterdir())},
    }
    (into / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _drilled(stack: Stack, *words: str) -> dict[str, Any]:
    """What a drill found; one that failed is no reason to stop, and is said in the manifest."""
    lines = stack.opsloop("drill", *words, "--json", needed=False).splitlines()
    if not lines:
        said = "\n".join(stack.last_lines(4))
        raise SystemExit(f"evidence: drill {words[0]} did not run:\n{said}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _filming(stack: Stack, into: Path) -> threading.Thread:
    """A picture of the console as soon as a run is open, taken beside the drill."""
    thread = threading.Thread(
        target=evidence_pages.while_healing, args=(stack.state, stack.base, into / "healing.png")
    )
    thread.start()
    return thread


def _export(build: Path) -> str:
    """One dashboard as Grafana's export gives it: its data source is asked for at the import."""
    found = sorted(build.glob("grafana/**/*.json"))
    if not found:
        raise SystemExit("evidence: the bundle has no dashboards")
    path = next((p for p in found if "golden" in p.stem or "signals" in p.stem), found[0])
    dashboard = _with_input(json.loads(path.read_text(encoding="utf-8")))
    kinds = sorted({p["type"] for p in dashboard["panels"] if p["type"] != "row"})
    requires = [
        {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "11.0.0"},
        {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
        *({"type": "panel", "id": kind, "name": kind, "version": ""} for kind in kinds),
    ]
    # Where a variable of the dashboard chooses the data source, the import asks for none.
    asked = "${DS_PROMETHEUS}" in json.dumps(dashboard)
    source = {
        "name": "DS_PROMETHEUS",
        "label": "Prometheus",
        "type": "datasource",
        "pluginId": "prometheus",
        "pluginName": "Prometheus",
    }
    head = {"__inputs": [source] if asked else [], "__elements": {}, "__requires": requires}
    return json.dumps(head | {"id": None} | dashboard, indent=1, ensure_ascii=False) + "\n"


def _with_input(value: Any) -> Any:
    """The same, where each Prometheus data source is the one that the import asks for."""
    if isinstance(value, list):
        return [_with_input(v) for v in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "prometheus" and not str(value.get("uid", "$")).startswith("$"):
        return value | {"uid": "${DS_PROMETHEUS}"}
    return {k: _with_input(v) for k, v in value.items()}


def framed(png: bytes) -> str:
    """An SVG with the picture inside, at its own size."""
    width, height = struct.unpack(">II", png[16:24])
    data = base64.b64encode(png).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}"><title>The console while the loop heals</title>'
        f'<image width="{width}" height="{height}" href="data:image/png;base64,{data}"/></svg>\n'
    )


def versions() -> dict[str, str]:
    """Of opsloop and of what it ran."""
    from opsloop import __version__

    found = {"opsloop": __version__, "python": platform.python_version()}
    for program in ("prometheus", "prometheus-alertmanager", "postgres"):
        for path in (shutil.which(program), f"/usr/lib/postgresql/15/bin/{program}"):
            if path and Path(path).exists():
                found[program] = _said(path, "--version").splitlines()[0]
                break
    return found


def _said(*command: str) -> str:
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return (ran.stdout or ran.stderr).strip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.evidence", description=__doc__)
    parser.add_argument("--out", type=Path, default=EVIDENCE, help="folder [docs/evidence]")
    parser.add_argument("--check", action="store_true", help="only say whether it fits the code")
    options = parser.parse_args()
    if options.check:
        found = problems(options.out)
        print("\n".join(found) or "the evidence fits the code")
        return 1 if found else 0
    if changed := _said("git", "status", "--porcelain", "--", *SHOWN):
        raise SystemExit(f"evidence: commit first, so that it shows what is there:\n{changed}")
    with tempfile.TemporaryDirectory(prefix="oe-") as folder:
        made = Path(folder) / "evidence"
        made.mkdir()
        manifest = make(made)
        shutil.rmtree(options.out, ignore_errors=True)
        shutil.copytree(made, options.out)
    print(f"evidence: {options.out}: {len(manifest['files'])} files of {manifest['commit'][:12]}")
    return 0 if all(d["passed"] for d in manifest["drills"]) else 1


if __name__ == "__main__":
    sys.exit(main())
