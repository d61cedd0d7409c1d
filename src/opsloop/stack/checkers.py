"""promtool and amtool over a bundle on disk: its syntax, and the rules' own tests."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from opsloop import names
from opsloop.errors import BundleError
from opsloop.stack import binaries, panel_rules

CHECK_TIMEOUT_S = 120.0
TEST_TIMEOUT_S = 600.0
AT_ONCE = 2
RULES = "prometheus/rules"
TESTS = "prometheus/tests"
_LINES_SHOWN = 40
_FAILED_TEST = re.compile(r"^    name: (.*),\s*$")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one checker said. `detail`: its own words when it failed, why it was skipped.

    failed_tests: names of unit tests, where promtool names those that failed.
    """

    name: str
    status: Literal["ok", "failed", "skipped"]
    detail: str = ""
    failed_tests: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Check:
    """A checker's command line, to be run in the bundle's folder."""

    name: str
    program: str
    arguments: tuple[str, ...]
    timeout_s: float = CHECK_TIMEOUT_S


def check_bundle(root: Path, named: Mapping[str, str] | None = None) -> list[CheckResult]:
    """promtool check config and check rules (of rules, and of the dashboards' queries), amtool
    check-config and the routes of each alert, where the tools are there.

    root: the bundle's folder. named: `stack.binaries` of the catalog, program name -> path.
    """
    checks = []
    if (root / names.PROMETHEUS_YML).is_file():
        checks.append(
            _Check("promtool check config", "promtool", ("check", "config", names.PROMETHEUS_YML))
        )
    rules = _files(root, RULES)
    if rules:
        checks.append(_Check("promtool check rules", "promtool", ("check", "rules", *rules)))
    if (root / names.ALERTMANAGER_YML).is_file():
        checks.append(
            _Check("amtool check-config", "amtool", ("check-config", names.ALERTMANAGER_YML))
        )
    results = list(_run_all(root, checks, named))
    results += _check_dashboards(root, named)
    if any(r.name == "amtool check-config" and r.status == "ok" for r in results):
        results += _check_routes(root, named)
    return results


def _check_dashboards(root: Path, named: Mapping[str, str] | None) -> list[CheckResult]:
    """Whether promtool can read every query of the dashboards."""
    rules = panel_rules.rules_of(root)
    if rules is None:
        return []
    with tempfile.TemporaryDirectory(prefix="opsloop-panels-") as folder:
        path = Path(folder) / "dashboards.yml"
        path.write_text(rules)
        check = _Check("promtool on the dashboards", "promtool", ("check", "rules", str(path)))
        return list(_run_all(root, [check], named))


def _check_routes(root: Path, named: Mapping[str, str] | None) -> list[CheckResult]:
    """Whether alerts reach whom routes.yml says, as one result."""
    path = root / names.ROUTES_YML
    if not path.is_file():
        return []
    checks = []
    for route in sampled(yaml.safe_load(path.read_text())["routes"]):
        labels = tuple(f"{name}={value}" for name, value in route["labels"].items())
        wanted = f"--verify.receivers={','.join(route['receivers'])}"
        test = ("config", "routes", "test", "--config.file", names.ALERTMANAGER_YML, wanted)
        checks.append(_Check(" ".join(labels), "amtool", (*test, *labels)))
    wrong = [r for r in _run_all(root, checks, named) if r.status != "ok"]
    lines = [f"{r.name}: {' '.join(r.detail.split())}" for r in wrong[:_LINES_SHOWN]]
    status: Literal["ok", "failed"] = "failed" if wrong else "ok"
    return [CheckResult("amtool config routes test", status, "\n".join(lines))]


def sampled(routes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that differ in more than whose they are: each alert with each severity and policy,
    each set of receivers, each set of windows once.

    amtool answers about one alert in one process; of a thousand services most answers are alike.
    """
    found, seen = [], set[tuple[str, ...]]()
    for route in routes:
        labels, told = route["labels"], tuple(route["receivers"])
        alert = ("alert", *(labels.get(k, "") for k in ("alertname", names.SEVERITY, names.POLICY)))
        muted = ("muted", *(route.get("people") or {}).get("muted", ()))
        kinds = {alert, ("receivers", *told), (*muted, *told)}
        if kinds - seen:
            found.append(route)
        seen |= kinds
    return found


def run_tests(
    root: Path,
    named: Mapping[str, str] | None = None,
    each: Callable[[CheckResult], None] = lambda _: None,
) -> list[CheckResult]:
    """promtool test rules on every file of the bundle's tests, two at once, in their order.

    each: called with a result as soon as it and all before it are there.
    """
    checks = [
        _Check(path, "promtool", ("test", "rules", path), TEST_TIMEOUT_S)
        for path in _files(root, TESTS)
    ]
    results = []
    for result in _run_all(root, checks, named):
        each(result)
        results.append(result)
    return results


def refuse_failed(results: Sequence[CheckResult]) -> None:
    """Raise BundleError with the tools' own words when one refused."""
    failed = [r for r in results if r.status == "failed"]
    if failed:
        # check config and check rules say the same of a rule; once is enough.
        details = {r.detail.replace(" ", ""): r for r in reversed(failed)}
        said = [r for r in failed if r in details.values()]
        words = "\n".join(f"{r.name}:\n{_indent(r.detail)}" for r in said)
        which = ", ".join(r.name for r in failed)
        raise BundleError("the compiled bundle", f"is refused by {which}\n{words}")


def _files(root: Path, folder: str) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in (root / folder).glob("*.yml"))


def _run_all(
    root: Path, checks: Sequence[_Check], named: Mapping[str, str] | None
) -> Iterator[CheckResult]:
    found: dict[str, Path | None] = {
        program: binaries.find(binaries.PROGRAMS[program], named)
        for program in {c.program for c in checks}
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda check: _run(root, check, found[check.program]), checks)


def _run(root: Path, check: _Check, program: Path | None) -> CheckResult:
    if program is None:
        return CheckResult(check.name, "skipped", f"{check.program} is not installed")
    try:
        done = subprocess.run(
            [str(program), *check.arguments],
            cwd=root,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=check.timeout_s,
        )
    except subprocess.TimeoutExpired:
        return CheckResult(check.name, "failed", f"no answer within {check.timeout_s:.0f} s")
    except OSError as error:
        return CheckResult(check.name, "failed", f"{program} cannot be run: {error.strerror}")
    if done.returncode == 0:
        return CheckResult(check.name, "ok")
    lines = [line.replace(f"{root}/", "") for line in _refusal(check, done)]
    named = frozenset(m.group(1) for line in lines if (m := _FAILED_TEST.match(line)))
    if len(lines) > _LINES_SHOWN:
        lines = [*lines[:_LINES_SHOWN], f"({len(lines) - _LINES_SHOWN} more lines)"]
    return CheckResult(check.name, "failed", "\n".join(lines), named)


def _refusal(check: _Check, done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that say what is wrong: promtool's stderr; amtool names the cause on stdout."""
    words = done.stderr if check.program == "promtool" else done.stdout + done.stderr
    lines = [x for x in (words.strip() or done.stdout).splitlines() if x.strip()]
    return lines or [f"exit code {done.returncode}, without a word"]


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
