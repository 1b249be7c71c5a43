# Sourced by each of Spark's commands, so that `docker compose exec master spark-submit` has the key as well: the
# container's own environment, which `docker inspect` shows, never has it.
set -a
[ ! -r /run/credentials/env ] || . /run/credentials/env
set +a
