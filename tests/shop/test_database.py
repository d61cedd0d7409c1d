"""The shop's PostgreSQL: made when absent, the server itself after that, back after a kill."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.shop.parts import SECRETS, Shop, postmaster, shop, until_ended
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("database") / "state") as made:
        made.start_database()
        wait_until(lambda: rows(made, "SELECT 1"), "the database answers")
        yield made


def rows(made: Shop, query: str, user: str = "opsloop", password: str | None = None) -> list[Any]:
    with psycopg.connect(
        host="127.0.0.1",
        port=made.database_port,
        user=user,
        password=password or SECRETS["database_password"],
        dbname="shop",
        sslmode="disable",
        connect_timeout=5,
        autocommit=True,
    ) as connection:
        return connection.execute(query.encode()).fetchall()


def test_the_process_becomes_the_server(made: Shop) -> None:
    assert postmaster(made) == made.running["database"].pid


def test_the_shop_is_seeded(made: Shop) -> None:
    assert rows(made, "SELECT count(*) FROM products") == [(200,)]
    assert rows(made, "SELECT count(*) FROM orders") == [(0,)]


def test_the_role_may_look_but_is_no_superuser(made: Shop) -> None:
    query = "SELECT rolsuper, pg_has_role('opsloop', 'pg_monitor', 'member') FROM pg_roles"
    assert rows(made, query + " WHERE rolname = 'opsloop'") == [(False, True)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(made, "DROP TABLE products")


@pytest.mark.parametrize(("user", "password"), [("opsloop", "wrong-password"), ("postgres", None)])
def test_nobody_else_gets_in(made: Shop, user: str, password: str | None) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"authentication|no pg_hba"):
        rows(made, "SELECT 1", user, password)


def test_it_listens_on_loopback_only(made: Shop) -> None:
    assert rows(made, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert rows(made, "SHOW unix_socket_directories") == [("",)]
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.2", made.database_port)) != 0


def test_no_secret_is_in_its_environment_or_arguments(made: Shop) -> None:
    process = Path("/proc") / str(postmaster(made))
    seen = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
    assert SECRETS["database_password"].encode() not in seen
    assert b"OPSLOOP" not in seen


def test_after_a_kill_it_comes_back_over_its_leftovers(made: Shop) -> None:
    """Its backends hold the shared memory for a while, and its pid file is stale."""
    holder = psycopg.connect(
        host="127.0.0.1",
        port=made.database_port,
        user="opsloop",
        password=SECRETS["database_password"],
        dbname="shop",
        sslmode="disable",
    )
    holder.execute("INSERT INTO orders (product_id, quantity) VALUES (1, 1)")
    holder.commit()
    holder.execute("SELECT 1")  # a backend inside a transaction
    made.running["database"].kill()
    assert until_ended(made.running["database"]) == -signal.SIGKILL
    made.start_database()
    wait_until(lambda: rows(made, "SELECT 1"), "the database answers again", 30)
    assert rows(made, "SELECT count(*) FROM orders") == [(1,)]
    holder.close()


def test_a_second_one_on_the_same_folder_is_refused(made: Shop) -> None:
    second = Shop(made.state, made.database_port + 1, 0, 0)
    process = second.start("second", "database.py", "--port", str(second.database_port))
    try:
        until_ended(process)
    finally:
        if process.poll() is None:
            process.kill()
    assert "is served by process" in second.log("second")
    assert rows(made, "SELECT 1") == [(1,)]


def test_a_half_made_cluster_is_made_again(tmp_path: Path) -> None:
    with shop(tmp_path / "state") as made:
        process = made.start_database()
        folder = tmp_path / "state" / "data"
        wait_until(lambda: made.log("database"), "it begins to make the cluster")
        process.kill()
        until_ended(process)
        assert not list(folder.glob("database/opsloop-served"))
        made.start_database()
        wait_until(lambda: rows(made, "SELECT 1"), "the database answers")
        assert rows(made, "SELECT count(*) FROM products") == [(200,)]


def test_a_new_password_is_taken_at_the_next_start(tmp_path: Path) -> None:
    with shop(tmp_path / "state") as made:
        process = made.start_database()
        wait_until(lambda: rows(made, "SELECT 1"), "the database answers")
        process.send_signal(signal.SIGINT)
        until_ended(process)
        (made.state / "secrets" / "database_password").write_text("another-password\n")
        made.start_database()
        wait_until(
            lambda: rows(made, "SELECT 1", password="another-password"), "the new password works"
        )
        with pytest.raises(psycopg.OperationalError, match="authentication"):
            rows(made, "SELECT 1")


def test_without_a_password_it_says_so(tmp_path: Path) -> None:
    with shop(tmp_path / "state") as made:
        (made.state / "secrets" / "database_password").unlink()
        assert until_ended(made.start_database()) == 1
        assert "database_password" in made.log("database")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a cluster for another user")
def test_as_root_the_server_runs_as_its_own_user(made: Shop) -> None:
    assert Path(f"/proc/{postmaster(made)}").stat().st_uid != 0
