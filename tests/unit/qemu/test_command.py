# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's command line from data."""

from dataclasses import replace
from pathlib import Path

from harness.qemu.command import Boot, Disk, Lines, Machine, Memory, QemuCommand

MACHINE = Machine(
    binary="qemu-system-x86_64",
    machine="pc",
    cpu="qemu64",
    vcpus=2,
    memory_mib=256,
    accelerator="tcg,thread=multi",
    console=("-serial", "chardev:console"),
    control=("-serial", "chardev:control"),
    devices=("-device", "virtio-rng-pci"),
)
BOOT = Boot(Path("/k,1/vmlinuz"), Path("/i/initrd"), ("console=ttyS0", "nokaslr"))
LINES = Lines(console=7, control=8, monitor=9)


def after(argv: list[str], option: str) -> list[str]:
    return [argv[n + 1] for n, word in enumerate(argv) if word == option]


def test_a_boot() -> None:
    argv = QemuCommand(MACHINE, BOOT).argv(LINES)
    assert argv[0] == "qemu-system-x86_64"
    assert after(argv, "-accel") == ["tcg,thread=multi"]
    assert after(argv, "-machine") == ["pc"]
    assert after(argv, "-smp") == ["2"]
    assert after(argv, "-m") == ["256"]
    assert after(argv, "-kernel") == ["/k,1/vmlinuz"]
    assert after(argv, "-append") == ["console=ttyS0 nokaslr"]
    assert "-no-reboot" in argv, "a panicking guest ends QEMU"
    assert "-incoming" not in argv
    assert after(argv, "-device") == ["virtio-rng-pci"]


def test_nothing_is_there_that_was_not_asked_for() -> None:
    argv = QemuCommand(MACHINE, BOOT).argv(LINES)
    assert {"-nodefaults", "-no-user-config"} <= set(argv)
    assert after(argv, "-display") == ["none"]
    assert not any("tcp" in word or "hostfwd" in word or word == "-netdev" for word in argv)


def test_console_control_and_monitor_are_inherited_sockets_in_this_order() -> None:
    argv = QemuCommand(MACHINE, BOOT).argv(LINES)
    assert after(argv, "-chardev") == [
        "socket,id=console,fd=7",
        "socket,id=control,fd=8",
        "socket,id=monitor,fd=9",
    ]
    assert after(argv, "-serial") == ["chardev:console", "chardev:control"]
    assert after(argv, "-mon") == ["chardev=monitor,mode=control"]


def test_a_snapshot_s_memory_is_shared_when_saved_and_private_when_restored() -> None:
    memory = Memory((Path("/proc/1/fd/3,4"),), private=False)
    saved = QemuCommand(MACHINE, BOOT, memory).argv(LINES)
    assert after(saved, "-machine") == ["pc,memory-backend=ram0"]
    assert after(saved, "-object") == [
        "memory-backend-file,id=ram0,size=256M,mem-path=/proc/1/fd/3,,4,share=on"
    ]
    restored = QemuCommand(MACHINE, BOOT, Memory(memory.files, True), incoming=True).argv(LINES)
    assert after(restored, "-object")[0].endswith("share=off")
    assert after(restored, "-incoming") == ["defer"]


def test_memory_nodes_have_a_backend_each_and_the_first_all_vcpus() -> None:
    machine = replace(MACHINE, memory_nodes=2)
    booted = QemuCommand(machine, BOOT).argv(LINES)
    assert after(booted, "-machine") == ["pc"]
    assert after(booted, "-object") == [
        "memory-backend-ram,id=ram0,size=128M",
        "memory-backend-ram,id=ram1,size=128M",
    ]
    nodes = ["node,nodeid=0,memdev=ram0,cpus=0-1", "node,nodeid=1,memdev=ram1"]
    assert after(booted, "-numa") == nodes
    saved = QemuCommand(machine, BOOT, Memory((Path("/a"), Path("/b")), False)).argv(LINES)
    assert after(saved, "-machine") == ["pc"]
    assert after(saved, "-object") == [
        "memory-backend-file,id=ram0,size=128M,mem-path=/a,share=on",
        "memory-backend-file,id=ram1,size=128M,mem-path=/b,share=on",
    ]
    assert after(saved, "-numa") == nodes


def test_the_plugin_s_arguments_are_passed_on() -> None:
    argv = QemuCommand(MACHINE, BOOT, plugin=("-plugin", "x.so,block=y")).argv(LINES)
    assert after(argv, "-plugin") == ["x.so,block=y"]


def test_a_disk_is_never_written() -> None:
    boot = replace(BOOT, disk=Disk(Path("/i,1/root.ext4"), "raw"))
    (drive,) = after(QemuCommand(MACHINE, boot).argv(LINES), "-drive")
    assert drive == "id=root,if=none,file=/i,,1/root.ext4,format=raw,snapshot=on"
    kept = QemuCommand(MACHINE, boot, overlay=Path("/proc/1/fd/5"))
    (drive,) = after(kept.argv(LINES), "-drive")
    assert drive == "id=root,if=none,file=/proc/1/fd/5,format=qcow2,snapshot=off"
    assert not after(QemuCommand(MACHINE, BOOT).argv(LINES), "-drive")
