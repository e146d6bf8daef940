# SPDX-License-Identifier: BSD-2-Clause
"""Which Linux functions are never guilty, which start a unit of work, and other names of theirs.

A function is generic when it works on somebody else's object or on somebody else's behalf: the
machinery that reports, allocators, locks, memory and string operations, waiting, reference counts,
and the cores (driver model, sysfs, workqueues) whose faults are their callers'. The first function
of a stack that is not generic is the guilty one. One tuple per subsystem; every name is a regular
expression for the whole function, compilers' suffixes (`.isra.0`, `.cold`) being gone by then.
"""

REPORTING = (
    # lib/dump_stack.c, kernel/panic.c, kernel/printk, arch/*/kernel/{dumpstack,traps,stacktrace}.c
    r"_*dump_stack(_lvl|_print_info)?|dump_backtrace(_entry)?|dump_trace|show_stack\w*",
    r"show_(regs|trace)\w*|unwind_backtrace|walk_stackframe|print_context_stack|c_backtrace",
    r"(v|nmi_)?panic(_on_\w+)?|check_panic_on_warn|_*warn(_slowpath_\w+|_printk)?|print_tainted\w*",
    r"get_taint|test_taint|add_taint",
    r"(hex|widen|symbol|resource|mac_address|uuid|escaped|bitmap)_string",
    r"(bdev|dentry|file|fwnode|netdev|device_node|clock|error|flags)_(string|name)",
    r"ip[46]?_\w*string\w*",
    r"_*report_bug|handle_bug|fixup_bug|bug_handler|bug_brk_handler|_*die|die_\w+|oops_\w+",
    r"no_context|make_task_dead|rewind_stack\w*|[\w]*[a-z]_panic|arch_(report|rethook)_\w+",
    r"_*v?printk(_\w+)?|printk_\w+|btrfs_printk|console_(un)?lock\w*|console_(try|flush|emit|cond)\w*|log_store|devkmsg_\w+|__?log_buf\w*",
    r"_*dev_(v?printk\w*|err|warn|info|notice|crit|alert)|_*netdev_(printk|err|warn|info|notice)",
    r"v?sc?n?printf|vsc?nprintf|va_format|format_decode|pointer|string(_nocheck)?",
    r"(k|ka|kva)s(n|c)?printf(_const)?|hex_dump_to_buffer|print_hex_dump\w*|msg_print_\w+",
    r"\w*assertfail|\w+_assert(_fail\w*)?|xfs_error_report",
    r"__ext4_(error|warning)\w*",
    r"seq_(v?printf|puts|putc|write|put_\w+)|__pr_\w+|___ratelimit|bust_spinlocks",
)

