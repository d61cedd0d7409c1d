"""What the stack carries: requests to the shop while it is watched, and the loop's own intake."""

from __future__ import annotations

import asyncio
import time

from benchmarks import every, keep
from benchmarks._output import percentile
from opsloop.settings import Ports

SECONDS, AT_ONCE = 15.0, 4
PATH = "/products"
BENCHMARKS = ("intake", "storm", "console")  # those of them that there are, in their quick form


def summary(port_base: int) -> str:
    """Figures as lines, with what limits them."""
    answers = asyncio.run(_load(f"http://127.0.0.1:{Ports(port_base).process(8000)}{PATH}"))
    seconds = sorted(took for took, _ in answers)
    failed = sum(status >= 500 for _, status in answers)
    how = f"{AT_ONCE} clients at once for {SECONDS:.0f} s, beside its usual load and the stack"
    lines = [
        f"Shop, one API instance, {how}, all on the same cores:",
        f"  {len(answers) / SECONDS:.0f} requests/s, {failed} answered with 5xx",
        "  latency p50 {:.1f} ms, p95 {:.1f} ms, p99 {:.1f} ms".format(
            *(1000 * (percentile(seconds, share) or 0.0) for share in (0.50, 0.95, 0.99))
        ),
        "  limited by the few slow workers that the demo gives an instance, so that drills can",
        "  overload it",
    ]
    for name in BENCHMARKS:
        if name not in every.names():
            continue
        found = keep.measure(name, ["--quick"])
        if found is None:
            raise SystemExit(f"evidence: benchmark {name} did not run")
        machine = found["machine"]
        lines += ["", f"{name} (quick form; {machine['cpus']} cores, {machine['cpu']}):"]
        lines += ["  " + "  ".join(row[1:]).rstrip() for row in every.rows([found], every=True)]
    return "\n".join(lines) + "\n"


async def _load(url: str) -> list[tuple[float, int]]:
    """(seconds, status) of each answer."""
    import aiohttp

    found: list[tuple[float, int]] = []
    ends = time.monotonic() + SECONDS

    async def client(session: aiohttp.ClientSession) -> None:
        while time.monotonic() < ends:
            began = time.monotonic()
            async with session.get(url) as answer:
                await answer.read()
                found.append((time.monotonic() - began, answer.status))

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(AT_ONCE)))
    return found
