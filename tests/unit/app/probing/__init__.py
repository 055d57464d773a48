"""The probing client against hostile servers: every probe ends, in bounds, with the right error."""