ENTRIES = (
    # entries of exceptions and interrupts: where they happened is what comes after
    r"(asm_)?(exc|sysvec)_\w+|asm_call_\w+|error_(entry|exit|code)|do_error_trap|do_trap(_\w+)?",
    r"do_(invalid_op|general_protection|divide_error|int3|debug|overflow|bounds|double_fault|nmi)",
    r"do_(coprocessor_error|stack_segment|segment_not_present|alignment_check|machine_check)",
    r"invalid_op|general_protection|divide_error|int3|debug|stack_segment|double_fault|df_debug",
    r"(trace_)?(do_)?(async_)?page_fault|__do_page_fault|(__|do_)?bad_area\w*|mm_fault_error",
    r"math_error",
    r"do_(user|kern)_addr_fault|handle_(stack|page_fault|exception)_?\w*|page_fault_oops",
    r"kernelmode_fixup_or_oops|fixup_exception|ex_handler_\w+|notify_die|spurious_kernel_fault",
    r"do_(mem_abort|translation_fault|sp_pc_abort|undefinstr|debug_exception|tag_\w+|sea)",
    r"do_(DataAbort|PrefetchAbort|sect_fault|alignment\w*|el[01]_\w+|kernel_fault)",
    r"__do_(kernel|user)_fault|call_undef_hook|brk_handler|bad_el0_sync|die_kernel_fault",
    r"el[01]t?h?(_64|_32)?_\w+|vectors|__(und|dabt|pabt|irq|fiq)_(svc|usr|invalid)\w*",
    r"irqentry_\w+|paranoid_(entry|exit)|call_on_\w*stack|call_with_stack|do_interrupt_handler",
    r"do_irq",
    r"__static_call_\w+|__SC[TK]__\w+|srso_\w+|retbleed_\w+|entry_ibpb|clear_bhb_loop",
    r"bpf_dispatcher_\w+|_*bpf_prog_run\w*",
    r"ret_from_\w+|ret_(fast|slow)_syscall|work_pending|vector_\w+|interrupt_return\w*",
    r"program_check_\w+|(data|instruction)_access_\w+|hardware_interrupt_common\w*|do_hash_fault",
    r"do_trap_\w+|_*do_pgm_check|pgm_check_\w+|do_protection_exception|do_dat_exception",
    r"(trace_)?(smp_)?(trace_)?(apic|reschedule|call_function)\w*_interrupt\w*|common_interrupt\w*",
    r"local_apic_timer_interrupt|do_IRQ|retint_\w+|handle_irq\w*|_*handle_domain_irq\w*",
    r"handle_(fasteoi|edge|level|percpu|simple)_\w+|generic_handle_\w+|gic_handle_\w+",
    # entries of system calls, and what every kernel thread starts with
    r"entry_(SYSCALL|SYSENTER|INT80)\w*|do_syscall_\w+|syscall_\w+|system_call\w*|_*do_fast_syscall_32|do_SYSENTER_32",
    r"sysenter_\w+|do_int80_\w+|do_el0_svc|invoke_syscall|x64_sys_call|ia32_sys_call|__do_syscall",
    r"secondary_startup\w*|start_secondary|rest_init|kthread|smpboot_thread_fn",
    r"process_one_work|process_scheduled_works|start_kernel|arch_call_rest_init",
    r"x86_64_start_\w+|common_startup_64|do_idle|cpu_startup_entry|cpu_idle\w*|task_work_run",
    r"exit_to_usermode_loop|prepare_exit_to_\w+|do_notify_resume|(arch_)?do_signal\w*",
    # addresses that kallsyms gives a name to and that are no functions
    r"_?_?(s|e)(text|init)\w*|_end|__rela_dyn_start|__kstrtab\w*|__bss_\w+|__(start|stop|end)_\w+",
    r"0x[0-9a-f]+|\(?null\)?|_GLOBAL_\w+|__hwasan_\w+|__param_\w+|__x86_indirect_\w+",
    r"__x86_return\w*",
    r"__cfi_\w+|kcfi_\w+|ftrace_\w+|__fentry__|mcount\w*|kprobe_\w+|__kretprobe\w*|arch_rethook\w*",
)

CHECKERS = (
    # mm/kasan, mm/kmsan, kernel/kcsan, mm/kfence, lib/ubsan.c, lib/stackdepot.c, mm/kmemleak.c
    r"_*(hw)?asan_\w+|_*kasan_\w+|print_(address_description|report|object|track|error_\w+)",
    r"check_(memory_region|region)\w*|memory_is_poisoned\w*|describe_\w+|(start|end)_report",
    r"report_(suppressed|enabled)|create_object|delete_object\w*|kmemleak_(alloc|free|scan_\w+)\w*",
    r"_*k?msan_\w+|_*kcsan_\w+|_*tsan_\w+|kfence_\w+|_*ubsan_\w+|val_to_string|handle_overflow",
    r"__sanitizer_\w+|check_kcov_mode|set_track\w*|_*save_stack\w*|(arch_)?stack_trace_\w+",
    r"_*stack_depot_\w+|depot_\w+|object_err|print_trailer|slab_(err|bug|pad_check|fix)|__slab_err",
    r"check_(slab|object|bytes\w*|pad\w*|poison\w*)|(alloc|free)_debug_processing|bad_page",
    r"_*kernel_text_address|is_bpf_text_address|get_stack_info|profile_pc",
    r"_*refcount_\w+|kref_\w+|_*debug_(object|check_no_obj|print_object)\w*",
    r"ref_tracker_\w+|bad_io_access|io(read|write)\d+\w*",
    r"debug_(dma|work|timer|hrtimer|rcu_head|spin|mutex|rt_mutex)_\w+|should_fail\w*|fail_dump",
    r"_*list_(add|del)(_valid|_entry)\w*|_*list_(add|del|move|splice|replace|swap)\w*",
    r"_*h?list_(nulls_|bl_)?(add|del)\w*|plist_\w+|llist_\w+|klist_(next|prev|iter\w*)",
    r"_*fortify_\w+|__(read|write|check)_overflow\w*|usercopy_\w+",
    r"_*check_(object_size|heap_object)",
    r"timer_is_static_object|poison_slab_object|qlist_move_cache|prepare_alloc_pages|arch_stack_walk",
    r"__set_page_owner|init_timer_key|(un)?poison_\w+|check_stack_object|__stack_chk_fail|warn_bogus_irq_restore|check_flush_dependency",
    r"check_preemption_disabled|debug_smp_processor_id|__this_cpu_preempt_check|_*schedule_bug",
    r"_*might_(sleep|resched|fault|alloc)\w*|__cant_(sleep|migrate)|_*lockdep_rcu_suspicious",
    r"(.*::)?rust_begin_unwind|rust_helper_\w+|(core|<core|alloc|<alloc)::.*",
)

