"""The shop's PostgreSQL: makes the cluster when there is none, then becomes the server."""

from __future__ import annotations

import argparse
import hashlib
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROLE = "opsloop"
DATABASE = "shop"
SERVER_USER = "postgres"  # who runs the server when this is started as root
SERVED = "opsloop-served"  # in the data folder: it is complete, and for which password
PRODUCTS = 200

SETTINGS = """\
# Written at each start: a small server for one small shop.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 40
superuser_reserved_connections = 3
shared_buffers = '16MB'
work_mem = '1MB'
maintenance_work_mem = '16MB'
huge_pages = off
jit = off
max_parallel_workers = 0
max_parallel_workers_per_gather = 0
max_worker_processes = 2
max_wal_senders = 0
wal_level = minimal
max_wal_size = '64MB'
min_wal_size = '32MB'
autovacuum_max_workers = 1
log_line_prefix = ''
"""

# The superuser cannot log in at all: what it has to do is done in single-user mode.
ACCESS = f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n"

SCHEMA = f"""\
CREATE TABLE products (
    id integer PRIMARY KEY,
    name text NOT NULL,
    price_cents integer NOT NULL CHECK (price_cents > 0)
);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id integer NOT NULL REFERENCES products (id),
    quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO products SELECT n, 'Product ' || n, 100 + (n * 37) % 9000
    FROM generate_series(1, {PRODUCTS}) AS n;
GRANT SELECT ON products TO {ROLE};
GRANT SELECT, INSERT ON orders TO {ROLE};
"""  # noqa: S608 - both names are constants of this file


class Refusal(Exception):
    """One sentence: what is wrong and what to do."""


@dataclass(frozen=True)
class Server:
    """The binaries, and the words that run them as the right user."""

    folder: Path
    user: pwd.struct_passwd | None  # None: as oneself

    def argv(self, program: str, *rest: str, death: str) -> list[str]:
        """`death`: the signal that the program gets when its parent dies."""
        drop: list[str] = []
        if self.user:  # setpriv sets the death signal after the ids, which would clear it
            ids = (f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}")
            drop = [*ids, "--init-groups"]
        return ["setpriv", *drop, "--pdeathsig", death, str(self.folder / program), *rest]

    def run(self, program: str, *rest: str, text: str = "") -> None:
        done = subprocess.run(
            self.argv(program, *rest, death="KILL"),
            check=False,
            input=text,
            text=True,
            capture_output=True,
            cwd="/",
            env=clean_environment(),
        )
        # Single-user mode exits 0 after a failed statement: its words are the only sign.
        if done.returncode or re.search(r"^.*(ERROR|FATAL|PANIC):", done.stderr, re.MULTILINE):
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise Refusal(f"{program}: {last}")

    def own(self, path: Path, mode: int) -> None:
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        path.chmod(mode)


def clean_environment() -> dict[str, str]:
    """The server gets no secret and no PG* variable by inheritance."""
    kept = ("PATH", "TMPDIR", "TZ")
    return {"LC_ALL": "C", **{k: v for k, v in os.environ.items() if k in kept}}


def find_server() -> Server:
    """The newest installed server; PATH wins."""
    on_path = shutil.which("postgres")
    folders = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    folders.sort(key=lambda p: float(p.parent.name) if p.parent.name.isdigit() else 0)
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    if not folders:
        raise Refusal("postgres: not installed; run: apt-get install postgresql")
    if os.geteuid() != 0:
        return Server(folders[-1], None)
    try:
        return Server(folders[-1], pwd.getpwnam(SERVER_USER))
    except KeyError:
        raise Refusal(f"user {SERVER_USER}: does not exist; run: useradd -r postgres") from None


