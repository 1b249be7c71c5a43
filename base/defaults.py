"""What holds where nobody says otherwise; compose.yaml, the Makefile and docker/node/lab.conf have the same."""

from __future__ import annotations

BUCKET = "emrlab"  # the lab's
REGION = "eu-west-3"  # of the lab's S3, and of Amazon
INSTANCE_TYPE = "m5.xlarge"
EVENT_LOGS = "spark-events/"  # of every bucket; Spark wants the folder to be there
