"""Backups, restores and their verification, by the service `backup` (backup/netmon_backup)."""
