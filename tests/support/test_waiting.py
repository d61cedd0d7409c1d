"""The support that other tests rest on does what it says."""

from __future__ import annotations

import socket

import pytest

from tests.support.net import free_port, free_ports
from tests.support.wait import WaitFailed, wait_until


def test_free_ports_are_different_and_can_be_bound() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", port))


def test_a_port_is_not_given_twice() -> None:
    assert len({free_port() for _ in range(50)}) == 50


def test_wait_until_gives_the_first_truthy_answer() -> None:
    answers = iter([0, None, 7])
    assert wait_until(lambda: next(answers), "a number", interval=0) == 7


def test_wait_until_treats_an_exception_as_not_yet() -> None:
    answers = iter(["", "soon", "4"])
    assert wait_until(lambda: int(next(answers)), "a number", interval=0) == 4


def test_wait_until_names_what_and_the_last_answer() -> None:
    with pytest.raises(WaitFailed, match=r"the moon: not within 0 s; last: \[\]"):
        wait_until(list, "the moon", deadline=0)
    with pytest.raises(WaitFailed, match=r"last: ValueError: invalid literal"):
        wait_until(lambda: int("x"), "a number", deadline=0)
