"""The status page: server-rendered HTML, read from a `TargetReader`; changes go through the JSON API.

It is readable without JavaScript. With JavaScript it refreshes itself, plots latencies, and has buttons and forms.
"""

from netmon.page.routes import TargetReader, router

__all__ = ["TargetReader", "router"]
