"""Evidence is of this very code, or there is none."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from tools import evidence


def png(width: int, height: int) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Evidence as a run would leave it, of the code of now."""
    (tmp_path / evidence.LOG).write_text("+0.0 s  $ opsloop up\n")
    (tmp_path / evidence.LOAD).write_text("100 requests/s\n")
    (tmp_path / evidence.EXPORT).write_text("{}\n")
    (tmp_path / evidence.PICTURE).write_text(evidence.framed(png(3, 2)))
    manifest = {
        "files": {p.name: evidence._checksum([p]) for p in tmp_path.iterdir()},
        "shows": evidence.digests(),
        "drills": [{"drill": "service-kill", "passed": True, "reason": "healed"}],
    }
    (tmp_path / evidence.MANIFEST).write_text(json.dumps(manifest))
    return tmp_path


def change(folder: Path, **new: Any) -> None:
    path = folder / evidence.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | new))


def test_the_evidence_that_is_kept_fits_the_code() -> None:
    if not evidence.EVIDENCE.exists():
        pytest.skip("there is no evidence yet: make evidence")
    assert evidence.problems(evidence.EVIDENCE) == [], "run: make evidence"


def test_evidence_of_this_code_is_taken(made: Path) -> None:
    assert evidence.problems(made) == []


def test_evidence_of_other_code_is_refused(made: Path) -> None:
    shows = evidence.digests() | {"src/opsloop/catalog": "0" * 64}
    change(made, shows=shows)
    assert evidence.problems(made) == ["src/opsloop/catalog has changed since"]
    change(made, shows={k: v for k, v in evidence.digests().items() if "remediation" not in k})
    assert evidence.problems(made) == ["src/opsloop/remediation has changed since"]


def test_a_file_that_was_edited_or_is_missing_is_refused(made: Path) -> None:
    (made / evidence.LOG).write_text("all went well\n")
    assert evidence.problems(made) == [f"{evidence.LOG} is not the file that was made"]
    (made / evidence.LOAD).unlink()
    assert len(evidence.problems(made)) == 2
    change(made, files={})
    assert len(evidence.problems(made)) == 4


def test_a_drill_that_failed_is_no_evidence(made: Path) -> None:
    change(made, drills=[{"drill": "overload", "passed": False, "reason": "nobody acted"}])
    assert evidence.problems(made) == ["drill overload: nobody acted"]


def test_without_a_manifest_it_is_refused(tmp_path: Path) -> None:
    (problem,) = evidence.problems(tmp_path)
    assert problem.startswith("manifest.json cannot be read")


def test_every_package_is_in_what_is_shown() -> None:
    shown = evidence.digests()
    packages = {p.parent for p in (evidence.ROOT / "src/opsloop").glob("*/__init__.py")}
    assert {str(p.relative_to(evidence.ROOT)) for p in packages} <= set(shown)
    assert "src/opsloop/app.py" in shown
    assert any(name.startswith("examples/shop") for name in shown)


def test_the_picture_is_inside_at_its_own_size() -> None:
    text = evidence.framed(png(3, 2))
    assert 'width="3" height="2"' in text
    assert "data:image/png;base64," in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_an_export_asks_for_its_data_source() -> None:
    source = {"type": "prometheus", "uid": "fixed"}
    found = evidence._with_input({"panels": [{"datasource": source, "title": "a"}], "uid": "x"})
    assert found["panels"][0]["datasource"]["uid"] == "${DS_PROMETHEUS}"
    assert found["uid"] == "x"
    kept = {"type": "prometheus", "uid": "${datasource}"}
    assert evidence._with_input([kept]) == [kept]


@pytest.mark.parametrize("uid", ["fixed", "${datasource}"])
def test_the_exported_dashboard_is_that_of_the_signals(uid: str, tmp_path: Path) -> None:
    folder = tmp_path / "grafana/dashboards"
    folder.mkdir(parents=True)
    panel = {"type": "stat", "datasource": {"type": "prometheus", "uid": uid}}
    for name in ("a", "opsloop-signals"):
        text = json.dumps({"title": name, "panels": [panel, {"type": "row"}]})
        (folder / f"{name}.json").write_text(text)
    found = json.loads(evidence._export(tmp_path))
    assert found["title"] == "opsloop-signals"
    assert [r["id"] for r in found["__requires"]] == ["grafana", "prometheus", "stat"]
    assert bool(found["__inputs"]) is (uid == "fixed")
