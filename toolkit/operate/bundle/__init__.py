"""Bundles for hosts without a network: one file with the checkout, the images, the Python packages and checksums."""
