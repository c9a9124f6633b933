"""Offline means: no socket, whatever code runs."""

from __future__ import annotations

import subprocess
import sys


def test_after_the_promise_no_socket_opens() -> None:
    program = (
        "import socket\n"
        "from cli.offline import forbid_sockets\n"
        "socket.socket().close()\n"
        "forbid_sockets()\n"
        "try:\n"
        "    socket.create_connection(('127.0.0.1', 1))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "CommandError"
