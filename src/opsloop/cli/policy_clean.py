"""`opsloop policy clean`: what the clean steps of policies would delete now."""

from __future__ import annotations

from typing import Any

import click

from opsloop.cli import output
from opsloop.cli.options import json_option, with_settings
from opsloop.errors import ArgumentError
from opsloop.settings import Settings


@click.command("clean", short_help="List what clean steps would delete now; delete nothing.")
@click.argument("policy", required=False)
@json_option
@with_settings
def command(settings: Settings, policy: str | None, as_json: bool) -> int:
    """List the files that clean steps (of POLICY, or of all policies) would delete now.

    Nothing is deleted. A rule whose folder is missing, or a link, is said on stderr, and the exit
    code is then 1. With --json: {"files": [{"policy", "file", "bytes", "age_s"}], "bytes",
    "problems"}.
    """
    import time

    from opsloop.cli.policy import given
    from opsloop.drivers.clean import CleanDriver, size
    from opsloop.drivers.words import Words
    from opsloop.errors import DriverError
    from opsloop.remediation.works import work_of
    from opsloop.settings import Ports

    engine, directory = given(settings)
    policies = engine.catalog.remediation.policies
    if policy is not None and policy not in policies:
        raise ArgumentError(f"policy {policy!r}", "is not in the catalog", "see `opsloop check`")
    ports = Ports(engine.port_base)
    words = Words.of(engine.catalog, settings.state.absolute(), directory, ports)
    driver, now = CleanDriver(words), time.time()
    files: list[dict[str, Any]] = []
    problems: list[str] = []
    for name, declared in policies.items():
        if policy not in (None, name):
            continue
        for step in declared.steps:
            for rule in work_of(step.clean, ()).rules if step.clean else ():
                try:
                    found = driver.allowed(rule, now)
                except DriverError as error:
                    problems.append(str(error))
                    continue
                files += [
                    {
                        "policy": name,
                        "file": str(old.folder / old.path),
                        "bytes": old.frees,
                        "age_s": round(now - old.modified_at),
                    }
                    for old in found
                ]
    total = sum(f["bytes"] for f in files)
    if as_json:
        output.print_json({"files": files, "bytes": total, "problems": problems})
        return 1 if problems else 0
    for file in files:
        days = file["age_s"] / 86_400
        output.say(f"{size(file['bytes']):>10}  {days:6.1f} days  {file['file']}")
    output.say(f"{len(files)} files would be deleted, {size(total)} freed")
    for problem in problems:
        output.complain(problem)
    return 1 if problems else 0
