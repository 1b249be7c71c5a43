"""Wheels of a few bytes, so that packages are resolved and installed without an index."""

import hashlib
import zipfile
from base64 import urlsafe_b64encode


def make(folder, version, *, name="tiny", tag="py3-none-any", needs=(), says=None):
    """A wheel of one module that knows its version, or `says` something else; returns its path."""
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    wants = "".join(f"Requires-Dist: {each}\n" for each in needs)
    files = {
        f"{name}.py": says or f"VERSION = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wants}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    rows = [
        f"{each},sha256={urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}"
        for each, text in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for each, text in files.items():
            wheel.writestr(each, text)
    return path
