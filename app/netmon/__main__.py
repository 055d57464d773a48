"""`python -m netmon COMMAND`."""

import signal
import sys

if __name__ == "__main__":
    # Process 1 of a container ignores signals without a handler: until the service installs its own, a stop during
    # the imports would have no effect until the engine sends SIGKILL.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    from netmon.cli import main

    sys.exit(main(sys.argv[1:]))
