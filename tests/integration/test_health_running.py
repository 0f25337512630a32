"""Probes run so many at a time and for so long; what they raise, and how they hang, stays theirs. No database."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from tierwright.integrations.health_probes import Probe, Probes, ProbeTarget
from tierwright.integrations.health_rules import Outcome
from tierwright.integrations.health_running import PROBE_STUCK, Answer, Attempt, Opening, Runner, in_own_loop
from tierwright.integrations.records import Secrets
from tierwright.secrets import Hidden
from tierwright.types import HealthStatus

HEALTHY, TIMED_OUT = Answer(Outcome.HEALTHY), Answer(Outcome.FAILED, "TimeoutError")
PATIENT = 60.0
SECRET = "xoxb-tell-nobody"


def attempts(probe: Probe, count: int = 1, *, version: int = 1, secrets: Callable[[], Any] = dict) -> list[Attempt]:
    """Return attempts for tenants t0, t1, ..."""
    made = []
    for number in range(count):
        opening = Opening(secrets)
        made.append(Attempt(probe, ProbeTarget(f"t{number}", "slack", {}, opening), version, opening))
    return made


@pytest.fixture(params=["apart", "on the loop"])
def run(request: pytest.FixtureRequest) -> Callable[..., list[Answer]]:
    """Return what runs attempts: as check_health does it, and as check_health_async does."""
    isolated = request.param == "apart"

    def run(
        tried: list[Attempt], timeout: float = PATIENT, concurrency: int = 8, probes: Probes | None = None
    ) -> list[Answer]:
        stuck = (probes or Probes()).stuck
        runner = Runner(stuck, timeout=timeout, concurrency=concurrency, isolated=isolated)
        return in_own_loop(lambda: runner.run(tried)) if isolated else asyncio.run(runner.run(tried))

    return run


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Yield what hanging probes wait for; at the end they are let go."""
    event = threading.Event()
    yield event
    event.set()


class Counter:
    """Counts how many probes run at once; each waits until ``together`` of them do."""

    def __init__(self, together: int) -> None:
        self.lock = threading.Lock()
        self.running = self.most = 0
        self.barrier = threading.Barrier(together)

    def __call__(self, _target: ProbeTarget) -> None:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.barrier.wait(PATIENT)
        with self.lock:
            self.running -= 1


async def returns_later(_target: ProbeTarget) -> HealthStatus:
    await asyncio.sleep(0)
    return HealthStatus.DEGRADED


class AsyncCallable:
    async def __call__(self, _target: ProbeTarget) -> HealthStatus:
        return await returns_later(_target)


@pytest.mark.parametrize(
    ("probe", "outcome", "error"),
    [
        (lambda _: None, Outcome.HEALTHY, None),
        (lambda _: HealthStatus.HEALTHY, Outcome.HEALTHY, None),
        (lambda _: HealthStatus.DEGRADED, Outcome.DEGRADED, None),
        (lambda _: HealthStatus.UNHEALTHY, Outcome.FAILED, None),
        (returns_later, Outcome.DEGRADED, None),
        (functools.partial(returns_later), Outcome.DEGRADED, None),
        (AsyncCallable(), Outcome.DEGRADED, None),
        (lambda target: returns_later(target), Outcome.DEGRADED, None),
        (lambda _: 1 / 0, Outcome.FAILED, "ZeroDivisionError"),
        (lambda _: sys.exit(3), Outcome.FAILED, "SystemExit"),
        (lambda _: True, Outcome.INCONCLUSIVE, "TypeError"),
        (lambda _: "healthy", Outcome.INCONCLUSIVE, "TypeError"),
        (lambda: None, Outcome.FAILED, "TypeError"),
    ],
)
def test_what_a_probe_answers(run: Any, probe: Any, outcome: Outcome, error: str | None) -> None:
    assert run(attempts(probe)) == [Answer(outcome, error)]


def test_exactly_so_many_run_at_a_time(run: Any) -> None:
    counter = Counter(together=3)
    # The barrier opens for three: with fewer at a time it would never open.
    assert run(attempts(counter, 9), concurrency=3) == [HEALTHY] * 9
    assert counter.most == 3


def test_async_probes_are_counted_too(run: Any) -> None:
    lock, running, most = threading.Lock(), 0, 0

    async def probe(_target: ProbeTarget) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        for _ in range(20):
            await asyncio.sleep(0)
        with lock:
            running -= 1

    assert run(attempts(probe, 30), concurrency=4) == [HEALTHY] * 30
    assert most <= 4


def test_answers_come_in_the_order_of_the_attempts(run: Any) -> None:
    first = threading.Event()

    def probe(target: ProbeTarget) -> HealthStatus:
        if target.tenant_id == "t0":
            assert first.wait(PATIENT)
            return HealthStatus.DEGRADED
        first.set()
        return HealthStatus.HEALTHY

    assert [answer.outcome for answer in run(attempts(probe, 3))] == ["degraded", "healthy", "healthy"]


