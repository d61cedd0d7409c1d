"""Makes or renews the shop's certificate: self-signed, put in place whole."""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path


def make(path: Path, days: int) -> None:
    """Write a new key and certificate for `days` days to `path` (PEM, mode 0600)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        key, certificate = Path(folder, "key"), Path(folder, "certificate")
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:P-256", "-nodes", "-days", str(days)),
                *("-subj", "/CN=shop", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
        both = Path(folder, "both")
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        both.chmod(0o600)
        os.replace(both, path)  # noqa: PTH105 - whole or not at all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--days", type=int, default=90)
    options = parser.parse_args()
    make(options.path, options.days)
    print(f"{options.path}: valid for {options.days} days")


if __name__ == "__main__":
    main()
