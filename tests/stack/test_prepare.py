"""What `up` lays out for the bundle before anything starts."""

from __future__ import annotations

from pathlib import Path

from opsloop.stack.prepare import link_catalog
from opsloop.stack.state import StateFolder


def test_the_bundle_finds_the_catalogs_files_and_purge_leaves_them(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "targets.json").write_text(folder.name)
    state = StateFolder(tmp_path / "state")
    state.prepare()
    for folder in (one, two, two):
        link_catalog(state, folder)
        assert (state.build / "../catalog/targets.json").read_text() == folder.name
    state.purge()
    assert not state.root.exists()
    assert (two / "targets.json").exists()
