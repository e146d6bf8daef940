# SPDX-License-Identifier: BSD-2-Clause
"""An SSH server in this process: commands run in the host's shell, files are the host's."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
import pytest

from harness.console.ssh import KeyPair


class _Files(paramiko.SFTPServerInterface):
    """The host's files; what is called "full" has no room."""

    def open(
        self, path: str, flags: int, attr: paramiko.SFTPAttributes
    ) -> paramiko.SFTPHandle | int:
        if "full" in path:
            return paramiko.SFTP_FAILURE
        try:
            file = os.fdopen(os.open(path, flags, 0o666), "wb" if flags & os.O_WRONLY else "rb")
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        handle = paramiko.SFTPHandle(flags)
        if flags & os.O_WRONLY:
            handle.writefile = file
        else:
            handle.readfile = file
        return handle

    def chattr(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        Path(path).chmod(attr.st_mode or 0)
        return paramiko.SFTP_OK

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        try:
            return paramiko.SFTPAttributes.from_stat(os.stat(path))  # noqa: PTH116
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)


class _Session(paramiko.ServerInterface):
    def __init__(self, user_key: bytes) -> None:
        self._user_key = user_key
        self._asking = threading.Lock()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        accepted = username == "root" and key.asbytes() == self._user_key
        return paramiko.AUTH_SUCCESSFUL if accepted else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_pty_request(self, *_: object) -> bool:
        return True

    def check_channel_window_change_request(self, *_: object) -> bool:
        return True

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(
            target=_execute, args=(channel, command, self._asking), daemon=True
        ).start()
        return True


def _execute(channel: paramiko.Channel, command: bytes, asking: threading.Lock) -> None:
    # the answer is read once the request that this is for has been granted: a command that is
    # soon done must not close its session before
    with asking:
        channel.get_transport().global_request("keepalive@localhost", wait=True)
    with subprocess.Popen(
        ["bash", "-c", command.decode()], start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        while data := os.read(process.stdout.fileno(), 1 << 16):
            channel.sendall(data)
    channel.send_exit_status(process.returncode)
    channel.close()


def refuse_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every request for a session is refused, as by a guest without memory for one."""
    monkeypatch.setattr(
        _Session,
        "check_channel_request",
        lambda *_: paramiko.OPEN_FAILED_RESOURCE_SHORTAGE,
    )


@dataclass
class Server:
    """Where it listens; `transports` are its connections, to be cut."""

    port: int
    transports: list[paramiko.Transport] = field(default_factory=list)

    def cut(self) -> None:
        """Ends every connection."""
        for transport in self.transports:
            transport.close()


@contextmanager
def ssh_server(host_key: KeyPair, user_key: KeyPair, drop: int = 0) -> Iterator[Server]:
    """A server on the loopback that takes `user_key`; the first `drop` connections are closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1])

        def serve() -> None:
            left = drop
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                if left:
                    left -= 1
                    connection.close()
                    continue
                transport = paramiko.Transport(connection)
                transport.add_server_key(host_key.key)
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files)
                server.transports.append(transport)
                transport.start_server(
                    event=threading.Event(), server=_Session(user_key.key.asbytes())
                )

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.cut()
            thread.join(5)


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts connections (the kernel does) and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
