# SPDX-License-Identifier: BSD-2-Clause
"""A guest over SSH: commands, files, and servers that are slow, wrong, silent or gone."""

import asyncio
import io
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from ssh_server import Server, refuse_sessions, silent_server, ssh_server

from harness.console import ssh
from harness.console.guest_channel import ChannelLostError, CommandFailedError, GuestChannel
from harness.console.ssh import HostKeyChangedError, Login, SshChannel, new_key
from harness.errors import GuestError

HOST, USER, OTHER = new_key("host"), new_key("user"), new_key("other")
LOGIN = Login("root", USER.key, HOST.key, b"ready")
Scenario = Callable[[SshChannel, Server], Awaitable[None]]


def drive(scenario: Scenario, log: io.StringIO | None = None, drop: int = 0) -> None:
    async def run() -> None:
        channel = SshChannel(LOGIN, log or io.StringIO())
        try:
            async with asyncio.timeout(20):
                await channel.connect("127.0.0.1", server.port)
                await scenario(channel, server)
        finally:
            await channel.close()

    with ssh_server(HOST, USER, drop) as server:
        asyncio.run(run())


def test_output_in_order_and_exit_status() -> None:
    async def scenario(channel: SshChannel, _: Server) -> None:
        result = await channel.run("echo one; echo two >&2; echo three; exit 42")
        assert (result.status, result.output) == (42, b"one\ntwo\nthree\n")
        big = await channel.check("seq 1 50000")
        assert big == b"".join(b"%d\n" % n for n in range(1, 50001))

    drive(scenario)


def test_output_comes_while_the_command_runs() -> None:
    async def scenario(channel: SshChannel, _: Server) -> None:
        running = await channel.start("echo early; sleep 100")
        assert [await anext(aiter(running.output()))] == [b"early\n"]
        assert running.status is None
        await running.kill()

    drive(scenario)


@pytest.mark.parametrize(("signal", "status"), [(9, 137), (15, 143)])
def test_a_signal_reaches_the_whole_group(signal: int, status: int, tmp_path: Path) -> None:
    async def scenario(channel: SshChannel, _: Server) -> None:
        running = await channel.start(f"sleep 30 & echo up; wait; touch {tmp_path}/outlived")
        chunks = []
        async for chunk in running.output():
            chunks.append(chunk)
            await running.kill(signal)
        assert running.status == status
        assert b"".join(chunks) == b"up\n"

    started = time.monotonic()
    drive(scenario)
    assert time.monotonic() - started < 15
    assert not (tmp_path / "outlived").exists()


def test_a_command_that_a_signal_ends_has_a_status() -> None:
    async def scenario(channel: SshChannel, _: Server) -> None:
        assert (await channel.run("kill -11 $$")).status == 139

    drive(scenario)


@pytest.mark.parametrize("command", ["echo 'a b'  \"c\"; echo $((1 + 1))", "printf '%s\\n' \\'"])
def test_a_command_is_passed_on_as_it_is(command: str) -> None:
    async def scenario(channel: SshChannel, _: Server) -> None:
        expected = {"e": b"a b c\n2\n", "p": b"'\n"}[command[0]]
        assert await channel.check(command) == expected

    drive(scenario)


def test_what_a_shell_says_of_a_command_that_is_none() -> None:
    async def scenario(channel: SshChannel, _: Server) -> None:
        with pytest.raises(CommandFailedError, match=r"(?s)`if` ended with status 2.*[Ss]yntax"):
            await channel.check("if")
        with pytest.raises(CommandFailedError, match="status 127"):
            await channel.check("exec no-such-program")

    drive(scenario)


