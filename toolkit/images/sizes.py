"""Download sizes: the compressed sizes of layers, from the manifests in the registries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from toolkit.images.registry import ImageName, Registries, RegistryError

Layers = Mapping[str, int]
"""The digest of each layer → its compressed size in bytes."""

AT_ONCE = 8


def layers(names: Sequence[str], architecture: str, seconds: float) -> dict[str, Layers]:
    """The layers of each image for one platform, requested in parallel; images without a response are left out.

    Docker Hub counts each manifest request as a pull.

    Args:
        names: The images.
        architecture: The engine's architecture in Go's notation (``amd64``).
        seconds: The timeout for all images together.
    """
    if not names:
        return {}
    registries, found = Registries(), dict[str, Layers]()

    def request(name: str) -> None:
        try:
            found[name] = _of_one(registries, ImageName.parse(name), architecture)
        except (RegistryError, KeyError, TypeError, StopIteration):
            return

    pool = ThreadPoolExecutor(max_workers=AT_ONCE)
    wait([pool.submit(request, name) for name in dict.fromkeys(names)], timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    return {name: found[name] for name in names if name in found}


def total(images: Iterable[Layers]) -> int:
    """The total bytes of several images; shared layers count once."""
    return sum({digest: size for each in images for digest, size in each.items()}.values())


def _of_one(registries: Registries, name: ImageName, architecture: str) -> Layers:
    manifest = registries.manifest(name)
    if "manifests" in manifest:
        digest = next(
            entry["digest"]
            for entry in manifest["manifests"]
            if entry["platform"]["os"] == "linux" and entry["platform"]["architecture"] == architecture
        )
        manifest = registries.manifest(name, digest)
    return {layer["digest"]: layer["size"] for layer in manifest["layers"]}
