# SPDX-License-Identifier: BSD-2-Clause
"""The dialogue of an image's first boot, with recorded consoles and with those that go wrong."""

from pathlib import Path

import pytest
from fake_serial import Step, console, recorded

from harness.errors import ConfigurationError, GuestError, InfrastructureError
from harness.systems.freebsd import first_boot as module
from harness.systems.freebsd.first_boot import FirstBoot, first_boot

RECORDING = Path(__file__).parent / "consoles/first-boot-13.2.txt"
LOGIN = b"\r\nFreeBSD/amd64 (freebsd) (ttyu0)\r\n\r\nlogin: "
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPoQ6rQjyrKTzVn0SMFhbIqVxnHNQUCqC1uU0YkNf6h9"
SAID = [
    "release 13.2-RELEASE", "userland 1302001", "kernel 1302001", "compiler /usr/bin/cc",
    f"host-key {KEY}", "free 1048576", "done", "status 0",
]  # fmt: skip


def _script(said: list[str]) -> bytes:
    return b"".join(f"harness: {line}\r\n".encode() for line in said) + b"# "


def _steps(said: list[str] = SAID) -> list[Step]:
    return [
        (b"", b"Booting\r\n" + LOGIN),
        (b"root", b"root\r\nWelcome to FreeBSD!\r\nroot@freebsd:~ # "),
        (module._HAIL.encode(), module._HAIL.encode() + b"\r\nharness-42\r\n# "),
        (module._RUN.encode(), module._RUN.encode() + b"\r\n" + _script(said)),
        (b"exec poweroff", b"exec poweroff\r\nUptime: 1m\r\n"),
    ]


def _boot(steps: list[Step], seconds: float = 5, hangs: bool = False) -> FirstBoot:
    with console(steps, hangs) as line:
        return first_boot(line, seconds, lambda _: None)


def test_a_first_boot() -> None:
    assert _boot(_steps()) == FirstBoot(KEY, "13.2-RELEASE", "/usr/bin/cc", 1048576)


def test_what_is_typed_too_early_is_typed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.3)
    steps = _steps()
    steps.insert(2, (module._HAIL.encode(), b""))
    assert _boot(steps).release == "13.2-RELEASE"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (b"panic: vm_fault failed: 0\r\ncpuid = 0\r\n", "the kernel panics"),
        (b"Trying to mount root from ufs:/dev/gpt/rootfs []...\r\nmountroot> ", "finds no root"),
        (b"Enter full pathname of shell or RETURN for /bin/sh: ", "in single-user mode"),
        (b"exec /sbin/init: error 8\r\n", "is it of this architecture"),
        (b"Starting file system checks:\r\n", "no prompt to log in at after 0.5 s"),
        (b"", "no prompt to log in at after 0.5 s"),
    ],
)
def test_a_console_without_a_login(said: bytes, says: str) -> None:
    with pytest.raises(GuestError, match=says) as raised:
        _boot([(b"", said)], seconds=0.5, hangs=True)
    last = said.split(b"\r\n")[0].decode()
    assert last in str(raised.value), "the console's last lines are told"


def test_a_machine_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GuestError, match="no prompt to log in at"):
        _boot([(b"", b"ACPI APIC Table: <BOCHS  BXPC>\r\n")])


@pytest.mark.parametrize("said", [b"Password:", b"Login incorrect\r\nlogin: "])
def test_an_image_with_a_password(said: bytes) -> None:
    with pytest.raises(ConfigurationError, match="root's password is asked for"):
        _boot([*_steps()[:1], (b"root", said)])


def test_a_shell_that_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.1)
    with pytest.raises(GuestError, match="root's shell answers nothing"):
        _boot(_steps()[:2], hangs=True)


def test_a_script_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SCRIPT_SECONDS", 0.3)
    with pytest.raises(GuestError, match=r"not done after 0\.3 s(.|\n)*13\.2-RELEASE"):
        _boot(
            [*_steps()[:3], (module._RUN.encode(), b"harness: release 13.2-RELEASE\r\n")], 5, True
        )


def test_a_machine_that_does_not_power_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POWER_OFF_SECONDS", 0.3)
    with pytest.raises(GuestError, match=r"has not powered off after 0\.3 s"):
        _boot(_steps(), hangs=True)


@pytest.mark.parametrize(
    ("said", "error", "says"),
    [
        (["failed the image has no /usr/sbin/sshd", "status 1"], ConfigurationError, "no /usr/sb"),
        (["release 13.2-RELEASE", "status 2"], GuestError, "did not run to its end"),
        ([line.replace("userland 13", "userland 15") for line in SAID], ConfigurationError,
         "newer FreeBSD .1502001. than the kernel"),
        ([line.replace("AAAA", "A@A") for line in SAID], InfrastructureError, "came damaged"),
    ],
)  # fmt: skip
def test_what_the_script_says(said: list[str], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        _boot(_steps(said))


def test_an_image_without_a_compiler() -> None:
    said = ["compiler none" if line.startswith("compiler") else line for line in SAID]
    assert _boot(_steps(said)).compiler == "none"


def test_the_first_boot_of_a_real_one() -> None:
    """A world built from the tree of 13.2, on the harness's kernel, as its console told it."""
    steps = recorded(RECORDING.read_bytes())
    assert [typed for typed, _ in steps] == [
        b"", b"root", module._HAIL.encode(), module._RUN.encode(), b"exec poweroff",
    ]  # fmt: skip
    facts = _boot(steps)
    assert (facts.release, facts.compiler) == ("13.2-RELEASE", "/usr/bin/cc")
    assert facts.host_key.startswith("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5")
    assert facts.free_kib > 600_000
