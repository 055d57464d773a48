"""The images of the stack: which of the two sets is used, and making that set complete."""

from toolkit.images.builds import make
from toolkit.images.choice import choose
from toolkit.images.inventory import Listed, downloads, listing
from toolkit.images.provide import build, provide, pull
from toolkit.images.sets import CHOICES, Image, images_of, missing, outstanding, ready, stale

__all__ = [
    "CHOICES",
    "Image",
    "Listed",
    "build",
    "choose",
    "downloads",
    "images_of",
    "listing",
    "make",
    "missing",
    "outstanding",
    "provide",
    "pull",
    "ready",
    "stale",
]
