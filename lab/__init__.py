"""What imitates the cloud on this machine: Docker services sized like EMR's nodes, their keys, and what they need."""

import sys

# Before anything that an older Python cannot read: macOS has 3.9.
if sys.version_info < (3, 11):  # noqa: UP036
    found = "{}.{}".format(*sys.version_info[:2])
    sys.stderr.write(
        f"error: Python {found}; the lab needs 3.11 or later; install one, or name it: make up PYTHON=/path/to/python\n"
    )
    sys.exit(2)