MEMORY = (
    # mm/slab*.c, mm/slub.c, mm/util.c, mm/page_alloc.c, mm/vmalloc.c, mm/percpu.c
    r"_*k(m|v|z)?(alloc|free|realloc|calloc|zfree|zalloc)\w*|_*kvm?(free|alloc|zalloc|calloc)\w*",
    r"_*kmem_cache_\w+|_*kv?mem_?dup\w*|_*kstrn?dup\w*|_*v?memdup_user\w*|strndup_user|kvmemdup\w*",
    r"_*do_(kmalloc|krealloc|cache_alloc)\w*|_*slab_\w+|_*cache_(alloc|free|grow)\w*",
    r"fallback_alloc",
    r"flush_cpu_slab|put_cpu_partial|unfreeze_partials|new_slab\w*|allocate_slab|discard_slab",
    r"get_(any_)?partial\w*|virt_to_(cache|slab)|cache_from_obj",
    r"_*alloc_(frozen_)?pages?\w*|alloc_(contig|slab_page|page_interleave)\w*|get_zeroed_page\w*",
    r"_*free_(frozen_)?pages?\w*|free_(hot_cold|unref|pcp|one|the|compound|large)\w*",
    r"get_free_pages",
    r"get_page_from_freelist|prep_(new|compound)_\w+|post_alloc_hook|warn_alloc\w*",
    r"_*get_free_pages",
    r"_*folio_alloc\w*|vma_alloc_\w+|_*vm(alloc|unmap|free)\w*|vmap|_*vz?alloc\w*|_*vunmap\w*",
    r"vfree\w*",
    r"alloc_vmap_area|__get_vm_area\w*|_*(alloc|free)_percpu\w*|page_frag_\w+",
    r"_*page_pool_alloc\w*|devm_k\w+|_*devm_(add_action|alloc)\w*|alloc_dr",
    r"dma_(alloc|free|pool)_\w+",
    r"dmam_alloc_\w+|quarantine_\w+|_*kmalloc_order\w*|_*kmalloc_large\w*|slob_\w+",
    r"free_pcppages_bulk|free_page_is_bad\w*",
    r"_*percpu_counter\w*",
    # lib/: trees, tables and maps whose keys and nodes are the caller's
    r"xas_\w+|ida_(free|alloc\w*|simple_\w+)|_*rb_\w+|_*rht_\w+|_*rhashtable_lookup\w*",
    r"_*bitmap_(weight|and|or|andnot|equal|subset|intersects|find\w+|parse\w*)|rhltable_lookup\w*",
    r"_*find_(first|next|last)_\w*bit\w*|__?sw_hweight\w*|hweight\w*",
    r"siphash\w*|kstrto\w+|simple_strto\w+|_parse_integer\w*|jhash\w*",
    # lib/string.c, lib/usercopy.c, lib/iov_iter.c, arch copies, atomics, bit operations, checksums
    r"_*mem(cpy|set|move|cmp|chr|scan|zero|pcpy|_copy)\w*|rep_(movs|stos)\w*|_*inline_mem\w+",
    r"_*str(n|l|s)?(cpy|cat|cmp|casecmp|len|chr|rchr|str|sep|spn|cspn|pbrk|lcpy|scpy|nlen)\w*",
    r"_*copy_(from|to|in)_(user|kernel|from)\w*|\w*_copy_(to|from)_user\w*|_*copy_user_\w+|_*(raw|arch)_copy_\w+",
    r"_*copy_(page|mc|highpage)|sized_strscpy",
    r"_*copy_from_iter\w*|copyin|copyout",
    r"_*(get|put|clear)_user(_asm\w*|_nocheck\w*|_\d)?|_*clear_(page|huge_page|highpage)\w*|strn(cpy_from|len)_user",
    r"memcpy_(to|from)_\w+|_*fault_in_\w+|simple_copy_to_iter|kmap\w*|kunmap\w*",
    r"_*(test_and_)?(set|clear|change|test)_bit\w*|(arch_|raw_|instrument_)*atomic(64|_long)?_\w+",
    r"_*(cmp)?xchg\w*|_*(read|write)_once_\w*|_*(read|write)[bwlq](_relaxed)?|csum_\w+|crc\w+",
    r"_*copy_overflow|nla_(memcpy|str\w+)",
    r"native_(write_msr|read_msr|save_fl|restore_fl|irq_\w+|halt|safe_halt)",
    r"ip_compute_csum|aes(ti)?_\w+|cipher_\w+|(xts|ecb|cbc|ctr|drbg)_\w+|rng_setkey",
    r"crypto_(cipher|ecb|cbc|xts|lskcipher|skcipher|rng)_\w+",
)

