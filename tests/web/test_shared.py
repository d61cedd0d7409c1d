"""One answer for all who ask: once, in time, and the last one where there is no newer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from opsloop.errors import PrometheusError
from opsloop.web import shared
from opsloop.web.shared import Held, SharedAnswers


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def asked(story: Callable[[SharedAnswers, Clock], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = Clock()
        await story(SharedAnswers(clock, wall=lambda: clock.now + 1000), clock)

    asyncio.run(main())


def ask(
    answers: SharedAnswers, work: Callable[[], Any], *, deadline_s: float = 30.0
) -> Awaitable[Held[Any]]:
    return answers.ask("key", work, fresh_s=10.0, deadline_s=deadline_s)


def _mistake() -> Any:
    return {"a": 1}["x"]


def refuse() -> Any:
    raise PrometheusError("Prometheus", "is away")


def test_twenty_viewers_cost_one_question() -> None:
    async def story(answers: SharedAnswers, _: Clock) -> None:
        go = threading.Event()

        def work() -> int:
            assert go.wait(30)
            return 7

        waiting = [asyncio.create_task(_wait(answers, work)) for _ in range(20)]
        await asyncio.sleep(0)
        go.set()
        assert [h.value for h in await asyncio.gather(*waiting)] == [7] * 20
        assert (answers.asked, answers.made) == (20, 1)

    async def _wait(answers: SharedAnswers, work: Callable[[], int]) -> Held[int]:
        return await ask(answers, work)

    asked(story)


def test_an_answer_is_fresh_for_its_time() -> None:
    async def story(answers: SharedAnswers, clock: Clock) -> None:
        values = iter(range(9))
        for at, value in ((100.0, 0), (109.0, 0), (111.0, 1), (112.0, 1)):
            clock.now = at
            assert (await ask(answers, lambda: next(values))).value == value

    asked(story)


def test_a_failure_leaves_the_last_value_with_its_age() -> None:
    async def story(answers: SharedAnswers, clock: Clock) -> None:
        await ask(answers, lambda: "good")
        clock.now = 140.0
        held = await ask(answers, refuse)
        assert (held.value, held.error) == ("good", "Prometheus: is away")
        assert held.age_s(1140.0) == 40.0
        made = answers.made
        await ask(answers, refuse)  # at once again: nobody hammers what is down
        assert answers.made == made
        clock.now += shared.RETRY_S
        assert await ask(answers, lambda: "back") == Held("back", clock.now + 1000)

    asked(story)


def test_a_question_that_never_ends_is_given_up_for_this_viewer() -> None:
    async def story(answers: SharedAnswers, _: Clock) -> None:
        go = threading.Event()
        held = await ask(answers, lambda: go.wait(30), deadline_s=0.01)
        assert held == Held(None, 0.0, "no answer within 0.01 s")
        go.set()
        assert (await ask(answers, lambda: False)).value is True

    asked(story)


def test_a_mistake_of_ours_is_no_end_of_the_page() -> None:
    async def story(answers: SharedAnswers, _: Clock) -> None:
        held = await ask(answers, _mistake)
        assert "KeyError" in held.error

    asked(story)


def test_what_was_changed_is_asked_again() -> None:
    async def story(answers: SharedAnswers, _: Clock) -> None:
        values = iter(range(9))
        await ask(answers, lambda: next(values))
        answers.forget("key")
        assert (await ask(answers, lambda: next(values))).value == 1

    asked(story)


def test_what_was_changed_while_it_was_asked_is_asked_again() -> None:
    async def story(answers: SharedAnswers, _: Clock) -> None:
        began, go = threading.Event(), threading.Event()

        def old() -> str:
            began.set()
            assert go.wait(30)
            return "old"

        first = asyncio.ensure_future(ask(answers, old))
        assert await asyncio.to_thread(began.wait, 30)
        answers.forget("key")
        go.set()
        await first
        assert (await ask(answers, lambda: "new")).value == "new"

    asked(story)


def test_the_memory_has_a_limit() -> None:
    async def story(answers: SharedAnswers, _: Clock) -> None:
        for number in range(shared.MOST_KEPT + 50):
            await answers.ask(number, lambda: 1, fresh_s=1.0, deadline_s=30.0)
        assert answers.last(0) == Held()
        assert answers.last(shared.MOST_KEPT + 49).value == 1
        assert len(answers._entries) <= shared.MOST_KEPT + 1

    asked(story)
