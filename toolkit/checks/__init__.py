"""Read-only checks of a checkout and its stack: doctor, preflight, secrets, smoke, status."""
