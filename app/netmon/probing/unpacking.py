"""The content encodings of a body, taken off as browsers do it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from netmon.probing.errors import ProbeError

ACCEPTED = "gzip, deflate"
"""The encodings that a request accepts if its body is read."""

_GZIP = 16 + zlib.MAX_WBITS
_STEP = 65536
_MAX_LAYERS = 5
_UNASKED = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz"})
"""Encodings that no request accepts here."""


class Unpacker:
    """Unpacks a body part by part, in bounded memory.

    What has been unpacked before a mistake in the data counts. Unknown encodings are those of servers that mean a
    charset: the body is taken as it is.

    Args:
        encodings: the header `Content-Encoding`.
        take: gets each unpacked part; returns whether it wants more.
    """

    def __init__(self, encodings: str, take: Callable[[bytes], bool]) -> None:
        names = [each for each in re.split(r"[\s,]+", encodings.lower()) if each]
        if len(names) > _MAX_LAYERS:
            raise ProbeError("body", f"the body has more than {_MAX_LAYERS} content encodings")
        if unasked := [each for each in names if each in _UNASKED]:
            raise ProbeError("body", f"the body is compressed ({unasked[0]}) although the request did not accept that")
        self._take = take
        self._layers: Sequence[_Layer] = [_Layer(each) for each in reversed(names) if each in _Layer.NAMES]

    def feed(self, part: bytes) -> bool:
        """Unpack a part as it was sent; returns whether more is wanted.

        Raises:
            ProbeError: it is not compressed as its header specifies.
        """
        return self._pass(0, part)

    def _pass(self, number: int, part: bytes) -> bool:
        if number == len(self._layers):
            return self._take(part)
        return all(self._pass(number + 1, unpacked) for unpacked in self._layers[number].unpack(part))


class _Layer:
    """One encoding."""

    NAMES = ("gzip", "x-gzip", "deflate")

    def __init__(self, name: str) -> None:
        self._name = name
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS if name == "deflate" else _GZIP)
        self._begun = self._over = False

    def unpack(self, part: bytes) -> Iterator[bytes]:
        """The decompressed data of a part, in steps of a bounded size."""
        while part and not self._over:
            before = self._inflate.copy()
            try:
                unpacked = self._inflate.decompress(part, _STEP)
            except zlib.error:
                rest = _before_mistake(before, part)
                if rest or self._begun:
                    self._over = True
                    yield rest
                else:
                    self._use_other_wrapper()
                continue
            self._begun = True
            part = self._inflate.unconsumed_tail
            self._over = self._inflate.eof  # browsers ignore what follows
            if unpacked:
                yield unpacked

    def _use_other_wrapper(self) -> None:
        """Some servers send deflate without its wrapper; anything else that is no data of this encoding fails."""
        if self._name != "deflate":
            raise ProbeError("body", f"the body cannot be decompressed: it is not {self._name}")
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._begun = True


def _before_mistake(inflate: zlib._Decompress, part: bytes) -> bytes:
    """The decompressed data of a part up to its first error, which may be the checksum at the end."""
    found = bytearray()
    with suppress(zlib.error):
        for byte in part:
            found += inflate.decompress(bytes([byte]), _STEP)
    return bytes(found)
