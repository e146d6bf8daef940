# SPDX-License-Identifier: BSD-2-Clause
"""A guest driven over SSH: commands with output and exit status, files in and out.

paramiko speaks the protocol, in threads of its own; what they bring is handed to the event loop, so
that for everyone else this is a channel like the serial one. Threads are daemons and end with their
connection: a guest that has stopped answering holds nobody up.
"""

import asyncio
import functools
import io
import logging
import shlex
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.console.guest_channel import ChannelLostError, GuestChannel
from harness.errors import GuestError

T = TypeVar("T")

STEP_SECONDS = 60.0
"""Longest wait for one step of the handshake; a guest under TCG on a busy host is slow."""
_RETRY_SECONDS = 0.2
_CHUNK = 1 << 16
_WITHOUT_STATUS = 255
"""A command that ended without a status: a signal took it, its shell included."""
_FAILURES = (paramiko.SSHException, OSError, EOFError)

# it would print its own account of each failure, traceback and all, to the user's terminal
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class HostKeyChangedError(GuestError):
    """The server that answered is not the one whose key the harness knows."""


@dataclass(frozen=True)
class Login:
    """How to log in: the user's key, and the only key that the server may have."""

    user: str
    key: paramiko.PKey
    host_key: paramiko.PKey
    ready: bytes
    """What the guest prints on its console when the server listens."""


@dataclass(frozen=True)
class KeyPair:
    """An Ed25519 key: `private` in OpenSSH's own format, `public` as a line of authorized_keys."""

    key: paramiko.PKey
    private: bytes
    public: bytes


def new_key(comment: str) -> KeyPair:
    """A new key, which is in memory only."""
    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(private.decode()))
    return KeyPair(key, private, f"{key.get_name()} {key.get_base64()} {comment}\n".encode())


class SshCommand:
    """A command running in the guest; iterate for its output as it comes."""

    def __init__(self, owner: "SshChannel", number: int, session: paramiko.Channel) -> None:
        self._owner = owner
        self._number = number
        self._session = session
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._head: bytes | None = b""
        self._group = asyncio.get_running_loop().create_future()
        self.status: int | None = None
        """Exit status once the command has ended, else None."""
        _spawn(functools.partial(self._receive, asyncio.get_running_loop()))

    def _receive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Runs in a thread of its own until the session ends."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            try:
                while data := self._session.recv(_CHUNK):
                    loop.call_soon_threadsafe(self._chunks.put_nowait, data)
            except OSError:
                pass
            finally:
                loop.call_soon_threadsafe(self._chunks.put_nowait, None)

    async def output(self) -> AsyncIterator[bytes]:
        """Chunks of its output until it ends. Raises ChannelLostError."""
        while (data := await self._chunks.get()) is not None:
            if self._head is not None:
                data = self._behind_head(data)
            if data:
                self._owner.note("<", "OUTPUT", self._number, data)
                yield data
        if self._head:  # it ended within its first line, so what it said is not a group's number
            self._owner.note("<", "OUTPUT", self._number, self._head)
            yield self._head
            self._head = None
        status = await _in_thread(self._session.recv_exit_status)
        self._session.close()
        if not self._group.done():
            self._group.set_result(None)
        if status < 0:
            self._owner.must_be_alive()
            status = _WITHOUT_STATUS
        self.status = status
        self._owner.note("<", "EXIT", self._number, str(status).encode())

    def _behind_head(self, data: bytes) -> bytes:
        """Takes the first line, the process group's number, off the output."""
        assert self._head is not None
        self._head += data
        line, newline, rest = self._head.partition(b"\n")
        if not newline:
            return b""
        self._head = None
        if line.strip().isdigit():
            self._group.set_result(int(line))
            return rest
        self._group.set_result(None)  # no shell of ours ran: what it said is the reason
        return line + newline + rest

    async def write(self, data: bytes) -> None:
        """Types `data` at the command's terminal."""
        try:
            await _in_thread(lambda: self._session.sendall(data))
        except _FAILURES as error:
            raise self._owner.lost(error) from error

    async def resize(self, rows: int, columns: int) -> None:
        """Tells its terminal the size, in characters."""
        try:
            await _in_thread(lambda: self._session.resize_pty(width=columns, height=rows))
        except _FAILURES as error:
            raise self._owner.lost(error) from error

    async def kill(self, signal: int = 9) -> None:
        """Sends a signal to the command's process group; `output` must be read meanwhile.

        sshd delivers none itself to what root started (sshd's session.c, "privilege separation").
        """
        group = await asyncio.shield(self._group)
        if group is not None:
            await self._owner.run(f"kill -{signal} -{group}")