SOCKET_BUFFERS = (
    # net/core/skbuff.c: what checks the caller's arithmetic
    r"skb_(put|push|pull|over_panic|under_panic|panic)",
    r"_*kfree_skb\w*|_*napi_kfree\w*",
)

SOCKET_BUFFER_ALLOCATORS = (
    r"_*alloc_skb\w*|_*(dev|netdev|napi)_alloc_skb\w*|_*napi_build_skb\w*",
    r"sock_(wmalloc|omalloc|kmalloc|alloc_send_\w+)|nlmsg_new|alloc_skb_with_frags",
    r"sk_(prot_)?alloc|_*list_lru_init\w*|sget_userns|alloc_super|security_\w+_alloc",
)

OBJECT_ALLOCATORS = (
    # allocate on behalf of whoever asked; the object belongs to that one
    r"radix_tree_\w+|idr_\w+|xa_\w+|__kfifo_alloc|mempool_\w+|_*genradix_\w+|pcpu_\w+",
    r"\w*(?<!new_)alloc\w*",
    r"ulist_add\w*|mas_\w+|interval_tree_\w+",
)

LOCK_SITES = (
    # places of locks that are their callers': allocators, copies from and to user space, flushes
    r"v?printk\w*|console_(un)?lock\w*|_*raw_\w+|lock_acquire|_*might_(fault|alloc|sleep)\w*",
    r"refcount_dec_and_\w+|[a-z]\w*_(read|write)_lock(_\w+)?|down_(trylock|read|write)\w*|cpus_read_lock",
    r"__flush_work|kobject_uevent_env|_*local_bh_\w+|usermodehelper_\w+lock",
)

