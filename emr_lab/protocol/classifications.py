"""RunJobFlow's Configurations: the endpoint refuses those that the nodes cannot apply, the nodes apply them.

https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-configure-apps.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

SITES = ("core-site", "hdfs-site", "yarn-site", "capacity-scheduler")
ENVIRONMENTS = ("spark-env", "hadoop-env", "yarn-env")
CLASSIFICATIONS = (*SITES, "spark-defaults", *ENVIRONMENTS)

Properties = dict[str, str]

_ENDS_LINE = re.compile(r"[\r\n]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ConfigurationError(Exception):
    """A Configuration that cannot be applied: one line with what is wrong."""


def properties(configurations: Sequence[Mapping[str, Any]]) -> dict[str, Properties]:
    """Return RunJobFlow's `Configurations` by classification; of an environment, the variables below its `export`.

    Raises:
        ConfigurationError: a classification is unknown here, or what it holds is not of its kind.
    """
    by_classification: dict[str, Properties] = {name: {} for name in CLASSIFICATIONS}
    for configuration in configurations:
        name = configuration.get("Classification")
        if name not in CLASSIFICATIONS:
            raise ConfigurationError(f"Classification {name}: the lab knows {', '.join(CLASSIFICATIONS)}")
        own, nested = _texts(configuration), configuration.get("Configurations") or []
        if name in ENVIRONMENTS:
            if own or any(inner.get("Classification") != "export" for inner in nested):
                raise ConfigurationError(f"Classification {name}: its variables stand in a nested `export`")
            for inner in nested:
                by_classification[name] |= _texts(inner)
            misnamed = [each for each in by_classification[name] if not _VARIABLE.fullmatch(each)]
            if misnamed:
                raise ConfigurationError(f"Classification {name}: {misnamed[0]!r} is no name of a variable")
        elif nested:
            raise ConfigurationError(f"Classification {name}: has no nested Configurations")
        else:
            by_classification[name] |= own
    return by_classification


def _texts(configuration: Mapping[str, Any]) -> Properties:
    properties = configuration.get("Properties") or {}
    wrong_keys = [
        key for key, value in properties.items() if not isinstance(value, str) or _ENDS_LINE.search(f"{key}{value}")
    ]
    if wrong_keys:
        raise ConfigurationError(
            f"Classification {configuration.get('Classification')}: {wrong_keys[0]} is no line of text"
        )
    return dict(properties)
