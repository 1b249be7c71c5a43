"""What a node's container runs: the instance controller, the metadata service and, on the primary, YARN's proxy."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from emr_lab.node import keeper, metadata, yarn_proxy
from emr_lab.node.controller import InstanceController
from emr_lab.node.server import server
from emr_lab.protocol import api

S3A = Path("/usr/lib/emrlab/s3a.conf")
# With /mnt all that can be written in a container: its root file system is read-only.
SHARED = (Path("/tmp"), Path("/dev/shm"), Path("/dev/mqueue"))  # noqa: S108


def main() -> int:
    """Serve until the container ends; exit code 1 where the key is missing."""
    node = InstanceController(
        name=os.environ["NODE"],
        data=Path("/mnt"),
        shared=SHARED,
        s3a=S3A,
        environment=os.environ.copy(),
        credentials=api.CREDENTIALS,
    )
    keeper.adopt_orphans()
    try:
        serving = server(node, address="0.0.0.0", port=api.PORT)  # noqa: S104 - the container's own networks
        beside = [metadata.server(api.read_key, lambda: node.interruption_s)]
        if node.name == "primary":
            beside.append(yarn_proxy.server(api.token(), address="0.0.0.0"))  # noqa: S104
        for each in beside:
            threading.Thread(target=each.serve_forever, daemon=True).start()
    except OSError as error:
        sys.stderr.write(
            f"error: {error.filename or api.PORT}: {error.strerror}; docker compose logs secrets may tell why\n"
        )
        return 1
    serving.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
