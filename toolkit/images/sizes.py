"""How much a pull downloads: the compressed sizes of layers, as the registries' manifests have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from toolkit.images.registry import ImageName, Registries, RegistryError

Layers = Mapping[str, int]
"""The digest of each layer → its size in bytes, compressed."""

AT_ONCE = 8


def layers(names: Sequence[str], architecture: str, seconds: float) -> dict[str, Layers]:
    """The layers of each image for one platform, asked for side by side; an image that is not known is left out.

    Docker Hub counts a look as it counts a pull.

    Args:
        names: The images.
        architecture: Of the engine, as Go names it (``amd64``).
        seconds: For all of them together.
    """
    if not names:
        return {}
    registries, found = Registries(), dict[str, Layers]()

    def ask(name: str) -> None:
        try:
            found[name] = _of_one(registries, ImageName.parse(name), architecture)
        except (RegistryError, KeyError, TypeError, StopIteration):
            return

    pool = ThreadPoolExecutor(max_workers=AT_ONCE)
    wait([pool.submit(ask, name) for name in dict.fromkeys(names)], timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    return {name: found[name] for name in names if name in found}


def total(images: Iterable[Layers]) -> int:
    """The bytes of several images; a layer that they share counts once."""
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
