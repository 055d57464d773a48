"""Probes of hostile servers: each ends within its limits and with the right error."""
