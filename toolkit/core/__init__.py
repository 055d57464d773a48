"""The foundation of all other floors: errors, console, files, time; independent of Docker and of the checkout."""
