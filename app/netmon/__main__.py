"""`python -m netmon COMMAND`."""

import signal
import sys

if __name__ == "__main__":
    # As process 1 of a container a signal without a handler is ignored: until the service has its own,
    # a stop during the imports would be answered by nothing but the engine's SIGKILL.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    from netmon.cli import main

    sys.exit(main(sys.argv[1:]))
