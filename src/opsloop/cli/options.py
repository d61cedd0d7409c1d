"""Options that several commands share, and how they become Settings."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from opsloop.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


def with_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --state, --catalog and --port-base; the command gets them as `settings: Settings`.

    ArgumentError when the environment or an option is wrong.
    """

    @click.option(
        "--state",
        metavar="DIR",
        help="State folder of the stack [OPSLOOP_STATE, default .opsloop].",
    )
    @click.option(
        "--catalog",
        metavar="PATH",
        help="Catalog file or folder [OPSLOOP_CATALOG, default opsloop.yaml or catalog/].",
    )
    @click.option(
        "--port-base",
        type=int,
        metavar="N",
        help="Move every port by N [OPSLOOP_PORT_BASE, default 0].",
    )
    @functools.wraps(function)
    def wrapper(
        *args: Any, state: str | None, catalog: str | None, port_base: int | None, **kwargs: Any
    ) -> Any:
        settings = Settings.from_env(os.environ, state=state, catalog=catalog, port_base=port_base)
        return function(*args, settings=settings, **kwargs)

    return wrapper


def json_option(function: F) -> F:
    """Add --json; the command gets it as `as_json: bool`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, stable and documented."
    )(function)
