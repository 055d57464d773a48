"""The images of the stack: choose one of the two image sets, and pull or build its missing images."""

from toolkit.images.builds import build_images
from toolkit.images.choice import choose
from toolkit.images.inventory import ListedImage, downloads, list_images
from toolkit.images.provide import build, provide, pull
from toolkit.images.sets import CHOICES, Image, images_of, missing, outstanding, ready

__all__ = [
    "CHOICES",
    "Image",
    "ListedImage",
    "build",
    "build_images",
    "choose",
    "downloads",
    "images_of",
    "list_images",
    "missing",
    "outstanding",
    "provide",
    "pull",
    "ready",
]
