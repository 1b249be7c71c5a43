"""Lays out Spark as on a node of EMR: `python3 assemble_spark.py FOLDER`, with the archive, release.json, jars.lock
and the modules beside it.

The archive is PyPI's pyspark, in which Spark lies as it is distributed. Below FOLDER, the SPARK_HOME, come `bin`,
`sbin`, `jars`, `python`, and `examples` with their `data`. The jars of Hadoop's client are the release's, and those for
s3:// are added. Of the examples in Scala the archive has none: examples/SparkPi.scala is compiled in their place.
"""

from __future__ import annotations

import compileall
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import jar_hashes

HERE = Path(__file__).parent
# Where the parts of the archive go.
PLACES = {
    "deps/jars/": "jars/",
    "deps/bin/": "bin/",
    "deps/sbin/": "sbin/",
    "deps/data/": "data/",
    "deps/examples/": "examples/src/main/python/",
    "pyspark/": "python/pyspark/",
}
# Nobody starts these here: Spark on Kubernetes with its client, the Scala shell of Spark Connect; scripts for Windows
# and R.
UNUSED = re.compile(
    r"jars/(spark-kubernetes_|kubernetes-|vertx-|zjsonpatch-|connect-repl/)|bin/(.*\.cmd|sparkR|docker-.*)$"
)
# Native code of this machine, as Netty names its jars and RocksDB the files in its own.
NETTY, ROCKSDB = {
    "x86_64": ("linux-x86_64", "linux64.so"),
    "aarch64": ("linux-aarch_64", "linux-aarch64.so"),
}[platform.machine()]


def unpack(archive: Path, home: Path) -> None:
    """The parts of Spark that a node uses; Python's are files in a folder, not in zips as Spark has them.

    Nothing in a zip can keep what was compiled, and every process starts with it.
    """
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, name = member.name.partition("/")
            if place := _place(name):
                member.name, member.uid, member.gid, member.uname, member.gname = place, 0, 0, "root", "root"
                tar.extract(member, home)
            elif re.match(r"lib/py4j-.*\.zip$", name) and (content := tar.extractfile(member)):
                with zipfile.ZipFile(content) as py4j:
                    py4j.extractall(home / "python")  # noqa: S202 - no other file than Spark's own


def strip_rocksdb(home: Path) -> None:
    """Leave this machine's native code in RocksDB's jar: it has 200 MB of it for all systems."""
    (jar,) = (home / "jars").glob("rocksdbjni-*.jar")
    whole = jar.rename(jar.with_suffix(".whole"))
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if not name.startswith("librocksdbjni-") or name == f"librocksdbjni-{ROCKSDB}":
                new.writestr(name, old.read(name))
    whole.unlink()


def add_jars(home: Path, *, modules: Path, versions: dict[str, str]) -> None:
    """Fetch what `modules` lists into `jars`, by the Ivy that Spark brings along."""
    (ivy,) = (home / "jars").glob("ivy-*.jar")
    with tempfile.TemporaryDirectory() as fetched:
        fetch_jars(Path(fetched), ivy=ivy, modules=modules, versions=versions)
        for jar in Path(fetched).iterdir():
            shutil.move(jar, home / "jars" / jar.name)


def fetch_jars(folder: Path, *, ivy: Path, modules: Path, versions: dict[str, str]) -> None:
    """Fetch what `modules` lists into `folder`, and hold it to jars.lock."""
    java = ["java", *proxy(), *(f"-D{name}={version}" for name, version in versions.items()), "-cp", str(ivy)]
    places = ["-cache", str(HERE / "ivy"), "-retrieve", f"{folder}/[artifact]-[revision](-[classifier]).[ext]"]
    subprocess.run([*java, "org.apache.ivy.Main", "-ivy", str(modules), "-warn", *places], check=True)
    jar_hashes.check(folder.glob("*.jar"), HERE / "jars.lock")


def compile_examples(home: Path, *, sources: Path) -> None:
    """Compile the `sources` into examples/jars, by the compiler that Spark's shell brings along.

    The jar has the name that it has on EMR, by which Spark's run-example knows it.
    """
    jar = home / "examples" / "jars" / "spark-examples.jar"
    jar.parent.mkdir(parents=True)
    compiler = ["java", "-cp", f"{home}/jars/*", "scala.tools.nsc.Main", "-usejavacp", "-d", str(jar)]
    subprocess.run([*compiler, *map(str, sorted(sources.glob("*.scala")))], check=True)


def proxy() -> list[str]:
    """Java's flags for the proxy of the environment, which Docker hands to builds; Java does not heed it."""
    address = urlsplit(os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY") or "")
    host, port = address.hostname, address.port or 80
    return [f"-Dhttps.proxyHost={host}", f"-Dhttps.proxyPort={port}"] if host else []


def main(folder: str) -> None:
    """Unpack, put the release's jars in, compile."""
    home, release = Path(folder), json.loads((HERE / "release.json").read_text())
    (archive,) = HERE.glob("pyspark-*.tar.gz")
    unpack(archive, home)
    strip_rocksdb(home)
    for jar in (home / "jars").glob("hadoop-*.jar"):
        jar.unlink()
    versions = {"hadoop": release["hadoop"], "scala": release["scala"], "spark": release["spark_hadoop_cloud"]}
    for modules in ("hadoop.xml", "s3a.xml"):
        add_jars(home, modules=HERE / modules, versions=versions)
    compile_examples(home, sources=HERE / "examples")
    # Without it run-example looks for the examples where Spark is built.
    (home / "RELEASE").write_text(f"Spark {release['spark']}\n")
    compileall.compile_dir(home / "python", quiet=1, workers=0)


def _place(name: str) -> str:
    """Where the file `name` of the archive goes; empty for one that is left out."""
    for start, place in PLACES.items():
        if name.startswith(start) and len(name) > len(start):
            path = place + name.removeprefix(start)
            native = re.search(r"-((?:linux|osx|windows)-\w+)\.jar$", path)
            return "" if UNUSED.match(path) or (native and native[1] != NETTY) else path
    return ""


if __name__ == "__main__":
    main(*sys.argv[1:])
