"""The status page: HTML for people, rendered from what `Reading` tells; what it changes goes through the JSON API.

It reads without JavaScript. With it, a page renews itself, draws latencies, and has buttons and forms.
"""

from netmon.page.routes import Reading, router

__all__ = ["Reading", "router"]
