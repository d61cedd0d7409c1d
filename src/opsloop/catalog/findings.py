"""What the checks look at and where they put what they find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from opsloop import names
from opsloop.catalog.explain import nearest
from opsloop.catalog.fieldpath import Path, related
from opsloop.catalog.model import Catalog
from opsloop.catalog.places import Places
from opsloop.errors import Problem
from opsloop.settings import Settings

# Labels whose values opsloop sets; a catalog that sets them too would contradict it.
OWN_LABELS = frozenset(
    (
        *names.SERVICE_LABELS, names.INSTANCE, names.SEVERITY, names.POLICY, names.ORIGINAL,
        names.RUN, "job", "alertname", "le",
    )
)  # fmt: skip


class Scope:
    """One catalog under check.

    declared: section -> names that are written there, also those of entries that are broken and
    so not in `catalog`. broken: paths with a problem already; a finding that rests on one of
    them is not reported, since it may be gone when that is mended.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        places: Places,
        declared: Mapping[str, AbstractSet[str]],
        broken: AbstractSet[Path],
    ) -> None:
        self.catalog = catalog
        self.settings = settings
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self._places = places
        self._declared = declared
        self._broken = broken

    def names(self, section: str) -> AbstractSet[str]:
        """Every name written in `section`, broken or not."""
        there: Mapping[str, object] = getattr(self.catalog, section)
        return self._declared.get(section, frozenset()) | there.keys()

    def error(
        self, path: Path, message: str, hint: str = "", *, reads: Iterable[Path] = ()
    ) -> None:
        """A mistake at `path`; `reads` are the other fields that it rests on."""
        if not self._rests_on_broken((path, *reads)):
            self.errors.append(self._places.problem(path, message, hint))

    def warning(
        self, path: Path, message: str, hint: str = "", *, reads: Iterable[Path] = ()
    ) -> None:
        """What works but should not stay so."""
        if not self._rests_on_broken((path, *reads)):
            self.warnings.append(self._places.problem(path, message, hint))

    def refer(self, path: Path, section: str, name: str, kind: str) -> bool:
        """Whether `name` is written in `section`; an error at `path` when not."""
        known = self.names(section)
        if name in known:
            return True
        hint = nearest(name, known) or f"write it under {section}:"
        self.error(path, f"there is no {kind} {name!r}", hint)
        return False

    def labels(self, path: Path, given: Mapping[str, str]) -> None:
        """Refuse labels whose value opsloop or Prometheus sets."""
        for name in given:
            if name in OWN_LABELS:
                hint = "choose another name"
                self.error((*path, name), f"label {name!r} is set by opsloop", hint)
            elif name.startswith("__"):
                message = f"label {name!r} is Prometheus's own: it starts with __"
                self.error((*path, name), message, "choose another name")

    def below_all(self, path: Path, limit: float) -> None:
        """Refuse a threshold of 100%: nothing is over it, so its alert would never fire."""
        if limit >= 1:
            self.error(path, "100% can never be exceeded", "write a smaller share")

    def refuse_cycles(self, edges: Mapping[str, list[str]], section: str, field: str) -> None:
        """An error for each circle among the entries of `section` through their lists `field`."""
        for way in cycles(edges):
            following = [*way[1:], way[0]]
            written: list[str] = getattr(getattr(self.catalog, section)[way[0]], field)
            at = (section, way[0], field, written.index(following[0]))
            self.error(at, f"a circle: {' -> '.join([way[0], *following])}", "remove one of them")

    def _rests_on_broken(self, paths: Iterable[Path]) -> bool:
        return bool(self._broken) and any(
            related(path, broken) for path in paths for broken in self._broken
        )


def cycles(edges: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """Each cycle of a directed graph once, as the names along it, first name first in order."""
    state: dict[str, int] = {}  # 1 on the way, 2 done
    for start in edges:
        if start in state:
            continue
        way = [start]
        state[start] = 1
        rest = [iter(edges[start])]
        while way:
            for name in rest[-1]:
                if state.get(name) == 1:
                    yield way[way.index(name) :]
                elif name in edges and name not in state:
                    state[name] = 1
                    way.append(name)
                    rest.append(iter(edges[name]))
                    break
            else:
                state[way.pop()] = 2
                rest.pop()
