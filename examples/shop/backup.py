"""Backs up the shop's orders: all rows as CSV, put in place whole; the newest few are kept."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import psycopg

KEPT = 5


def back_up(port: int, password: str, folder: Path) -> Path:
    """Write the orders to a new file in `folder`, and forget those beyond the newest few."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"orders-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.csv"
    new = path.with_suffix(".new")
    with (
        psycopg.connect(
            host="127.0.0.1", port=port, user="opsloop", password=password, dbname="shop",
            connect_timeout=5,
        ) as connection,
        connection.cursor().copy("COPY orders TO STDOUT (FORMAT csv, HEADER)") as rows,
        new.open("wb") as file,
    ):  # fmt: skip
        for chunk in rows:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    for old in sorted(folder.glob("orders-*.csv"))[:-KEPT]:
        old.unlink()
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    options = parser.parse_args()
    password = (options.state / "secrets" / "database_password").read_text().strip()
    path = back_up(options.port, password, options.state / "data" / "backups")
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
