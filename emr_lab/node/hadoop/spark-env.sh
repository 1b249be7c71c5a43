# Sourced by each of Spark's commands. The release's Python, as on EMR; pyspark lies unpacked on each node.
export PYSPARK_PYTHON=${PYSPARK_PYTHON:-/usr/bin/python3}
export PYTHONPATH=/usr/lib/spark/python${PYTHONPATH:+:$PYTHONPATH}
export PYSPARK_ARCHIVES_PATH=local:/usr/lib/spark/python
# The driver's temporary files, on the disk for data.
export SPARK_LOCAL_DIRS=/mnt/tmp
