"""A node's instance controller over HTTP and JSON, as the endpoint asks it and the node answers.

Whoever asks shows the token in the header X-Token; `GET /` alone wants none.

    GET  /                            node, cluster, how many processes run
    POST /reset                       {cluster, configurations, alone}: end all, wipe the node, write its configuration;
                                      `alone`: it is its cluster's only node, and a primary runs containers then, too
    POST /daemons                     {action: start | stop, data}: YARN's and HDFS's; the answer comes when they are
                                      up; HDFS keeps its blocks on a node with `data`
    POST /decommissioning             {timeouts_s}, to the primary: seconds by the names of nodes. YARN starts nothing
                                      more on these and ends what runs there after so long, HDFS copies their blocks
                                      elsewhere; every other node is taken (back) in
    GET  /decommissioning             HDFS's word on each DataNode by its node's name, like Decommissioned
    POST /interruption                {time_s}: from now on the metadata service says that the node will be taken away
    POST /power-off                   KILL for everything at once, and nothing is left of it on the disk
    POST /processes                   {argv, env, cwd, stdout, stderr, id} -> {id}; the two are names below /var/log,
                                      the id is of the asker's choice or else a new one
    GET  /processes/ID                exit, pid, stdout_bytes, stderr_bytes
    GET  /processes/ID/stdout, stderr the bytes from ?offset=N on, or the ?last=N; &bytes=N at most
    POST /processes/ID/kill           TERM for the process and whatever came of it, KILL after ten seconds
    GET  /logs, /logs/NAME            the files below /var/log with their sizes; the bytes of one, as of a process's
    GET  /versions                    spark, hadoop, scala, python, java, asked of the programs themselves

An error is {"error": one line} with a status of 400 and above. The primary's ResourceManager is asked by its own REST
API at YARN_PROXY_PORT, which takes changes with the same header.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from base import env_files

PORT = 8321
YARN_PROXY_PORT = 8090
TOKEN_HEADER = "X-Token"  # noqa: S105 - the header's name
# Of a request: the endpoint takes 4 MiB, and a letter of two bytes has six in JSON.
BODY_BYTES = 16 * 1024 * 1024
CREDENTIALS = Path("/run/credentials/env")


def read_key(credentials: Path = CREDENTIALS) -> dict[str, str]:
    """Read the key of the job's user, as AWS_ variables.

    Raises:
        OSError: the container `secrets` has not written it.
    """
    return env_files.read(credentials)


def token(credentials: Path = CREDENTIALS) -> str:
    """Return what the endpoint shows and the nodes ask for: who has the nodes' key may command them.

    Raises:
        OSError: see `read_key`.
    """
    secret = read_key(credentials)["AWS_SECRET_ACCESS_KEY"]
    return hmac.new(secret.encode(), b"instance controller", hashlib.sha256).hexdigest()
