"""What a SparkSession that Python code makes on this machine needs for s3://: `python -m launch.session_settings`.

Prints it as JSON: Spark's settings by their names, jars among them. None has a key: S3A reads the AWS_* variables.
"""

from __future__ import annotations

import json
import os
import sys

from base import command_line, spark_conf
from base.defaults import REGION
from base.errors import EmrlabError
from base.paths import CACHE
from launch import jars, java, targets


def settings() -> dict[str, str]:
    """Those of local runs, for the S3 that the AWS_* variables name.

    Raises:
        JavaError: there is no Java that Spark runs on.
        JarsError: the jars for s3:// cannot be fetched.
    """
    java.find()
    server = spark_conf.s3a_server(
        address=os.environ.get("AWS_ENDPOINT_URL_S3"), region=os.environ.get("AWS_REGION", REGION)
    )
    found = {setting.key: setting.value for setting in [*targets.LOCAL, *targets.s3a(), *server]}
    return found | {"spark.jars": ",".join(map(str, jars.s3a_jars(CACHE)))}


def main() -> int:
    """Print them; exit code 0, or as of the error."""
    try:
        sys.stdout.write(json.dumps(settings()))
    except (EmrlabError, OSError) as error:
        return command_line.fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
