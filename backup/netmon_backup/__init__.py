"""The backup service: base backups and WAL of PostgreSQL in a restic repository, restores, and their verification.

The standard library only; it runs in an image with PostgreSQL's programs and restic (backup/Dockerfile).
"""
