# SPDX-License-Identifier: BSD-2-Clause
"""The small parts: systems told apart, names demangled, functions sorted."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.crashes import detect_system
from harness.crashes.demangle import demangle
from harness.crashes.rules import GRAMMARS, grammar_of, linux_functions
from harness.crashes.stack import plain_function
from harness.crashes.stream import engine_of
from harness.errors import UsageError

from .consoles import BOOT, stamped


def test_consoles_are_told_apart() -> None:
    assert detect_system(stamped(BOOT)) == "linux"
    assert detect_system(b"panic: toy died\ncpuid = 0\nKDB: enter: panic\n") == "freebsd"
    assert detect_system(b"GNU Mach 1.8\nbiosmem: heap: 1000-2000\n") == "gnumach"
    assert detect_system(b"") == "linux"


def test_unknown_system_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="expected one of linux, freebsd, gnumach"):
        grammar_of("plan9")


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("_RNvNtCs9jEwPDbx20M_4core9panicking9panic_fmt", "core::panicking::panic_fmt"),
        ("_RNvMs3_NtCshgDM7dBCdno_3toy4ringNtB5_4Ring4take", "<toy::ring::Ring>::take"),
        ("_RNvXs_CshgDM7dBCdno_3toyNtB4_3ToyNtB4_4Walk2go", "<toy::Toy as toy::Walk>::go"),
        ("_RINvCshgDM7dBCdno_3toy3addlEB2_", "toy::add::<i32>"),
        ("_Z8toy_walkiii", "toy_walk"),
        ("_ZN3toy4walkEv", "toy::walk"),
        ("toy_walk", "toy_walk"),
        ("_RNvB_1a", "_RNvB_1a"),
        ("_R", "_R"),
        ("_Z99x", "_Z99x"),
    ],
)
def test_demangle(symbol: str, name: str) -> None:
    assert demangle(symbol) == name


@given(st.text(alphabet="_RNvMXYIBCsE0129aBtTS", max_size=80))
def test_demangle_takes_anything(tail: str) -> None:
    assert isinstance(demangle("_R" + tail), str)


@pytest.mark.parametrize(
    ("printed", "plain"),
    [
        ("toy_walk.isra.0", "toy_walk"),
        ("toy_walk.constprop.12.part.3", "toy_walk"),
        ("toy_walk.cold", "toy_walk"),
        ("toy_walk.cold.5", "toy_walk"),
        ("toy_walk.llvm.1234567890", "toy_walk"),
        ("toy_walk.7", "toy_walk"),
        (".toy_walk", "toy_walk"),
        ("toy.walker", "toy.walker"),
    ],
)
def test_compilers_suffixes_go(printed: str, plain: str) -> None:
    assert plain_function(printed) == plain


@pytest.mark.parametrize(
    "function",
    ["dump_stack_lvl", "kasan_report", "__kmalloc", "kfree", "_raw_spin_lock_irqsave", "memcpy",
     "__mutex_lock", "schedule_timeout", "refcount_warn_saturate", "do_syscall_64",
     "asm_exc_page_fault",
     "_copy_to_user", "__list_del_entry_valid", "el1h_64_sync", "vsnprintf", "kobject_put",
     "rhashtable_lookup_fast", "wait_for_completion", "__flush_work", "__x86_indirect_thunk_rax"],
)  # fmt: skip
def test_generic_functions(function: str) -> None:
    assert engine_of("linux").is_generic(function)


@pytest.mark.parametrize(
    "function",
    ["ext4_writepages", "vm_map_lookup", "tcp_sendmsg", "do_swap_page", "iomap_page_release",
     "kvm_vcpu_ioctl", "put_and_wait_on_page_locked", "io_uring_enter", "btrfs_sync_file",
     "rtnl_lock", "synchronize_rcu", "do_journal_end", "run_timer_softirq", "xfs_buf_lock_io"],
)  # fmt: skip
def test_guilty_functions(function: str) -> None:
    assert not engine_of("linux").is_generic(function)


@pytest.mark.parametrize("group", linux_functions.BY_SUBSYSTEM)
def test_function_patterns_compile_one_by_one(group: str) -> None:
    for pattern in linux_functions.BY_SUBSYSTEM[group]:
        re.compile(pattern)


@pytest.mark.parametrize("system", GRAMMARS)
def test_rules_are_named_once_and_have_their_trigger(system: str) -> None:
    rules = GRAMMARS[system].rules
    names = [rule.name for rule in rules]
    assert len(names) == len(set(names))
    assert all(rule.trigger and rule.forms for rule in rules)