LOCKING = (
    # kernel/locking, include/linux/{spinlock,seqlock}.h, kernel/rcu's read side
    r"_*raw_\w*lock\w*|do_raw_\w+|_*(spin|read|write)_(un|try|is_)?lock\w*|spin_(bug|dump)",
    r"rwlock_bug|(native_)?queued_\w+|__pv_queued_\w+|_*lock_text_\w+|(arch|ticket)_spin_\w+",
    r"osq_\w+",
    r"_*mutex_\w+|_*ww_mutex\w*|rt_mutex\w*|_*rt_mutex_(lock|trylock|unlock|slow(un)?lock)|rtlock_(slow)?lock|rt_(spin|read|write)_\w+|mcs_spin\w*",
    r"_*rwsem_\w+|_*rwbase_\w+",
    r"_*down(_read|_write|_common|_killable|_interruptible|_trylock|_timeout)?",
    r"_*down_(read|write|interruptible|killable|timeout|common|trylock)\w*|_*up(_read|_write)?",
    r"call_rwsem_\w+|_*percpu_(down|up)_\w+|_*ldsem_\w+|_*bit_spin_\w+|hlist_bl_(un)?lock",
    r"_*lock_(acquire|release|acquired|contended|is_held|set_class|downgrade|pin_lock)\w*",
    r"lockdep_\w+|register_lock_class|look_up_lock_class|validate_chain|hlock_class|mark_(lock|held|usage)\w*",
    r"check_(prev|noncircular|irq_usage|deadlock|usage|wait_context|redundant|chain|no_coll)\w*",
    r"print_(circular|deadlock|irq_inversion|usage|bad_irq|unlock_\w+|lock_\w+|freed_lock)\w*",
    r"print_(collision|shortest|held_locks|irqtrace)\w*|__?bfs|assign_lock_key",
    r"add_(chain|lock)_\w+",
    r"perf_(trace|tp)_\w+|trace_event_\w+|perf_swevent_\w+|__traceiter_\w+",
    r"trace_(hard|soft)irqs_\w+|debug_(check_no_locks|show_all_locks|lockdep)\w*|valid_state",
    r"tty_ldisc_(un)?lock\w*|_*ldisc_sem\w*",
    r"_*local_bh_\w+|_*local_(un)?lock\w*",
    r"arch_local_\w+|seqcount_\w+|_*rcu_read_(un)?lock\w*|rcu_lockdep_\w+|rcu_is_watching",
    r"rcu_(note|dynticks|irq|nmi|eqs|user|idle)_\w+|preempt_(count|schedule)\w*",
    r"_*cond_resched\w*|_*lock_(page|buffer)|unlock_(page|buffer)|_*folio_(un)?lock\w*",
    r"[a-z]\w*_(read|write)_lock(_nested\w*)?",
)

WAITING = (
    # kernel/sched, kernel/time, kernel/workqueue.c: whose objects are the caller's
    r"_*schedule(_timeout\w*|_hrtimeout\w*|_preempt\w*|_idle|_rtlock|_bug)?|context_switch",
    r"io_schedule\w*|finish_wait|wait_for_completion\w*|_*wait_for_common\w*|do_wait_for_\w+",
    r"_*wake_up(_(?!new_task)\w+)?|default_wake_function|autoremove_wake\w*|complete(_all)?",
    r"_*swake_\w+|_*(try_to_)?del_timer\w*|_*timer_(delete|shutdown)_sync\w*|mod_timer\w*|add_timer",
    r"_*(flush|drain|destroy)_work\w*|_*cancel_work(_timer|_sync)|cancel_delayed_work_sync",
    r"_*(delayed_)?work_(?:grab|timer)\w*|_*queue_(delayed_)?work\w*|mod_delayed_work\w*|insert_work",
    r"_*flush_workqueue\w*|_*flush_work\w*|try_to_grab_pending|get_work_pool|(cleanup|init)_srcu_struct\w*",
    r"kthread_stop|rcu_(gp|check|pending)\w*|_*task_rq_lock|(raw_)?rq_(un)?lock\w*",
    r"_*do_softirq\w*|handle_softirqs|invoke_softirq|_*irq_(exit|enter)\w*|run_ksoftirqd",
    r"tick_\w+|update_process_times|scheduler_tick|sched_tick|sched_clock\w*|clockevents_\w+",
    r"nmi_(cpu|trigger)\w*_backtrace\w*|trigger_\w*backtrace\w*|arch_trigger_\w+|rcu_dump_\w+",
    r"print_(cpu|other_cpu|task)_stall\w*|check_cpu_stall|watchdog\w*",
)

