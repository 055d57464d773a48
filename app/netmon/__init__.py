"""The Network Monitor: an API that accepts probes and a worker that carries them out."""
