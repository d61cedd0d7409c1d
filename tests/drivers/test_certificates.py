"""When certificates in files expire: PEM files of every kind, changed, broken and gone."""

from __future__ import annotations

import logging
import subprocess
import time
from pathlib import Path

import pytest

from opsloop.drivers.certificates import CertificateFiles, first_expiry
from tests.support.servers import require

DAY = 86_400


def certificate(path: Path, days: int) -> Path:
    """A self-signed one that is valid for so many days from now."""
    subprocess.run(
        [require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path.with_suffix(".key"),
         "-out", path, "-days", str(days), "-subj", "/CN=test"],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


def about(days: int) -> object:
    return pytest.approx(time.time() + days * DAY, abs=120)


def test_the_first_to_expire_of_a_chain_counts(tmp_path: Path) -> None:
    long = certificate(tmp_path / "long.pem", 90).read_bytes()
    short = certificate(tmp_path / "short.pem", 3).read_bytes()
    key = (tmp_path / "long.key").read_bytes()
    assert first_expiry(long) == about(90)
    assert first_expiry(key + long + b"\n# an authority\n" + short) == about(3)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = certificate(tmp_path / "a.pem", 5)
    files = CertificateFiles({"a": path})
    assert files.not_after() == {"a": about(5)}
    assert files.not_after() == {"a": about(5)}
    other = certificate(tmp_path / "b.pem", 50)
    other.replace(path)
    assert files.not_after() == {"a": about(50)}


def test_what_cannot_be_read_is_left_out_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "key.pem").write_text("no certificate at all\n")
    block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    (tmp_path / "broken.pem").write_text(block)
    (tmp_path / "large.pem").write_text(block * 20_000)
    good = certificate(tmp_path / "good.pem", 9)
    kinds = ("gone", "key", "broken", "large", "good")
    files = CertificateFiles({kind: tmp_path / f"{kind}.pem" for kind in kinds})
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert files.not_after() == {"good": about(9)}
    said = sorted(r.getMessage().split(": ", 2) for r in caplog.records)
    assert [s[0].split()[1] for s in said] == ["broken", "gone", "key", "large"]
    assert said[1][2].endswith("no such file or directory")
    good.unlink()
    assert files.not_after() == {}
    certificate(tmp_path / "gone.pem", 4)
    assert files.not_after() == {"gone": about(4)}


def test_without_openssl_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = certificate(tmp_path / "a.pem", 5)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert CertificateFiles({"a": path}).not_after() == {}
    assert "openssl is not installed" in caplog.text
