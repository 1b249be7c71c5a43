"""What a Python worker process does between two tasks."""

import socket

import pytest

from pipeline import worker


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux alone delays and has the option")
def test_what_came_over_tcp_is_acknowledged_at_once():
    quick = (socket.IPPROTO_TCP, socket.TCP_QUICKACK)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as jvm:
        mine, _ = server.accept()
        with mine:
            mine.setsockopt(*quick, 0)
            jvm.sendall(b"a task")
            assert mine.recv(16) == b"a task"
            assert mine.getsockopt(*quick) == 0
            worker.tune_worker()
            assert mine.getsockopt(*quick) == 1
