"""What a Python worker process does between two tasks."""

import importlib
import socket
import sys
import zipfile
import zipimport

import pytest

from pipeline import worker

UNACKNOWLEDGED = slice(24, 28)  # tcpi_unacked of struct tcp_info (linux/tcp.h): segments that wait to be acknowledged


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux alone delays and has the option")
def test_what_came_over_tcp_is_acknowledged_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as jvm:
        mine, _ = server.accept()
        with mine:
            mine.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            jvm.sendall(b"a task")
            assert mine.recv(16) == b"a task"
            worker.tune_worker()
            info = jvm.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            assert int.from_bytes(info[UNACKNOWLEDGED], sys.byteorder) == 0


def test_no_archive_is_read_anew_before_a_task_and_its_modules_still_come(tmp_path, monkeypatch):
    archive = tmp_path / "job.zip"
    with zipfile.ZipFile(archive, "w") as job:
        job.writestr("worker_test_first.py", "answer = 1")
        job.writestr("worker_test_second.py", "answer = 2")
    monkeypatch.syspath_prepend(str(archive))
    assert importlib.import_module("worker_test_first").answer == 1
    worker.tune_worker()
    read = list[str]()
    with monkeypatch.context() as patch:
        patch.setattr(zipimport, "_read_directory", read.append)
        importlib.invalidate_caches()  # as Spark does
    assert read == []
    assert importlib.import_module("worker_test_second").answer == 2
