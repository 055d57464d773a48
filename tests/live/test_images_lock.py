"""The digest lock of the published images: written, checked and used for pulls, with a local registry."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from tests.live.registry import Registry, serving
from tests.live.stack import Stack

NAME = "netmon-lock"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Stack]]:
    """A registry, and a checkout that pulls from it; pulled images are removed. The tests continue each other."""
    stack = Stack.create(tmp_path_factory.mktemp("lock") / "checkout", NAME)
    with serving(stack.docker("version", "--format", "{{.Server.Arch}}").strip()) as registry:
        mirrors = f"REGISTRY={registry.address}\nREGISTRY_QUAY={registry.address}\nNETMON_IMAGES=pulled\n"
        (stack.root / ".env").write_text((stack.root / ".env").read_text() + mirrors)
        stack.invoke("setup", "--profile=prod")
        yield registry, stack
        listed = stack.docker("images", "--digests", "--format", "{{.Repository}}@{{.Digest}}").split()
        if pulled := [name for name in listed if name.startswith(f"{registry.address}/")]:
            stack.docker("rmi", "--force", *pulled)


def test_images_are_locked_and_pulled_by_digest(registry: tuple[Registry, Stack]) -> None:
    served, stack = registry
    missing = stack.invoke("images.lock", "--check", check=False)
    assert missing.returncode == 1
    assert "library/redis:8.10.2-alpine: missing from images.lock" in missing.stdout

    stack.invoke("images.lock")
    assert "up to date" in stack.invoke("images.lock", "--check").stdout
    images = stack.compose("config", "--images").split()
    published = [image for image in images if image.startswith(served.address)]
    assert len(published) > 5
    assert all(image.endswith(f"@{served.latest}") for image in published)
    config = json.loads(stack.compose("config", "--format", "json"))
    assert config["services"]["app"]["build"]["args"]["PYTHON_IMAGE"].endswith(f"@{served.latest}")
    assert config["services"]["kafka"]["build"]["args"]["KAFKA_IMAGE"].endswith(f"@{served.latest}")
    stack.run(sys.executable, "-c", LOCKED)

    locked, served.latest = served.latest, served.publish("two")
    stack.invoke("images.pull")
    assert stack.docker("image", "inspect", "--format", "{{.Id}}", *published), (
        "images must be pulled by digest, although the tags have moved"
    )
    for repository in stack.docker("images", "--digests", "--format", "{{.Repository}} {{.Digest}}").splitlines():
        assert not repository.startswith(served.address) or repository.endswith(locked)


def test_a_moved_tag_is_reported_and_an_unreachable_registry_keeps_the_lock(registry: tuple[Registry, Stack]) -> None:
    served, stack = registry
    stack.invoke("images.lock")
    lock = stack.root / "images.lock"
    before = lock.read_text()
    served.moved["library/redis"] = other = served.publish("another redis")
    check = stack.invoke("images.lock", "--check", check=False)
    assert check.returncode == 1
    assert f"library/redis:8.10.2-alpine: changed, from {served.latest} to {other}" in check.stdout
    assert "postgres" not in check.stdout.replace("found", "").partition("changed")[2]
    assert lock.read_text() == before

    env = stack.root / ".env"
    env.write_text(env.read_text().replace(f"REGISTRY={served.address}", "REGISTRY=localhost:1"))
    failed = stack.invoke("images.lock", check=False)
    assert failed.returncode == 1
    assert "cannot resolve the digest of localhost:1/" in failed.stderr
    assert "no lock file was changed" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert lock.read_text() == before


LOCKED = """
from pathlib import Path
from toolkit.validate import supply
from toolkit.validate.checkout import Checkout
from toolkit.validate.runner import run
report = run(Checkout(Path.cwd()), [supply.locks])
assert not report.problems, report.problems
"""
