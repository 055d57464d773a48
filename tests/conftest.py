"""Settings of all tests."""

import os
import sys

# Tests start hundreds of processes, and each would compile the modules of the checkout again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
