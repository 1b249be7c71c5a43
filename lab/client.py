"""What a client of the lab's S3 and of its EMR's API needs: the AWS_* variables, as boto3 and the AWS CLI read them."""

from __future__ import annotations

from base import compose, env_files, paths, proxies
from base.defaults import REGION
from base.errors import UsageError

# Which service answers for which of Amazon's, at which port of its container.
ANSWERING = {"S3": ("minio", 9000), "EMR": ("emr", 5000)}
KEY, SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
# One that a shell has from a session with Amazon goes with no key of the lab's, which the server would refuse for it.
NO_TOKEN = {"AWS_SESSION_TOKEN": ""}


def variables(*, root: bool = False) -> dict[str, str]:
    """Addresses of what runs, region, and the laptop's key, with `root` that of the S3 server's root; where this
    environment names a proxy, that this machine is reached without it.

    Raises:
        UsageError: the lab does not run, or its keys are gone.
        DockerError: Docker does not answer.
    """
    published = {service.name: service.published for service in compose.services() if service.state == "running"}
    addresses = {
        f"AWS_ENDPOINT_URL_{name}": f"http://127.0.0.1:{published[service][port]}"
        for name, (service, port) in ANSWERING.items()
        if port in published.get(service, {})
    }
    if "AWS_ENDPOINT_URL_S3" not in addresses:
        raise UsageError("the lab is not running; start it: make up")
    names = ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD") if root else ("DATA_ACCESS_KEY_ID", "DATA_SECRET_ACCESS_KEY")
    keys = env_files.read_dotenv()
    if missing := [name for name in names if name not in keys]:
        raise UsageError(f"{paths.ENV_FILE} has no {missing[0]}; make up makes it")
    region = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
    return addresses | region | {KEY: keys[names[0]], SECRET: keys[names[1]]} | NO_TOKEN | proxies.sparing()
