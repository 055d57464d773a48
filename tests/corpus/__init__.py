"""Raw answers of servers, and what curl, Chromium, blackbox_exporter and the probe make of them.

`python -m tests.corpus.record` runs these three clients on this machine and writes `verdicts.json`.
"""

from collections.abc import Mapping, Sequence

from tests.corpus import content, framing, redirects, secured
from tests.corpus.answer import Answer

CORPUS: Mapping[str, Sequence[Answer]] = {
    "Length": framing.LENGTH,
    "Beginning": framing.BEGINNING,
    "Header": framing.HEADER,
    "Redirects": redirects.REDIRECTS,
    "Cookies": redirects.COOKIES,
    "Statuses": redirects.STATUSES,
    "Compression": content.COMPRESSED,
    "Charsets": content.CHARSETS,
    "TLS": secured.TLS,
    "HTTP/2": secured.HTTP2,
}
"""The answers by what they are about."""
