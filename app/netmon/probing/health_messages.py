"""The messages of the health check of gRPC, `grpc/health/v1/health.proto`: one field each."""

from collections.abc import Iterator

SERVING = "SERVING"

_STATUSES = ("UNKNOWN", SERVING, "NOT_SERVING", "SERVICE_UNKNOWN")
_FIELD = 1
_VARINT, _LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}
"""Bytes of a field by its wire type."""


def request(service: str) -> bytes:
    """The framed request for the health of a service."""
    name = service.encode()
    message = bytes([_FIELD << 3 | _LENGTH]) + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def status(response: bytes) -> str:
    """The status in a framed response.

    Raises:
        ValueError: it is not one uncompressed message, or not a valid one.
    """
    if len(response) < 5 or response[0] != 0 or int.from_bytes(response[1:5], "big") != len(response) - 5:
        raise ValueError("not one uncompressed message")
    number = 0
    for field, value in _fields(response[5:]):
        if field == _FIELD and value is not None:
            number = value
    return _STATUSES[number] if number < len(_STATUSES) else f"{number}"


def _fields(message: bytes) -> Iterator[tuple[int, int | None]]:
    """The fields of a message: number and value, None if that is not an integer."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        field, wire = key >> 3, key & 7
        value: int | None = None
        if wire == _VARINT:
            value, at = _read_varint(message, at)
        elif wire == _LENGTH:
            length, at = _read_varint(message, at)
            at += length
        elif wire in _FIXED:
            at += _FIXED[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if at > len(message):
            raise ValueError("the message is truncated")
        yield field, value


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("the message is truncated")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number is too long")
