"""What the features of an image depend on but the image: the model, the code that makes them, the software below it."""

from __future__ import annotations

import ast
import platform
from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files

# The modules that make the features of one image: a change of theirs makes new ones.
EXTRACTION = ("decoding.py", "limits.py", "loading.py", "features.py", "runtime.py")
LIBRARIES = ("ai-edge-litert", "numpy", "pillow")


def software() -> str:
    """Versions of the libraries that decode and infer here, and the processor's architecture."""
    return ", ".join([*(f"{name} {version(name)}" for name in LIBRARIES), platform.machine()])


def extraction_key(model_sha256: str, software: str, modules: Iterable[str]) -> str:
    """A key that features have in common only where the same model, software and code made them.

    Args:
        model_sha256: of the model file.
        software: as `software` tells.
        modules: file names of the modules of this package that make them.
    """
    parts = [model_sha256, software, *(code((files("pipeline") / name).read_text("utf-8")) for name in modules)]
    return sha256("\0".join(parts).encode()).hexdigest()


def code(source: str) -> str:
    """A module without comments, docstrings and layout, none of which makes other features."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body[:1] = [] if len(node.body) > 1 else [ast.Pass()]
    return ast.unparse(tree)