@pytest.mark.parametrize("said", ["This account is not available", "sh: no", ""])
def test_output_that_ends_before_its_first_newline_is_kept(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    # a login shell that is none of ours runs no wrapper, which would say its group first
    monkeypatch.setattr(ssh, "_wrapped", lambda command, _: command)

    async def scenario(channel: SshChannel, _: Server) -> None:
        result = await channel.run(f"printf '%s' '{said}'; exit 1")
        assert (result.status, result.output) == (1, said.encode())

    drive(scenario)


def test_commands_at_the_same_time() -> None:
    async def scenario(channel: SshChannel, _: Server) -> None:
        results = await asyncio.gather(*(channel.run(f"echo {n}; exit {n}") for n in range(8)))
        assert [(r.status, r.output) for r in results] == [(n, b"%d\n" % n) for n in range(8)]

    drive(scenario)


def test_ping_and_the_log() -> None:
    log = io.StringIO()

    async def scenario(channel: SshChannel, _: Server) -> None:
        await channel.ping()
        await channel.run("echo hello; exit 3")

    drive(scenario, log)
    said = [line.split(maxsplit=1)[1] for line in log.getvalue().splitlines()]
    assert said[1:] == [
        "> PING 0 ''",
        "< PONG 0 ''",
        "> EXEC 1 'echo hello; exit 3'",
        "< OUTPUT 1 'hello\\n'",
        "< EXIT 1 '3'",
    ]


def test_files_there_and_back(tmp_path: Path) -> None:
    async def scenario(channel: SshChannel, _: Server) -> None:
        content = bytes(range(256)) * 1000
        (tmp_path / "here").write_bytes(content)
        await channel.put(tmp_path / "here", f"{tmp_path}/there", 0o640)
        assert (tmp_path / "there").stat().st_mode & 0o777 == 0o640
        assert await channel.get(f"{tmp_path}/there") == content
        with pytest.raises(GuestError, match=r"/no/such: .*No such file"):
            await channel.get("/no/such")

    drive(scenario)


def test_a_full_disk_in_the_guest_is_named(tmp_path: Path) -> None:
    async def scenario(channel: SshChannel, _: Server) -> None:
        (tmp_path / "here").write_bytes(b"x")
        with pytest.raises(GuestError, match=rf"{tmp_path}/full: Failure; df says: .*%"):
            await channel.put(tmp_path / "here", f"{tmp_path}/full")

    drive(scenario)


def test_a_server_that_is_not_up_yet() -> None:
    async def scenario(channel: SshChannel, _: Server) -> None:
        assert await channel.check("echo up") == b"up\n"

    log = io.StringIO()
    drive(scenario, log, drop=2)
    assert log.getvalue().count("NOT READY") == 2


def connect_to(port: int, login: Login = LOGIN, seconds: float = 10) -> None:
    async def run() -> None:
        channel = SshChannel(login, io.StringIO())
        try:
            async with asyncio.timeout(seconds):
                await channel.connect("127.0.0.1", port)
        finally:
            await channel.close()

    asyncio.run(run())


def test_a_changed_host_key_is_refused_and_named() -> None:
    with ssh_server(OTHER, USER) as server, pytest.raises(HostKeyChangedError) as caught:
        connect_to(server.port)
    assert f"host key is ssh-ed25519 {OTHER.key.fingerprint}, expected" in str(caught.value)
    assert HOST.key.fingerprint in str(caught.value)
    assert not server.transports[0].is_authenticated()


def test_a_refused_user_key_is_no_reason_to_try_again() -> None:
    with ssh_server(HOST, OTHER) as server, pytest.raises(GuestError, match="refuses the campaign"):
        connect_to(server.port)


def test_a_server_that_never_answers_holds_nobody_up() -> None:
    before = threading.active_count()
    with silent_server() as port:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            connect_to(port, seconds=0.5)
        assert time.monotonic() - started < 5
    end = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.05)
    assert threading.active_count() <= before


def test_a_connection_that_breaks_is_lost_for_everyone() -> None:
    async def scenario(channel: SshChannel, server: Server) -> None:
        running = await channel.start("echo up; sleep 100")
        output = running.output()
        assert await anext(output) == b"up\n"
        server.cut()
        with pytest.raises(ChannelLostError, match="SSH connection broke"):
            await anext(output)
        assert running.status is None
        for request in (channel.ping(), channel.run("x"), channel.get("/x")):
            with pytest.raises(ChannelLostError, match="SSH connection broke"):
                await request
        await channel.power_off()

    drive(scenario)


def test_a_guest_that_opens_no_session_any_more_is_not_powered_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(channel: SshChannel, _: Server) -> None:
        refuse_sessions(monkeypatch)
        with pytest.raises(GuestError, match="opens no session"):
            await channel.run("x")
        await channel.power_off()

    drive(scenario)


def test_a_log_that_cannot_be_written_is_remembered() -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    seen: list[OSError | None] = []

    async def scenario(channel: SshChannel, _: Server) -> None:
        assert await channel.check("echo x") == b"x\n"
        seen.append(channel.log_error)

    drive(scenario, Full())
    assert seen[0] is not None


def test_it_is_a_guest_channel() -> None:
    channel: GuestChannel = SshChannel(LOGIN, io.StringIO())
    assert channel.log_error is None


def test_keys_are_new_each_time_and_readable_by_openssh() -> None:
    assert HOST.private != USER.private
    assert HOST.private.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert HOST.public.split()[0] == b"ssh-ed25519"
