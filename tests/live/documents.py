"""Commands and examples of the documents."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from tests.live.stack import Stack

DEFAULT_PORTS = {"localhost:3000": "APP_PORT", "127.0.0.1:3000": "APP_PORT", "127.0.0.1:16686": "JAEGER_PORT"}
"""Addresses with default ports, and the settings with the ports of a stack."""
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def code_block(stack: Stack, document: str, language: str, words: str) -> str:
    """The only code block of a document in this language that contains these words."""
    blocks = FENCE.findall((stack.root / document).read_text())
    [block] = [text for kind, text in blocks if kind == language and words in text]
    return str(block)


def typed(stack: Stack, commands: str) -> str:
    """Documented commands with the ports of a stack, and with the Invoke of this environment."""
    for address, port in DEFAULT_PORTS.items():
        commands = commands.replace(address, stack.url(port=port).removeprefix("http://"))
    return re.sub(r"\binvoke (?=\w)", f"{sys.executable} -m invoke ", commands)


def run(stack: Stack, commands: str) -> str:
    """Run commands in the stack's checkout until one fails, and return their standard output."""
    return stack.run("bash", "-euo", "pipefail", "-c", typed(stack, commands)).stdout


def json_values(output: str) -> list[Any]:
    """The JSON values in an output, in order."""
    found, text, decoder = [], output.lstrip(), json.JSONDecoder()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found
