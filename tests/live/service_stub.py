"""Services that are probed, run in a container: dialogues of TCP, TLS, STARTTLS and the health check of gRPC."""

import asyncio
import os
import ssl
import struct
import tempfile

BANNER, SILENT, TLS, SMTP, GRPC, GRPC_TLS, SICK = range(9001, 9008)
"""The ports."""
CERTIFICATE = "CERTIFICATE"
"""The variable with the key and the chain of the server."""
SERVING, NOT_SERVING = 1, 2


def frame(kind: int, payload: bytes, flags: int, stream: int) -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def header(end: bool, **fields: str) -> bytes:
    """A header or trailer, without compression."""
    pairs = [(name.replace("__", ":").replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    block = b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in pairs)
    return frame(1, block, 5 if end else 4, 1)


async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet, and answer PING."""
    writer.write(b"+OK ready\r\n")
    if await reader.readline() == b"PING\r\n":
        writer.write(b"+PONG\r\n")
        await writer.drain()
    writer.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, and say nothing."""
    await reader.read()
    writer.close()


async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Change to TLS."""
    writer.write(b"220 stub\r\n")
    await reader.readline()
    writer.write(b"250-stub\r\n250 STARTTLS\r\n")
    await reader.readline()
    writer.write(b"220 go ahead\r\n")
    await writer.drain()
    await writer.start_tls(context())
    await reader.read()
    writer.close()


async def serve_health(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int) -> None:
    """Answer the first request with a status."""
    writer.write(frame(4, b"", 0, 0))
    await reader.readexactly(24)
    while True:
        start = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(start[:3], "big"))
        if start[3] in (0, 1) and start[4] & 1:
            break
    writer.write(header(False, __status="200", content_type="application/grpc"))
    writer.write(frame(0, b"\0\0\0\0\2\x08" + bytes([status]), 0, 1))
    writer.write(header(True, grpc_status="0"))
    await writer.drain()
    await reader.read()
    writer.close()


async def healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that is serving."""
    await serve_health(reader, writer, SERVING)


async def sick(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that is not serving."""
    await serve_health(reader, writer, NOT_SERVING)


def context() -> ssl.SSLContext:
    """The settings of TLS."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.set_alpn_protocols(["h2"])
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.environ[CERTIFICATE].encode())
        file.flush()
        found.load_cert_chain(file.name)
    return found


async def main() -> None:
    """Serve on all ports."""
    for port, handler in (
        (BANNER, banner), (SILENT, silent), (SMTP, smtp), (GRPC, healthy), (SICK, sick),
    ):  # fmt: skip
        await asyncio.start_server(handler, port=port)
    await asyncio.start_server(silent, port=TLS, ssl=context())
    await asyncio.start_server(healthy, port=GRPC_TLS, ssl=context())
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