HANGING = (
    # what waits for somebody else: no clue to who is stuck
    r"__rt_mutex_\w+|__sched_text_start|_*switch_to\w*|finish_task_switch\w*|prepare_to_wait\w*|_*wait_(woken|on|event|rcu_gp)\w*",
    r"_*folio_wait\w*|out_of_line_wait\w*|bit_wait\w*|try_to_wake_up|ttwu_\w+|_*swait_\w+",
    r"add_wait_queue\w*|rcuwait_\w+|usleep_\w+|msleep\w*|hrtimer_nanosleep|do_nanosleep",
    r"common_nsleep|_*(cancel|flush)_(delayed_)?work\w*|flush_(scheduled_work|rcu_work)",
    r"rcu_barrier\w*|srcu_\w+|rcu_(exp|sync|tasks)_?\w*|wakeme_after_rcu|_*csd_lock\w*",
    r"on_each_cpu\w*|generic_exec_single|smp_call_function\w*|kthread_(park|unpark|flush\w*|cancel\w*)",
    r"_*kthread_(create|bind)\w*|lock_sock(_nested|_fast)?|__lock_sock\w*|_*release_sock",
)

HANGING_SUBSYSTEMS = (
    # the same of one subsystem: whatever waits or locks by its name, and what waits by another
    r"\w*wait\w*|(?!rtnl_)_*[a-z]\w*_lock(_\w+)?|super_lock\w*|cgroup_(lock|kn_lock)_\w+",
    r"_*filemap_get_folio\w*|pagecache_get_page|truncate_inode_pages_range",
    r"usb_(kill_urb|start_wait_urb|control_msg)|i2c_del_adapter|unregister_netdev(ice_notifier)?",
    r"device_add|get_device_parent",
)

CORES = (
    # lib/kobject.c, drivers/base, fs/sysfs, fs/proc/generic.c, kernel/notifier.c
    r"_*kobject_\w+|kset_\w+|sysfs_\w+|internal_(create|remove)_group\w*|create_(dir|files)",
    r"remove_files|put_device|get_device\w*|dpm_sysfs_\w+|add_uevent_var|klist_put",
    r"_*device_(add|del|register|unregister|create|destroy)(_\w+)?|device_(release|remove_file)\w*",
    r"device_for_each_child\w*|platform_device_(add|del|register|unregister|put|release)\w*",
    r"(raw|blocking|srcu|atomic)_notifier_\w+|notifier_call_chain\w*|call_netdevice_notifiers\w*",
    r"i2c_del_\w+|_*unregister_client|proc_(register|create|mkdir)\w*|_*proc_create\w*",
    r"remove_proc_\w+|usb_(submit|kill)_urb|usb_(start_wait_urb|control_msg|bulk_msg)",
    r"tty_unregister_device|hwrng_unregister|media_device_unregister\w*",
    # net/core/dev.c: registration
    r"rollback_registered\w*|(un)?register_netdev(ice(_queue|_many\w*)?)?|dev_close_many",
    # fs/: reference counts
    r"d?put|fast_dput|dget|iput\w*|ihold|igrab|(inc|drop|set|clear)_nlink|\w+_(drop|inc)_nlink",
    r"mark_buffer_dirty\w*|_*brelse|put_bh|get_bh",
)

BY_SUBSYSTEM = {
    "reporting": REPORTING,
    "entries": ENTRIES,
    "checkers": CHECKERS,
    "memory": MEMORY,
    "socket buffers": SOCKET_BUFFERS,
    "locking": LOCKING,
    "waiting": WAITING,
    "cores": CORES,
}


def _any_of(*groups: tuple[str, ...]) -> str:
    return "^(?:" + "|".join(name for group in groups for name in group) + ")$"


GENERIC = _any_of(*BY_SUBSYSTEM.values())
"""Matches every generic function."""

SLEEPING = _any_of(REPORTING, ENTRIES, CHECKERS, LOCKING, WAITING, HANGING)
"""What any sleep goes through."""

BLOCKING = _any_of(REPORTING, ENTRIES, CHECKERS, LOCKING, WAITING, HANGING, HANGING_SUBSYSTEMS)
"""What only waits on behalf of others: the rest of a blocked stack says what it waits for."""

MACHINERY = _any_of(REPORTING, ENTRIES, CHECKERS, MEMORY, LOCKING)
"""Never blamed, not even where nothing else is left."""

LOCK_SITES_SKIPPED = _any_of(LOCK_SITES, MEMORY)
"""Where a lock is taken on a caller's behalf."""

ALLOCATORS = _any_of(
    REPORTING,
    CHECKERS,
    MEMORY,
    SOCKET_BUFFERS,
    SOCKET_BUFFER_ALLOCATORS,
    OBJECT_ALLOCATORS,
    ENTRIES,
)
"""What stands between a leak and who allocated: nobody else is innocent of one."""