def test_a_hanging_probe_fails_at_its_timeout_and_leaves_its_place(run: Any, gate: threading.Event) -> None:
    def probe(target: ProbeTarget) -> None:
        if target.tenant_id in ("t0", "t1"):
            gate.wait()

    # Two places, and both are taken by probes that hang.
    assert run(attempts(probe, 6), timeout=0.2, concurrency=2) == [TIMED_OUT] * 2 + [HEALTHY] * 4


def test_an_async_probe_is_cancelled_at_its_timeout(run: Any) -> None:
    cancelled = []

    async def probe(target: ProbeTarget) -> None:
        try:
            if target.tenant_id == "t0":
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(target.tenant_id)
            raise

    assert run(attempts(probe, 3), timeout=0.2, concurrency=1) == [TIMED_OUT, HEALTHY, HEALTHY]
    assert run(attempts(lambda _: None)) == [HEALTHY]  # it is another thread that is cancelled, where probes run apart
    for thread in threading.enumerate():
        if thread.name == "tierwright-probe":
            thread.join(PATIENT)
    assert cancelled == ["t0"]


def test_an_async_probe_that_will_not_be_cancelled_is_left_behind(run: Any) -> None:
    over = threading.Event()

    async def probe(target: ProbeTarget) -> None:
        while target.tenant_id == "t0" and not over.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    def let_go(_target: ProbeTarget) -> None:
        over.set()

    tried = [*attempts(probe, 2), attempts(let_go, 3)[2]]  # of another tenant: t0 is not asked while its run hangs
    assert run(tried, timeout=0.2, concurrency=1) == [TIMED_OUT, HEALTHY, HEALTHY]


def test_an_async_probe_that_blocks_its_loop_blocks_nobody_where_probes_run_apart(gate: threading.Event) -> None:
    async def probe(target: ProbeTarget) -> None:
        if target.tenant_id == "t0":
            gate.wait()

    runner = Runner(Probes().stuck, timeout=0.2, concurrency=1, isolated=True)
    assert in_own_loop(lambda: runner.run(attempts(probe, 3))) == [TIMED_OUT, HEALTHY, HEALTHY]


def test_async_probes_share_the_loop_and_the_context_of_who_asks() -> None:
    variable: ContextVar[str] = ContextVar("variable")
    seen: list[tuple[Any, str]] = []

    async def probe(_target: ProbeTarget) -> None:
        seen.append((asyncio.get_running_loop(), variable.get()))

    def sync_probe(_target: ProbeTarget) -> None:
        seen.append((None, variable.get()))

    async def main() -> asyncio.AbstractEventLoop:
        variable.set("mine")
        runner = Runner(Probes().stuck, timeout=PATIENT, concurrency=1, isolated=False)
        await runner.run([*attempts(probe), *attempts(sync_probe)])
        return asyncio.get_running_loop()

    loop = asyncio.run(main())
    assert seen == [(loop, "mine"), (None, "mine")]


def test_what_hangs_is_not_begun_again_and_goes_on_failing(run: Any, gate: threading.Event) -> None:
    begun = []

    def probe(target: ProbeTarget) -> None:
        begun.append(target.tenant_id)
        if len(begun) == 1:
            gate.wait()

    probes = Probes()
    assert run(attempts(probe), timeout=0.1, probes=probes) == [TIMED_OUT]
    assert run(attempts(probe), probes=probes) == [TIMED_OUT]
    # Nothing is known of a configuration that was changed meanwhile.
    assert run(attempts(probe, version=2), probes=probes) == [Answer(Outcome.INCONCLUSIVE, PROBE_STUCK)]
    assert begun == ["t0"]
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "tierwright-probe":
            thread.join(PATIENT)
    assert run(attempts(probe), probes=probes) == [HEALTHY]


def test_only_so_many_runs_of_an_integration_may_hang(run: Any, gate: threading.Event) -> None:
    begun = []

    def probe(target: ProbeTarget) -> None:
        begun.append(target.tenant_id)
        gate.wait()

    probes = Probes(max_stuck=2)
    stuck = Answer(Outcome.INCONCLUSIVE, PROBE_STUCK)
    assert run(attempts(probe, 5), timeout=0.1, concurrency=1, probes=probes) == [TIMED_OUT] * 2 + [stuck] * 3
    assert begun == ["t0", "t1"]
    other = Opening(dict)
    elsewhere = Attempt(lambda _: None, ProbeTarget("t0", "github", {}, other), 1, other)
    assert run([elsewhere], probes=probes) == [HEALTHY]


