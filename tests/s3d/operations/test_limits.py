"""A gateway with [[limits]]: who is proven pays, and what is over is refused before anything is read or touched."""

from pathlib import Path

from s3d.access.limits import ANONYMOUS
from shardd.contract.cluster import LimitConfig
from tests.s3d.live import Live, gateway
from tests.s3d.protocol.signing import signed


async def test_over_the_limit_is_slow_down_and_nothing_is_touched(tmp_path: Path) -> None:
    async with gateway(tmp_path, limits=(LimitConfig(0.5, burst=1, actions=("s3:PutObject",)),)) as live:
        await live.ok("PUT", "/configured/k", b"one")
        decided, shards = decisions(live, tmp_path), live.shards()
        answer = await live.ask("PUT", "/configured/k", b"two")
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "SlowDown", "2")
        assert (decisions(live, tmp_path), live.shards()) == (decided, shards)
        assert (await live.ok("GET", "/configured/k")).body == b"one"
        live.clock[0] += 2
        await live.ok("PUT", "/configured/k", b"three")
        assert live.app.limits is not None and live.app.limits.refused == 1


async def test_the_body_is_not_asked_for(tmp_path: Path) -> None:
    async with gateway(tmp_path, limits=(LimitConfig(0.5, burst=1),)) as live:
        await live.ok("GET", "/configured")
        wire = signed("PUT", "/configured/k", body=b"x" * 100, headers={"Expect": "100-continue"})
        assert (await live.send(wire, length=100)).code == "SlowDown"


async def test_who_is_not_proven_spends_nobodys_budget(tmp_path: Path) -> None:
    only = LimitConfig(0.1, burst=1, account_id="000000000001")
    async with gateway(tmp_path, limits=(only,)) as live:
        for _ in range(3):
            forged = signed("GET", "/configured", secret="guessed")
            assert (await live.send(forged)).code == "SignatureDoesNotMatch"
            await anonymous(live)
        await live.ok("GET", "/configured")
        assert (
            await live.ask("GET", "/configured", key="AKREADER")
        ).code == "SlowDown"  # of the same account
        await live.ok("GET", "/", key="AKSECOND")


async def test_those_who_do_not_sign_are_one_account(tmp_path: Path) -> None:
    async with gateway(tmp_path, limits=(LimitConfig(0.1, burst=2, account_id=ANONYMOUS),)) as live:
        await anonymous(live)
        await anonymous(live)
        assert (await live.ask("GET", "/public", key="")).code == "SlowDown"
        await live.ok("GET", "/public")
        assert (await live.ask("GET", "/-/health", key="")).status == 200


async def anonymous(live: Live) -> None:
    """An unsigned request that is answered."""
    assert (await live.ask("GET", "/public", key="")).status == 200


def decisions(live: Live, folder: Path) -> int:
    """How often it was decided whether somebody may do something."""
    live.store.audit.flush()
    return (folder / "audit").read_bytes().count(b"\n")