class SshChannel(GuestChannel):
    """One guest's SSH connection. Every operation is a line of its log."""

    def __init__(self, login: Login, log: TextIO) -> None:
        super().__init__(log)
        self._login = login
        self._transport: paramiko.Transport | None = None
        self._socket: socket.socket | None = None
        self._commands = 0
        self._closed = False
        self.waits_for: str | None = None
        """What has not happened yet, for the message of whoever loses patience."""

    async def connect(self, host: str, port: int) -> None:
        """Logs in, trying again while nobody listens; the caller bounds the time.

        Raises HostKeyChangedError, and GuestError where the server refuses the key.
        """
        while True:
            try:
                await _in_thread(functools.partial(self._connect_once, host, port))
                self.note("<", "READY", 0, f"{host}:{port}".encode())
                return
            except paramiko.AuthenticationException as error:
                raise GuestError(
                    f"the guest's SSH server refuses the campaign's key: {error}"
                ) from error
            except _FAILURES as error:
                self.note("<", "NOT READY", 0, (str(error) or repr(error)).encode())
                await asyncio.sleep(_RETRY_SECONDS)

    def _connect_once(self, host: str, port: int) -> None:
        connection = self._socket = socket.create_connection((host, port), STEP_SECONDS)
        transport = paramiko.Transport(connection)
        transport.banner_timeout = STEP_SECONDS
        transport.handshake_timeout = STEP_SECONDS
        transport.auth_timeout = STEP_SECONDS
        try:
            transport.start_client(timeout=STEP_SECONDS)
            self._check_host_key(transport.get_remote_server_key())
            transport.auth_publickey(self._login.user, self._login.key)
            if self._closed:
                raise EOFError("closed meanwhile")
        except BaseException:
            transport.close()
            connection.close()
            raise
        self._transport = transport

    def _check_host_key(self, found: paramiko.PKey) -> None:
        expected = self._login.host_key
        if found.asbytes() != expected.asbytes():
            raise HostKeyChangedError(
                f"the SSH server's host key is {found.get_name()} {found.fingerprint}, expected "
                f"{expected.get_name()} {expected.fingerprint}: this is not the guest that was "
                "started, and nothing was sent to it"
            )

    def must_be_alive(self) -> paramiko.Transport:
        """The connection. Raises ChannelLostError where it has gone."""
        if self._transport is None or not self._transport.is_active():
            raise self.lost(None)
        return self._transport

    def lost(self, error: Exception | None) -> ChannelLostError:
        """What to raise when the connection has failed."""
        reason = str(error or "") or "it was closed"
        return ChannelLostError(f"the SSH connection broke: {reason}")

    async def _asked(self, what: Callable[[paramiko.Transport], T]) -> T:
        transport = self.must_be_alive()
        try:
            return await _in_thread(functools.partial(what, transport))
        except paramiko.ChannelException as error:
            raise GuestError(f"the guest's SSH server opens no session: {error.text}") from error
        except _FAILURES as error:
            raise self.lost(error) from error

    async def ping(self) -> None:
        """Returns when the connection's process in the guest has answered (RFC 4254, 4)."""

        def ask(transport: paramiko.Transport) -> None:
            transport.global_request("keepalive@openssh.com", wait=True)
            if not transport.is_active():
                raise EOFError

        self.note(">", "PING", 0)
        await self._asked(ask)
        self.note("<", "PONG", 0)

    async def start(self, command: str, *, terminal: bool = False) -> SshCommand:
        """Starts a shell command; its output is read from what is returned."""
        self._commands += 1
        number = self._commands
        self.note(">", "EXEC", number, command.encode())

        def begin(transport: paramiko.Transport) -> paramiko.Channel:
            session = transport.open_session(timeout=None)
            session.set_combine_stderr(True)
            if terminal:
                session.get_pty(term="linux")
            session.exec_command(_wrapped(command, terminal))
            return session

        return SshCommand(self, number, await self._asked(begin))

    async def put(self, source: Path, destination: str, mode: int = 0o755) -> None:
        """Copies a file of the host into the guest."""

        def copy(transport: paramiko.Transport) -> None:
            with _files(transport) as files:
                files.put(str(source), destination)
                files.chmod(destination, mode)

        self.note(">", "PUT", 0, destination.encode())
        await self._transferred(copy, destination)

    async def get(self, source: str) -> bytes:
        """Content of a file of the guest."""

        def copy(transport: paramiko.Transport) -> bytes:
            with _files(transport) as files, files.open(source, "rb") as file:
                return file.read()

        self.note(">", "GET", 0, source.encode())
        return await self._transferred(copy, source)

    async def _transferred(self, copy: Callable[[paramiko.Transport], T], path: str) -> T:
        transport = self.must_be_alive()
        try:
            return await _in_thread(functools.partial(copy, transport))
        except _FAILURES as error:
            self.must_be_alive()
            # SFTP has no word for a full disk: "Failure"
            free = await self.run(f"df -k {shlex.quote(str(Path(path).parent))} 2>&1 | tail -n 1")
            raise GuestError(
                f"in the guest, {path}: {error}; df says: {free.output.decode(errors='replace')}"
            ) from error

    async def power_off(self) -> None:
        """Asks the guest to power off; nothing answers."""
        with suppress(GuestError):  # a server that opens no session any more included
            await self.start("exec poweroff")

    async def close(self) -> None:
        """Ends the connection, an unfinished one too; the guest is not asked."""
        self._closed = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        if self._transport is not None:
            self._transport.close()
            await _in_thread(functools.partial(self._transport.join, 1.0))


def _files(transport: paramiko.Transport) -> paramiko.SFTPClient:
    files = transport.open_sftp_client()
    if files is None:
        raise paramiko.SSHException("the guest's SSH server serves no files")
    return files


def _wrapped(command: str, terminal: bool) -> str:
    """The command in a shell that first says its process group's number.

    Without a terminal the command is a job with a group of its own, and the login shell waits for
    it, so that a signal that ends the command is an exit status.
    """
    says = f"echo $$\n{command}"
    if terminal:
        return says
    return f"set -m; sh -c {shlex.quote(says)} </dev/null & exec >/dev/null 2>&1; wait $!"


def _spawn(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True, name="ssh").start()


async def _in_thread(work: Callable[[], T]) -> T:
    """What `work` returns; if nobody waits any more, it goes on alone until its connection ends.

    asyncio.to_thread would be waited for at the end of the loop, however long that takes.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, failure)

    _spawn(run)
    return await done
