"""What the documents tell people to type and what they say is answered, as it stands there."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from tests.live.stack import Stack

USUAL = {"localhost:3000": "APP_PORT", "127.0.0.1:3000": "APP_PORT", "127.0.0.1:16686": "JAEGER_PORT"}
"""Addresses of the default ports, and the settings of a stack that replace them."""
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown(stack: Stack, document: str, language: str, words: str) -> str:
    """The block of a document that has these words; there is one such block."""
    blocks = FENCE.findall((stack.root / document).read_text())
    [block] = [text for kind, text in blocks if kind == language and words in text]
    return str(block)


def run(stack: Stack, commands: str) -> str:
    """What commands write that are typed in the stack's checkout; the first one that fails ends them."""
    for usual, port in USUAL.items():
        commands = commands.replace(usual, stack.url(port=port).removeprefix("http://"))
    commands = re.sub(r"\binvoke (?=\w)", f"{sys.executable} -m invoke ", commands)
    return stack.run("bash", "-euo", "pipefail", "-c", commands).stdout


def answers(written: str) -> list[Any]:
    """The JSON values that stand one after another in what was written."""
    found, text, decoder = [], written.lstrip(), json.JSONDecoder()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found
