"""Build the documentation as a site: the pages as they lie in the repository, links and all."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every page, relative to the root: those at the top, and all of docs/."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(p.relative_to(ROOT) for p in found)


def links(page: Path) -> Iterator[str]:
    """The targets on a page that are no web addresses, outside blocks of code, without anchors."""
    text = _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for _, target, _ in _LINK.findall(text):
        if not re.match(r"[a-z]+:", target):
            yield target


def lay_out(folder: Path) -> None:
    """The pages and what they link to, with a contents page for a folder that is linked."""
    for page in pages():
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in links(page):
            there = ((ROOT / page).parent / target).resolve()
            if there.is_dir():
                text = text.replace(f"]({target})", f"]({target.rstrip('/')}/index.md)")
                _contents(there.relative_to(ROOT), folder)
            elif there.suffix != ".md":
                _copy(there.relative_to(ROOT), folder)
        place = folder / page
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def _copy(path: Path, folder: Path) -> None:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / path, place)


def _contents(path: Path, folder: Path) -> None:
    inside = [p for p in sorted((ROOT / path).iterdir()) if p.suffix == ".md"]
    lines = [f"# {path.name.capitalize()}", ""]
    lines += [f"- [{_title(p)}]({p.name})" for p in inside]
    place = folder / path / "index.md"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _title(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def configuration() -> dict[str, Any]:
    """mkdocs.yml, where a folder in `nav` stands for all of its pages."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    known = {str(p) for p in pages()}
    for entry in config["nav"]:
        for title, value in entry.items():
            if isinstance(value, str) and value.endswith("/"):
                first = ["docs/decisions/index.md"] if value == "docs/decisions/" else []
                entry[title] = first + sorted(p for p in known if p.startswith(value))
            elif isinstance(value, list):
                entry[title] = [p for p in value if p in known]
    return config


def build(out: Path) -> None:
    """Build the site into `out`; any broken link ends it. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder / "pages")
        config = folder / "mkdocs.yml"
        text = yaml.safe_dump(configuration() | {"site_dir": "site"}, sort_keys=False)
        config.write_text(text, encoding="utf-8")
        program = Path(sys.executable).with_name("zensical")
        subprocess.run([program, "build", "--strict", "-f", config], cwd=folder, check=True)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(folder / "site", out)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.site", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder [site]")
    options = parser.parse_args()
    try:
        build(options.out)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    print(options.out / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