def test_a_check_that_is_cancelled_ends_at_once(gate: threading.Event) -> None:
    begun = threading.Event()
    probes = Probes()

    def probe(_target: ProbeTarget) -> None:
        begun.set()
        gate.wait()

    async def main() -> None:
        runner = Runner(probes.stuck, timeout=PATIENT, concurrency=1, isolated=False)
        check = asyncio.create_task(runner.run(attempts(probe, 3)))
        await asyncio.to_thread(begun.wait, PATIENT)
        check.cancel()
        with pytest.raises(asyncio.CancelledError):
            await check

    asyncio.run(main())
    assert probes.stuck.version_of(attempts(probe)[0].target) == 1


class KeyServiceDown(Exception):
    """What a key provider may raise."""


def refuse() -> Any:
    raise KeyServiceDown(SECRET)


def swallows(target: ProbeTarget) -> HealthStatus:
    try:
        target.secrets()
    except KeyServiceDown:
        return HealthStatus.UNHEALTHY
    return HealthStatus.HEALTHY


def translates(target: ProbeTarget) -> None:
    try:
        target.secrets()
    except KeyServiceDown as error:
        raise ConnectionError(SECRET) from error


def does_without(target: ProbeTarget) -> None:
    with pytest.raises(KeyServiceDown):
        target.secrets()


@pytest.mark.parametrize("probe", [lambda target: target.secrets() and None, swallows, translates])
def test_secrets_that_cannot_be_opened_say_nothing_about_the_integration(run: Any, probe: Any) -> None:
    assert run(attempts(probe, secrets=refuse)) == [Answer(Outcome.INCONCLUSIVE, "KeyServiceDown")]


def test_a_probe_may_do_without_secrets(run: Any) -> None:
    assert run(attempts(does_without, secrets=refuse)) == [HEALTHY]


def test_keys_that_are_never_given_say_nothing_either(run: Any, gate: threading.Event) -> None:
    def hang() -> Any:
        gate.wait()

    found = run(attempts(lambda target: target.secrets() and None, secrets=hang), timeout=0.1)
    assert found == [Answer(Outcome.INCONCLUSIVE, "TimeoutError")]


def test_a_failure_after_secrets_were_opened_is_one(run: Any) -> None:
    def probe(target: ProbeTarget) -> None:
        raise ConnectionError(target.secrets()["token"])

    assert run(attempts(probe, secrets=lambda: {"token": SECRET})) == [Answer(Outcome.FAILED, "ConnectionError")]


def test_a_target_shows_nothing_of_its_configuration() -> None:
    target = ProbeTarget("acme", "slack", {"channel": "#private"}, lambda: Secrets(Hidden({"/token": SECRET})))
    assert repr(target) == "ProbeTarget(tenant_id='acme', integration_key='slack')"
    assert target.secrets()["token"] == SECRET
    assert not ProbeTarget("acme", "slack", {}).secrets()


#: Ends only if nothing that hangs is waited for; a message of what is raised would be on standard error.
HANGS = """
import asyncio, sys, threading
from tierwright.integrations.health_probes import Probes, ProbeTarget
from tierwright.integrations.health_running import Attempt, Opening, Runner, in_own_loop

def hang(target):
    if target.tenant_id == "t0":
        threading.Event().wait()

async def hang_in_a_coroutine(target):
    hang(target)

async def hang_politely(target):
    if target.tenant_id == "t0":
        await asyncio.Event().wait()

async def fail_in_a_task(target):
    async def fail():
        raise ValueError("{secret}")
    task = asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)

def fail_in_this_thread(target):
    raise ValueError("{secret}")

def attempts(probe):
    made = []
    for tenant in ("t0", "t1", "t2"):
        opening = Opening(dict)
        made.append(Attempt(probe, ProbeTarget(tenant, "slack", {{}}, opening), 1, opening))
    return made

def run(probe, isolated):
    runner = Runner(Probes().stuck, timeout=0.2, concurrency=1, isolated=isolated)
    work = lambda: runner.run(attempts(probe))
    answers = in_own_loop(work) if isolated else asyncio.run(work())
    print(*(answer.error or answer.outcome.value for answer in answers))

run(hang, True)
run(hang, False)
run(hang_in_a_coroutine, True)
run(hang_politely, True)
run(hang_politely, False)
run(fail_in_a_task, True)
run(fail_in_this_thread, True)
"""


def test_a_process_with_hanging_probes_ends(tmp_path: Any) -> None:
    script = tmp_path / "hangs.py"
    script.write_text(textwrap.dedent(HANGS.format(secret=SECRET)))
    environment = dict(os.environ, PYTHONASYNCIODEBUG="1")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", str(script)],
        capture_output=True,
        text=True,
        timeout=PATIENT,
        env=environment,
    )
    hung, fine = "TimeoutError healthy healthy", "healthy healthy healthy"
    raised = "ValueError ValueError ValueError"
    assert done.stdout.splitlines() == [hung] * 5 + [fine, raised]
    assert SECRET not in done.stderr
    assert done.returncode == 0, done.stderr