def data_folder(server: Server, wished: Path, record: Path) -> Path:
    """Where the cluster lies: `wished`, or a private folder that the server's user can reach.

    The choice is written to `record`, so that whoever clears the state finds it.
    """
    wished = wished.absolute()
    wished.parent.mkdir(parents=True, exist_ok=True)
    folder = wished
    if server.user and not reachable(server, wished.parent):
        digest = hashlib.sha256(str(wished).encode()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"opsloop-database-{digest}" / "data"
        make_private(server, folder.parent)
        known = record.read_text().strip() if record.exists() else ""
        if known != str(folder) and folder.exists():
            stop_leftovers(folder)
            shutil.rmtree(folder)  # of an earlier state folder at the same path
    record.write_text(f"{folder}\n")
    return folder


def reachable(server: Server, folder: Path) -> bool:
    argv = server.argv("postgres", death="KILL")[:-1]
    test = shutil.which("test") or "/usr/bin/test"
    return subprocess.run([*argv, test, "-x", str(folder)], check=False, cwd="/").returncode == 0


def make_private(server: Server, folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        ours = {os.geteuid()} | ({server.user.pw_uid} if server.user else set())
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in ours:
            raise Refusal(f"{folder}: belongs to someone else; remove it or set TMPDIR") from None
    server.own(folder, 0o700)


def make_cluster(server: Server, folder: Path, password: str) -> None:
    """Make the whole cluster beside its place, then rename: a crash leaves no half of it."""
    new = folder.with_name(folder.name + ".new")
    for rest in (folder, new):
        if rest.exists():
            shutil.rmtree(rest)
    new.mkdir(mode=0o700)
    server.own(new, 0o700)
    say(f"making a database cluster in {folder}")
    server.run(
        "initdb", "-D", str(new), "-U", "postgres", "-E", "UTF8", "--no-locale",
        "-A", "reject", "--no-instructions",
    )  # fmt: skip
    (new / "pg_hba.conf").write_text(ACCESS)
    create = f"CREATE ROLE {ROLE} LOGIN PASSWORD {quoted(password)};"
    statements = [create, f"GRANT pg_monitor TO {ROLE};", f"CREATE DATABASE {DATABASE};"]
    single_user(server, new, "postgres", *statements)
    single_user(server, new, DATABASE, *SCHEMA.split(";\n"))
    mark(server, new, password)
    new.rename(folder)


def single_user(server: Server, folder: Path, database: str, *statements: str) -> None:
    """Run statements without a network: nobody can connect to a half-made server."""
    lines = [" ".join(s.split()) for s in statements if s.strip()]
    server.run("postgres", "--single", "-D", str(folder), database, text="\n".join(lines) + "\n")


def quoted(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{8,256}", text):
        raise Refusal("database_password: must be 8 to 256 printable ASCII characters")
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def digest_of(password: str) -> str:
    return hashlib.scrypt(password.encode(), salt=SERVED.encode(), n=2**12, r=8, p=1).hex() + "\n"


def mark(server: Server, folder: Path, password: str) -> None:
    path = folder / SERVED
    path.write_text(digest_of(password))
    server.own(path, 0o600)


def stop_leftovers(folder: Path) -> None:
    """End what an earlier server of this folder left: its backends hold its shared memory."""
    postmaster = postmaster_of(folder)
    deadline = time.monotonic() + 5
    while postmaster in processes_in(folder) and time.monotonic() < deadline:
        time.sleep(0.05)  # its death signal is on its way
    if postmaster in processes_in(folder):
        if parent_of(postmaster) != 1:  # not an orphan: somebody runs it
            raise Refusal(f"{folder}: is served by process {postmaster}; stop that one first")
        signal_all([postmaster], signal.SIGINT)
        wait_gone(folder, 3)
    signal_all(processes_in(folder), signal.SIGKILL)
    if not wait_gone(folder, 5):
        raise Refusal(f"{folder}: processes {processes_in(folder)} do not end; end them by hand")


def postmaster_of(folder: Path) -> int:
    try:
        return int((folder / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def processes_in(folder: Path) -> list[int]:
    """PostgreSQL's processes of this cluster: all of them work in its folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if (entry / "cwd").readlink() != folder:
                continue
            if (entry / "exe").readlink().name.startswith("postgres"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 1


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def wait_gone(folder: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while processes_in(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def prepare(server: Server, folder: Path, port: int, password: str) -> None:
    stop_leftovers(folder)
    if not (folder / SERVED).exists():
        make_cluster(server, folder, password)
    elif (folder / SERVED).read_text() != digest_of(password):
        single_user(server, folder, "postgres", f"ALTER ROLE {ROLE} PASSWORD {quoted(password)};")
        mark(server, folder, password)
    settings = folder / "postgresql.conf"
    settings.write_text(SETTINGS.format(port=port))
    server.own(settings, 0o600)
    (folder / "postmaster.pid").unlink(missing_ok=True)  # its process is gone: see above


def say(text: str) -> None:
    print(f"database: {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--port", type=int, default=int(os.environ.get("SHOP_DATABASE_PORT", "5433"))
    )
    options = parser.parse_args()
    try:
        state = Path(os.environ.get("OPSLOOP_STATE", ".opsloop"))
        secrets = Path(os.environ.get("OPSLOOP_SECRETS", state / "secrets"))
        wished = Path(os.environ.get("SHOP_DATA", state / "data" / "database"))
        password = (secrets / "database_password").read_text().strip()
        server = find_server()
        folder = data_folder(server, wished, wished.with_name(wished.name + ".path"))
        folder = folder.resolve()
        prepare(server, folder, options.port, password)
    except (Refusal, OSError) as error:
        say(str(error))
        raise SystemExit(1) from None
    os.chdir("/")
    argv = server.argv("postgres", "-D", str(folder), death="INT")
    os.execvpe(argv[0], argv, clean_environment())  # noqa: S606 - the pid becomes the server's


if __name__ == "__main__":
    main()
