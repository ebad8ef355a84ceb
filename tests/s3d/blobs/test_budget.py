"""Proves that a budget is kept, served in order, and given back whatever happens."""

import asyncio
import random

from s3d.blobs.budget import Budget


async def turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_first_is_served_first_even_if_a_smaller_one_would_fit() -> None:
    budget, served = Budget(10), []

    async def take(name: str, size: int) -> None:
        await budget.acquire(size)
        served.append(name)

    await budget.acquire(8)
    async with asyncio.TaskGroup() as group:
        group.create_task(take("big", 5))
        group.create_task(take("small", 1))
        await turns()
        assert served == [] and not budget.try_acquire(1)
        budget.release(8)
        await turns()
        assert served == ["big", "small"] and budget.used == 6


async def test_more_than_everything_is_everything() -> None:
    budget = Budget(10)
    assert await budget.acquire(50) == 10
    budget.release(10)
    assert budget.used == 0


async def test_one_who_stops_waiting_lets_the_next_go() -> None:
    budget = Budget(10)
    await budget.acquire(10)
    gone = asyncio.create_task(budget.acquire(10))
    follows = asyncio.create_task(budget.acquire(3))
    await turns()
    budget.release(5)
    await turns()
    assert not follows.done()
    gone.cancel()
    await turns()
    assert gone.cancelled() and follows.done() and budget.used == 8


async def test_one_who_is_served_and_cancelled_at_once_gives_it_back() -> None:
    budget = Budget(10)
    await budget.acquire(10)
    gone = asyncio.create_task(budget.acquire(10))
    await turns()
    budget.release(10)
    gone.cancel()
    await turns()
    assert gone.cancelled() and budget.used == 0


async def test_any_mix_stays_within_the_limit_and_comes_to_nothing() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance, budget = random.Random(seed), Budget(100)

    async def worker() -> None:
        for _ in range(50):
            held = await budget.acquire(chance.randint(0, 120))
            try:
                assert budget.used <= 100
                await asyncio.sleep(0)
            finally:
                budget.release(held)

    workers = [asyncio.create_task(worker()) for _ in range(20)]
    for one in chance.sample(workers, 5):
        await turns()
        one.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(*workers, return_exceptions=True)
    assert budget.used == 0