_DISPATCH = r"(?:do|__do|vfs|do_vfs|ksys|sock|__compat|compat_k|blkdev|____sys|___sys|__sys|kernel)"
_FILE_DISPATCH = (
    r"(?:(?:__)?vfs_(?:read|write|readv|writev|iter_\w+)|__kernel_write|new_sync_\w+|do_iter_\w+"
    r"|call_(?:read|write)_iter|do_readv_writev|do_loop_readv_writev)"
)
_IOCTL_DISPATCH = (
    r"(?:(?:do_|compat_|file_)?(?:vfs|ksys|blkdev|SyS|sys)_ioctl|\w+sys_ioctl"
    r"|\w*blkdev_driver_ioctl"
    r"|compat_(?:SyS|blkdev)_ioctl|\w+_compat_ioctl|tty_(?:compat_)?ioctl)"
)
_SYSTEM_CALL = r"(?:__(?:x64|ia32|arm64|s390x?|riscv|powerpc|se|do)_)?(?:compat_)?(?:sys|SyS|SYSC)_"

ANCHORS = (
    # Matched against "function caller". A spinning CPU is caught anywhere, so a stall is named
    # after the unit of work that spins; innermost first, a handler wins over its system call.
    # What runs in a system call comes before what runs by itself: a timer that interrupts a
    # system call which never ends is not to blame.
    (
        r"^smp_call_function\w* ",
        rf"^(?!{_DISPATCH}_|{_SYSTEM_CALL}|compat_blkdev_ioctl )\w+_ioctl {_IOCTL_DISPATCH}$",
        rf"^(?!{_DISPATCH}_\w*sendmsg |{_SYSTEM_CALL})\w+_sendmsg ",
        rf"^(?!{_DISPATCH}_\w*msg |inet6?_|{_SYSTEM_CALL})\w+_recvmsg (?:sock_|____sys_)",
        rf"^(?!{_DISPATCH}_|sk_|inet6?_|{_SYSTEM_CALL})\w+_(?:connect|setsockopt) "
        r"(?:__sys_|do_sock_|sock_common_)",
        r"^\w+ task_work_run$",
        rf"^(?!{_FILE_DISPATCH} |sock_|tun_)\w+_(?:read|write)(?:_iter)? {_FILE_DISPATCH}$",
        r"^\w+ (?:do_dentry_open|__fput|vfs_fsync_range|__mmap_region|mmap_region)$",
        r"^\w+ (?:rtnetlink_rcv_msg|nfnetlink_rcv_msg|xfrm_user_rcv_msg)$",
        r"^(?!__netif|netif_)\w+ (?:__netif_receive_skb(?:_core|_one_core|_list_core)?"
        r"|deliver_skb)$",
        rf"^ksys_\w+ (?!{_SYSTEM_CALL})",
        rf"^{_SYSTEM_CALL}\w+ ",
    ),
    (r"^(?!smpboot_)\w+ (?:kthread|process_one_work)$",),
    (
        r"^\w+ (?:call_timer_fn|tasklet_action_common)$",
        r"^(?!tick_|watchdog_|perf_)\w+ (?:__hrtimer_run_queues|__run_hrtimer)$",
    ),
    (r"^do_idle ",),
)

ALIASES = (
    # (pattern, name in titles, other names…)
    (r"__se_(?:compat_)?sys_(\w+)$", r"\1", r"sys_\1"),
    (r"__(?:x64|ia32|arm64|s390x?|riscv|powerpc)_(?:compat_)?sys_(\w+)$", r"sys_\1"),
    (r"bpf_prog_[0-9a-f]{16}\w*$", "bpf_prog_ADDR"),
    (r"__do_sys_(\w+)$", r"\1", r"sys_\1"),
    (r"(?:compat_)?ksys_(\w+)$", r"\1"),
    (r"(?:compat_)?SyS_(\w+)$", r"\1"),
    (r"_*synchronize_(?:s?rcu|sched)(?:_\w+)?$", "synchronize_rcu"),
    (r"smp_call_function\w+$", "smp_call_function"),
)
