"""Access to the Docker Engine: commands, container states, waiting, HTTP requests from inside the stack."""
