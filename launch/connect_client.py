"""A client of a session, in Python: on EMR it asks for a new token before the one that it has ends.

It stands alone, to be copied beside a program of your own: it needs Spark's client and, for a session on EMR, boto3
with the AWS_* variables by which the session was started.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TOKEN, SESSION = "x-aws-proxy-auth", "authorization"  # the headers that EMR's proxy reads
EARLY_S = 600.0  # a token that lives no longer than this is replaced


def connect() -> SparkSession:
    """The session whose variables `make session` and `make notebook` leave; where it is EMR's, for longer than an hour.

    Raises:
        KeyError: there is no SPARK_REMOTE.
    """
    from pyspark.sql import SparkSession  # noqa: PLC0415 - here, so that the headers need no Spark

    if "EMRLAB_CLUSTER" not in os.environ:
        return SparkSession.builder.getOrCreate()

    from pyspark.sql.connect.client import DefaultChannelBuilder  # noqa: PLC0415 - as above
    from pyspark.sql.connect.session import SparkSession as ConnectSession  # noqa: PLC0415 - as above

    address, cluster_id, region = (os.environ[name] for name in ("SPARK_REMOTE", "EMRLAB_CLUSTER", "EMRLAB_REGION"))
    headers = Headers(dict(DefaultChannelBuilder(address).metadata()), cluster_id=cluster_id, region=region)

    class Channel(DefaultChannelBuilder):
        def metadata(self) -> Iterable[tuple[str, str]]:
            return headers

    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"  # as pyspark's own getOrCreate sets it
    return cast("SparkSession", ConnectSession.builder.channelBuilder(Channel(address)).getOrCreate())


class Headers:
    """The headers of a call to a session of EMR: found anew whenever they are read, as Spark's client keeps them."""

    def __init__(self, headers: Mapping[str, str], *, cluster_id: str, region: str) -> None:
        """Take those of an address, the session's id among them."""
        self._headers, self._cluster_id, self._region = dict(headers), cluster_id, region
        self._ends_s = 0.0  # when the token in an address was made, it does not say

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """The headers, with a token that is good."""
        if time.time() > self._ends_s - EARLY_S:
            self._renew()
        return iter([*self._headers.items()])

    def _renew(self) -> None:
        import boto3  # noqa: PLC0415 - of a session that is not EMR's nobody needs it
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

        emr = boto3.Session().client("emr", region_name=self._region)  # which reads keys anew, as one signs in anew
        try:
            found = emr.get_session_endpoint(ClusterId=self._cluster_id, SessionId=self._headers[SESSION])
        except (BotoCoreError, ClientError):
            if time.time() > self._ends_s:
                raise
            return  # the old one is good still
        self._headers[TOKEN] = found["AuthToken"]
        self._ends_s = found["AuthTokenExpirationTime"].timestamp()
