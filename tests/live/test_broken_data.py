"""Broken data: the log line of each damage is known, and `invoke repair` makes the service work again.

Single services, without the application. The drill of the same name makes every other damage.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.live import broken
from tests.live.broken import COUNT, QUICK, SLOW, UNREPAIRABLE, WRITTEN, Case, Stores
from tests.live.stack import IMAGES, Stack, until
from toolkit.checkout.project import LOCAL
from toolkit.core import envfile
from toolkit.engine import damage


def has_images(stack: Stack) -> bool:
    """Whether the images of all stores are on this machine."""
    services = stack.configuration()
    return all(not stack.run("docker", "image", "inspect", services[each]["image"], check=False).returncode
               for each in COUNT)  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """The services of a development stack, of which none runs. The application's image is not built for them."""
    stack = Stack.create(tmp_path_factory.mktemp("broken") / "checkout", "netmon-broken")
    if IMAGES != "pull":
        envfile.update(stack.root / ".env", {"NETMON_IMAGES": LOCAL})
    stack.invoke("setup", "--profile=dev")
    if not has_images(stack):
        envfile.update(stack.root / ".env", {"NETMON_IMAGES": ""})
        stack.invoke("images.prepare", timeout=900)
    stores = Stores(stack)
    try:
        yield stores
    finally:
        stores.remove()
        stack.destroy()


@pytest.fixture(autouse=True)
def _stop(stores: Stores) -> Iterator[None]:
    """Each test begins and ends without a service and without a copy."""
    yield
    stores.stop(*COUNT)
    for copy in stores.copies():
        stores.stack.docker("volume", "rm", copy)


def start_damaged(stores: Stores, case: Case) -> damage.Damage:
    """Damage the data of a service, start it, and wait until its log has the line of the damage."""
    known = next(each for each in damage.of_service(case.service) if each.name == case.damage)
    stores.damage(case)
    stores.start(case.service, healthy=known.serves and case.damage != "block")
    if case.damage == "segment":
        return known
    if known.serves and case.service == "db":
        assert COUNT["db"](stores) < WRITTEN, "the damage is not noticed"
    until(lambda: damage.find(case.service, stores.log(case.service)) is not None, 60, f"a log line of {case.name}")
    assert damage.find(case.service, stores.log(case.service)) == known
    return known


@pytest.mark.parametrize("case", [*QUICK, *(pytest.param(each, marks=pytest.mark.drill) for each in SLOW)],
                         ids=lambda each: each.name)  # fmt: skip
def test_damage_is_repaired(stores: Stores, case: Case) -> None:
    known = start_damaged(stores, case)
    assert known.repair is not None
    named = ["--damage=segment"] if case.damage == "segment" else []
    refused = stores.stack.invoke("repair", case.service, *named, check=False)
    assert refused.returncode == 1
    assert "confirmation required" in refused.stderr
    assert known.repair.loses in refused.stdout
    output = stores.stack.invoke("repair", case.service, "--yes", *named).stdout
    assert stores.health(case.service) == "healthy"
    assert COUNT[case.service](stores) in case.left, output
    assert bool(known.repair.files) == bool(stores.copies()), output
    assert all(copy in output for copy in stores.copies())
    if not known.serves:
        again = stores.stack.invoke("repair", case.service, "--yes", check=False)
        assert f"{case.service} is healthy" in again.stderr


@pytest.mark.drill
@pytest.mark.parametrize("case", UNREPAIRABLE, ids=lambda each: each.name)
def test_damage_without_a_safe_repair_is_named(stores: Stores, case: Case) -> None:
    known = start_damaged(stores, case)
    done = stores.stack.invoke("repair", case.service, "--yes", check=False)
    assert done.returncode == 1
    assert known.cause in done.stderr
    assert known.otherwise in done.stderr


@pytest.mark.drill
@pytest.mark.parametrize("case", broken.HEALED, ids=lambda each: each.name)
def test_torn_file_heals_by_itself(stores: Stores, case: Case) -> None:
    stores.damage(case)
    stores.start(case.service)
    assert damage.find(case.service, stores.log(case.service)) is None
    assert COUNT[case.service](stores) in case.left


@pytest.mark.drill
def test_interrupted_repair_leaves_the_data_as_it_was(stores: Stores) -> None:
    """Ctrl-C in each step: until the copy, during it, and during the repair."""
    case = QUICK[0]
    start_damaged(stores, case)
    command = "find . -type f | sort | xargs sha256sum"
    before = stores.in_volume(case.service, command)
    interrupted = 0
    for pause in (0.3, 0.8, 1.2, 1.6, 2.0):
        process = stores.stack.start("repair", case.service, "--yes")
        until(lambda: not stores.stack.containers(case.service), 30, "the end of the container")
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
        if process.returncode == 0:
            break
        assert process.returncode == 130, output
        assert "its data is as before" in output
        assert stores.in_volume(case.service, command) == before, output
        assert stores.copies() == [], output
        assert not stores.stack.docker("ps", "--quiet", "--filter", f"name={stores.stack.name}-repair"), output
        interrupted += 1
        stores.start(case.service, healthy=False)
        until(lambda: damage.find(case.service, stores.log(case.service)) is not None, 60, "the log line")
    assert interrupted
