# SPDX-License-Identifier: BSD-2-Clause
"""Which Linux functions are never guilty, which start a unit of work, and other names of theirs.

A function is generic when it is reached with somebody else's object or on somebody else's behalf:
the machinery that reports, allocators, locks, memory and string operations, waiting, reference
counts, and those cores (driver model, sysfs, workqueues) whose faults are their callers'. The first
function of a stack that is not generic is the guilty one. One group per subsystem; a name is a
regular expression that must match the whole function (compilers' suffixes are gone by then).
"""

REPORTING = (
    # lib/dump_stack.c, kernel/panic.c, kernel/printk, arch/*/kernel/{dumpstack,traps,stacktrace}.c
    r"_*dump_stack(_lvl)?|dump_stack_print_info|dump_backtrace(_entry)?|dump_trace|show_stack\w*",
    r"show_(regs|trace|stack)\w*|unwind_backtrace|walk_stackframe|print_context_stack|c_backtrace",
    r"(v|nmi_|check_)?panic(_on_\w+)?|_*warn(_slowpath_\w+)?|warn_slowpath_\w+|__warn_printk",
    r"report_bug|__report_bug|handle_bug|fixup_bug|bug_handler|bug_brk_handler|die|__die|die_\w+",
    r"oops_\w+|no_context|make_task_dead|rewind_stack\w*|print_tainted|__?printk|_printk",
    r"v?printk_\w+|vprintk|vprintk_\w+|console_\w+|log_store|devkmsg_\w+|dev_vprintk_emit",
    r"dev_printk\w*|_dev_\w+|__dev_printk|__netdev_printk|netdev_(err|warn|info|printk|notice)",
    r"v?sc?n?printf|vsc?nprintf|va_format|format_decode|pointer|string(_nocheck)?|number|kvasprintf",
    r"kasprintf|(k|ka|kva)sprintf_const|kvasprintf_const|hex_dump_to_buffer|print_hex_dump\w*",
    r"seq_(v?printf|puts|putc|write|puts\w*)|msg_print_\w+|__pr_\w+|___ratelimit|bust_spinlocks",
    # entries of exceptions: what follows is where they happened
    r"(asm_)?(exc|sysvec)_\w+|asm_call_\w+|error_entry|error_(exit|code)|do_error_trap|do_trap\w*",
    r"do_(invalid_op|general_protection|divide_error|int3|debug|overflow|bounds|double_fault)",
    r"do_(coprocessor_error|stack_segment|segment_not_present|alignment_check|machine_check|nmi)",
    r"invalid_op|general_protection|divide_error|int3|debug|stack_segment|page_fault|double_fault",
    r"(trace_)?do_(async_)?page_fault|async_page_fault|trace_page_fault|df_debug|handle_stack_\w+",
    r"__?(bad_area|do_user_fault|do_kernel_fault|do_page_fault)\w*|bad_area\w*|mm_fault_error",
    r"handle_page_fault|do_(user|kern)_addr_fault|kernelmode_fixup_or_oops|page_fault_oops",
    r"do_(mem_abort|translation_fault|sp_pc_abort|undefinstr|bad_area|debug_exception|tag_check\w*)",
    r"do_(DataAbort|PrefetchAbort|sect_fault|alignment\w*|bad|kernel_fault|el0_\w+|el1_\w+)",
    r"__do_(kernel|user)_fault|do_undefinstr|call_undef_hook|brk_handler|bad_mode|bad_el0_sync",
    r"el[01](t|h)?_\w+|el[01]t?_64_\w+|vectors|__(und|dabt|pabt|irq|fiq)_(svc|usr|invalid)\w*",
    r"ret_from_\w+|ret_fast_syscall|ret_slow_syscall|work_pending|vector_\w+|__irq_\w+",
    r"program_check_\w+|data_access_\w+|instruction_access_\w+|hardware_interrupt_common\w*",
    r"interrupt_return\w*|handle_page_fault|do_hash_fault|alignment_\w+|unknown_exception",
    r"_+exception\w*|do_(page|syscall|trap)_(check|ecall|insn|load|store|break|unknown)\w*",
    r"handle_exception|do_trap_\w+|pgm_check_\w+|__do_pgm_check|do_protection_exception|do_dat_\w+",
    r"math_error|fixup_exception|ex_handler_\w+|notify_die|atomic_notifier_call_chain",
    r"__atomic_notifier_call_chain|kprobe_\w+|hw_breakpoint_\w+|perf_trace_\w+|__perf_\w+_overflow",
    # addresses that kallsyms gives to what is no function
    r"_?_(s|e)text|_etext|_end|__?(s|e)init\w*|__rela_dyn_start|__kstrtab\w*|__(start|stop|end)_\w+",
    r"0x[0-9a-f]+|null|\(null\)|__bss_\w+|_GLOBAL_\w+|__hwasan_\w+|__func__\S*|__param_\w+",
    # entries of system calls that every stack ends with
    r"entry_\w+|do_syscall_\w+|syscall_\w+|system_call\w*|__?do_fast_syscall_32|do_fast_syscall_32",
    r"do_SYSENTER_32|sysenter_\w+|do_int80_\w+|do_el0_svc|invoke_syscall|el0_svc_\w+|x64_sys_call",
    r"ia32_sys_call|system_call_\w+|do_syscall_trace\w*|__do_syscall|exit_to_user_mode\w*_loop",
    r"secondary_startup\w*|start_secondary|rest_init|kernel_thread_\w+|kthread|worker_thread",
    r"process_one_work|process_scheduled_works|smpboot_thread_fn|kernel_init\w*|start_kernel",
    r"arch_call_rest_init|x86_64_start_\w+|common_startup_64|do_idle|cpu_startup_entry|cpu_idle\w*",
)

SANITIZERS = (
    # mm/kasan, mm/kmsan, kernel/kcsan, mm/kfence, lib/ubsan.c, kernel/kcov.c
    r"_*(hw)?asan_\w+|_*kasan_\w+|print_(address_description|report|shadow\w*|object|track)",
    r"check_memory_region(_inline)?|memory_is_poisoned\w*|describe_\w+|start_report|end_report",
    r"report_(suppressed|enabled)|kmem_cache_double_free|kmemleak_\w+|create_object|delete_object\w*",
    r"_*k?msan_\w+|_*kcsan_\w+|_*tsan_\w+|kfence_\w+|_*ubsan_\w+|val_to_string|handle_overflow",
    r"_*sanitizer_\w+|write_comp_data|check_kcov_mode|set_track\w*|save_stack\w*|__save_stack_trace",
    r"(__|arch_)?stack_(trace|depot)_\w+|depot_\w+|object_err|print_trailer|slab_(err|bug|pad_check)",
    r"__(slab|object)_err|check_(slab|object|bytes\w*|pad\w*|poison\w*)|free_debug_processing",
    r"alloc_debug_processing|unwind_\w+|__unwind_start|kernel_text_address|is_bpf_text_address",
    r"__kernel_text_address|get_stack_info|in_entry_stack|profile_pc|__in_\w*section\w*",
    r"refcount_\w+|__refcount_\w+|kref_\w+|refcount_warn_saturate|percpu_ref_\w+",
    r"debug_(object|check_no_obj|print_object|object_\w+|check_no_\w+)\w*|__debug_\w+|ODEBUG\w*",
    r"debug_(dma|work|timer|hrtimer|rcu_head|spin)_?\w*|lookup_object_or_\w+|lookup_object_\w+",
    r"should_fail\w*|should_fail(slab|_alloc_page|_ex)|fail_dump|fault_create_debugfs_attr",
    r"__list_(add|del|add_valid|del_entry)\w*|list_(add|del|move|splice|replace)\w*|list_lru_(add|del)\w*",
    r"hlist_(add|del|bl)\w*|plist_\w+|hlist_nulls_\w+|llist_(add|del)\w*|klist_\w+|__list_\w+_valid\w*",
    r"__fortify_\w+|fortify_\w+|__(check|read|write)_overflow\w*|usercopy_\w+|__check_object_size",
    r"check_(stack|heap)_object|__check_heap_object|bad_usercopy|__stack_chk_fail|warn_bogus_irq_restore",
    r"check_preemption_disabled|debug_smp_processor_id|__this_cpu_preempt_check|check_flush_dependency",
    r"_*might_(sleep|resched|fault|alloc)\w*|__cant_(sleep|migrate)|__schedule_bug|___might_sleep",
    r"rust_begin_unwind|rust_helper_\w+|rust_panic\w*|.*panic_(fmt|const|nounwind|bounds_check)\w*",
    r"_R\w*core9panicking\w*|<?core::(panicking|option|result|slice|str|num|ops)::.*|core::.*",
)

MEMORY = (
    # mm/slab*.c, mm/slub.c, mm/util.c, mm/page_alloc.c, mm/vmalloc.c, mm/percpu.c, lib/idr.c
    r"_*k(m|v|z|vz|c)?(alloc|free|realloc|calloc|zfree)\w*|_*kmem_cache_\w+|_*km?emdup\w*|_*kstrdup\w*",
    r"_*kvm?(alloc|free|zalloc|calloc|realloc|memdup)\w*|kvfree\w*|_*kzalloc\w*|kmemdup_nul",
    r"_*(mem|str|strn|vmem|vmemdup)n?dup_user\w*|__do_(kmalloc|krealloc|cache_alloc)\w*|kfree_sensitive",
    r"_*slab_\w+|___?cache_(alloc|free)\w*|cache_\w*(alloc|free|grow|grow_begin)\w*|fallback_alloc",
    r"____cache_alloc\w*|_+slab_(alloc|free)\w*|deactivate_slab|flush_cpu_slab|put_cpu_partial",
    r"unfreeze_partials|new_slab\w*|allocate_slab|discard_slab|___slab_alloc|get_partial\w*|poison_\w+",
    r"_*alloc_pages?\w*|_*alloc_(frozen_)?pages\w*|alloc_(contig|slab_page|page_interleave)\w*|get_zeroed_page\w*",
    r"_*free_(pages?|hot_cold_page|pages_\w+|unref_\w+|pcp\w*|one_page|the_page|frozen_\w+|compound_page)\w*",
    r"get_page_from_freelist|prep_(new|compound)_\w+|post_alloc_hook|bad_page|warn_alloc\w*",
    r"_*get_free_pages\w*|__folio_(alloc|put)\w*|folio_alloc\w*|vma_alloc_\w+|pagecache_get_page",
    r"_*v(m|z)?(alloc|free|map|unmap)\w*|_*vmalloc_\w+|__vunmap|alloc_vmap_area|vmap_\w+|__get_vm_area\w*",
    r"pcpu_\w+|__?alloc_percpu\w*|free_percpu|_*devm_(k\w+|add_action\w*)|alloc_dr|dma(m)?_alloc_\w+",
    r"dma_(alloc|free)_\w+|dma_pool_\w+|mempool_\w+|page_frag_\w+|qlist_free_all_not|quarantine_\w+",
    r"radix_tree_\w+|_*xa_(store|load|erase|alloc|insert|cmpxchg)\w*|xas_\w+|xa_\w+|idr_\w+|ida_\w+",
    r"rb_(erase|insert|next|prev|first|last|replace)\w*|__rb_\w+|rht_\w+|rhashtable_\w+|__rhashtable_\w+",
    r"mas_\w+|mtree_\w+|mt_\w+|maple_\w+|interval_tree_\w+|sbitmap_\w+|bitmap_\w+|_find_\w+_bit\w*|find_\w+_bit",
    # lib/string.c, lib/usercopy.c, arch copies, atomics, bit operations
    r"_*mem(cpy|set|move|cmp|chr|scan|zero|pcpy|copy)\w*|_*str\w*(cpy|cat|cmp|len|chr|str|sep|spn|dup|pbrk|tok)\w*",
    r"_*(raw_)?copy_(from|to|in|user|page|mc|highpage)\w*|_*copy_\w*user\w*|_*get_user\w*|_*put_user\w*",
    r"_*clear_(user|page|huge_page|highpage)\w*|copyin|copyout|strncpy_from_user|strnlen_user|_*csum_\w+",
    r"_*(test_and_)?(set|clear|change|test)_bit\w*|(arch_|raw_|instrument_)?\w*atomic\d*_\w+|_*xchg\w*|_*cmpxchg\w*",
    r"_*(read|write)_once_size\w*|_*(read|write)[bwlq](_relaxed)?|__(raw_)?(read|write)\w|copy_from_kernel_\w+",
    r"native_(write_msr|read_msr|save_fl|restore_fl|irq_\w+|halt|safe_halt|safe_apic\w*)|hweight\w*|crc32\w*_",
    r"_*fault_in_\w+|iov_iter_\w+|_*iov_iter\w*|_?copy_(page_)?(to|from)_iter\w*|memcpy_(to|from)_\w+|kmap\w*|kunmap\w*",
    r"simple_copy_to_iter|copyout_\w+|memcpy_to_iter\w*|iterate_\w+",
)

LOCKING = (
    # kernel/locking, include/linux/{spinlock,seqlock}.h, kernel/rcu read side
    r"_*raw_\w*lock\w*|do_raw_\w+|_*(raw_)?(spin|read|write|rw)_?(un|try)?lock\w*|spin_(bug|dump|lockup\w*)|rwlock_bug",
    r"queued_\w+lock\w*|native_queued_\w+|__pv_queued_\w+|kvm_wait_not|__lock_text_start|lock_text\w*",
    r"_*mutex_\w+|_*ww_mutex\w*|_*rt_mutex\w*|rtlock_\w+|rt_(spin|read|write)_\w+|_*rwsem_\w+|rwbase_\w+",
    r"_*down(_read|_write)?(_\w+)?|_*up(_read|_write)?|call_rwsem_\w+|_*percpu_(down|up)_\w+|_*ldsem_\w+|ldsem_\w+",
    r"_*lock_(acquire|release|acquired|contended|is_held|torture)\w*|lockdep_\w+|_*lock_set_class\w*|lock_(un)?pin_lock",
    r"check_(prev|prevs|noncircular|irq_usage|deadlock|usage\w*|wait_context|redundant|no_collision|chain\w*|lock\w*)\w*",
    r"print_(circular|deadlock|irq_inversion|usage|bad_irq|unlock_\w+|lock_\w+|freed_lock|shortest|held_locks|collision)\w*",
    r"validate_chain|mark_(lock|held_locks|usage)\w*|__lock_(acquire|release|unpin\w*)|register_lock_class|look_up_lock_class",
    r"add_(lock_to_list|chain_\w+)|trace_(hard|soft)irqs_\w+|trace_(on|off)_\w*|__?bfs\w*|find_usage\w*|valid_state|graph_lock",
    r"debug_(check_no_locks\w*|show_all_locks|mutex_\w+|rt_mutex_\w+|lockdep_\w+)|__?debug_check_no_\w+|assign_lock_key",
    r"lock_sock(_nested|_fast)?|release_sock|__lock_sock\w*|__release_sock|_*lock_task_sighand|local_bh_\w+|__local_bh_\w+",
    r"_*local_(lock|unlock|irq)\w*|arch_local_\w+|console_(lock|unlock|trylock)_not|bit_spin_\w+|hlist_bl_(un)?lock|seqcount_\w+",
    r"_*rcu_read_(un)?lock\w*|rcu_lockdep_\w+|rcu_(note|dynticks|irq|nmi|eqs|user|idle)\w+|rcu_is_watching|lockref_\w+",
    r"spinlock_check|__?ticket_spin_\w+|arch_spin_\w+|preempt_count_\w+|preempt_schedule\w*|__?cond_resched\w*",
    r"__?lock_page(_\w+)?|__?folio_lock\w*|folio_(unlock|lock)|unlock_page|_*lock_buffer|unlock_buffer|wait_on_\w+|folio_wait_\w+",
    r"__?folio_wait\w*|__wait_on_\w+|out_of_line_wait_on_\w+|bit_wait\w*|lock_mount_hash_not|io_schedule\w*|__?list_lru_lock\w*",
)

WAITING = (
    # kernel/sched, kernel/time, kernel/workqueue.c, kernel/smp.c, kernel/rcu write side
    r"_*schedule\w*|__switch_to\w*|context_switch|finish_(task_switch|wait)\w*|prepare_to_wait\w*|resume_user_mode\w*",
    r"_*wait_(for|woken|event)\w*|do_wait_for_\w+|_*wake_up_?(common|process|q|bit|all|locked|sync)?\w*_not|autoremove_\w+",
    r"_*wake_up(_(common|sync|locked|bit|all|pollfree|klogd|q|process)\w*)?|try_to_wake_up|default_wake_function|complete(_all)?",
    r"ttwu_\w+|swake_up_\w+|add_wait_queue\w*|_*__?swait_\w+|_*swait_\w+|completion_done|pollwake|ep_poll_callback_not",
    r"_*usleep_\w+|msleep\w*|hrtimer_\w+|_*hrtimer_\w+|do_nanosleep|common_nsleep|_*mod_timer\w*|add_timer\w*|_*(try_to_)?del_timer\w*",
    r"timer_(delete|shutdown|reduce)\w*|__timer_delete\w*|detach_if_pending|expire_timers|call_timer_fn|_*run_timers?\w*_base",
    r"__run_timers|__run_timer_base|timer_fixup_\w+|round_jiffies\w*|__mod_timer|internal_add_timer|enqueue_timer\w*|lock_timer_base",
    r"_*(flush|cancel|drain|destroy)_(delayed_)?(work|workqueue)\w*|_*cancel_(delayed_)?work\w*|flush_\w*work\w*|start_flush_work",
    r"_*queue_(delayed_)?work\w*|mod_delayed_work\w*|__cancel_work\w*|insert_work|try_to_grab_pending|get_work_pool|wq_\w+",
    r"start_poll_synchronize\w*|__?wait_rcu_gp|rcu_barrier\w*|_*call_s?rcu\w*_core|rcu_core\w*|rcu_do_batch|rcu_process_callbacks",
    r"rcu_(cblist|segcblist|sched|preempt|gp|check|softirq|pending|nocb|exp|sync|advance|accelerate)\w*|rcutree_\w+|kfree_rcu\w*",
    r"synchronize_(srcu|irq|hardirq|net)\w*_not|_*__synchronize_srcu\w*|wakeme_after_rcu|swake\w*|rcuwait_\w+",
    r"smp_call_function_\w+_cond|csd_lock\w*|__csd_lock\w*|on_each_cpu\w*|generic_exec_single|flush_smp_call\w*|generic_smp_call\w*",
    r"_*(do_)?softirq\w*|__do_softirq|handle_softirqs|invoke_softirq|irq_(exit|enter)\w*|_*irq_exit\w*|do_IRQ|common_interrupt",
    r"(trace_)?(smp_)?(trace_)?(apic|reschedule|call_function)\w*interrupt\w*|local_apic_timer_interrupt|smp_\w+_interrupt|handle_irq\w*",
    r"tick_\w+|update_process_times|update_wall_time|scheduler_tick|sched_tick|hardirq_\w+|handle_\w+_irq|generic_handle_\w+|gic_handle_\w+",
    r"__handle_(domain_)?irq\w*|handle_(fasteoi|edge|level|percpu|simple)_\w+|retint_\w+|restore_\w+_regs\w*|ret_from_intr|common_interrupt_\w+",
    r"task_work_run|exit_to_usermode_loop|prepare_exit_to_\w+|do_notify_resume|get_signal|do_signal|arch_do_signal\w*|signal_setup_\w+",
    r"sched_(clock|submit|show|exec|fork|cgroup)\w*|rq_(un)?lock\w*|_*task_rq_lock|enqueue_task\w*|dequeue_task\w*|activate_task\w*",
    r"(en|de)queue_hrtimer|__remove_hrtimer|clockevents_\w+|nmi_\w+_backtrace\w*|nmi_cpu_backtrace\w*|trigger_\w*backtrace\w*|watchdog\w*",
    r"arch_trigger_\w+|rcu_dump_\w+|print_(cpu|other_cpu|task)_stall\w*|check_cpu_stall|lockup_\w+|is_(soft|hard)lockup",
    r"__?kthread_(parkme|should_park)_not|kthread_(stop|park|unpark|flush|cancel)\w*|__kthread_\w+|put_task_stack|delayed_work_timer_fn",
)

CORES = (
    # lib/kobject.c, drivers/base, fs/sysfs, fs/kernfs, fs/proc/generic.c, kernel/notifier.c
    r"_*kobject_\w+|_*kset_\w+|sysfs_\w+|__?kernfs_\w*(remove|add|create|new|put|get|activate|drain|find|link)\w*|create_dir|create_files",
    r"internal_(create|remove)_group\w*|remove_files|device_(add|del|register|unregister|create|destroy|release|initialize|init)\w*",
    r"device_(for_each|remove|attach|links|pm|bind|unbind|rename|move|shutdown|block|reorder)\w*|put_device|get_device\w*|__device_\w+",
    r"bus_(add|remove|for_each|probe|rescan|notify|register|unregister|find)\w*|driver_(attach|detach|probe|register|unregister|bound|remove)\w*",
    r"really_probe\w*|__driver_\w+|class_(dev|dir|create|destroy|register|unregister|interface)\w*|dpm_\w+|_*pm_runtime_\w+|rpm_\w+|devres_\w+|release_nodes",
    r"platform_(probe|remove|drv\w*|device_(add|del|register|unregister|put)\w*)|deferred_probe_\w+|call_driver_probe|cdev_(add|del|put|device_\w+|default\w+)",
    r"component_\w+|kobj_\w+|notifier_call_chain\w*|(raw|blocking|srcu)_notifier_\w+|__?(raw|blocking)_notifier\w*|call_netdevice_\w+",
    r"i2c_(del|add|register|unregister)_\w+|_*unregister_client|__i2c_\w+|i2c_(new|device|smbus)_(uevent|remove|probe|client)\w*|proc_(register|create|mkdir|remove)\w*",
    r"remove_proc_\w+|__?proc_create\w*|proc_(dointvec|sys)_\w*alloc|_*register_sysctl\w*|usb_(submit|kill|poison|unlink|anchor|free)_\w+|usb_hcd_\w+urb\w*|__usb_hcd_\w+",
    r"usb_(probe|unbind)_interface|usb_(start|bulk|interrupt|control)_\w*(msg|wait\w*)|usb_(set_configuration|generic_driver\w+|probe_device|new_device|disable_\w+)",
    r"generic_probe|hub_event|hub_port_\w+|usb_disconnect|mark_buffer_dirty|__?mark_inode_dirty_not|_*brelse|__?bread\w*|__?getblk\w*|put_bh|get_bh|end_page_\w+",
    r"d?put|fast_dput|dget|_*dentry_kill|_*d_(free|drop|instantiate|lookup|alloc|rehash|add|move)\w*|iput|ihold|igrab|clear_inode|inc_nlink|drop_nlink|set_nlink|clear_nlink|_*inode_init\w*",
    r"_*fput(_sync)?|____fput|_*fget\w*|fdget\w*|__fdget\w*|filp_close|close_files|put_files_struct|exit_files|_*put_(task|cred|pid|page|net|mm)\w*|get_pid_\w+|mmput|mmdrop|__mmdrop",
    r"skb_(put|push|pull|over_panic|under_panic|panic|trim|copy_bits|clone|copy|release\w*|queue_\w+|dequeue\w*|unlink|set_owner\w*|expand\w*|free_head|ensure\w*|checksum\w*|cow\w*|store\w*|orphan\w*)",
    r"_*pskb_\w+|_*kfree_skb\w*|_*consume_skb|sk_skb_\w+|_*alloc_skb\w*|_*(netdev|napi)_alloc_skb\w*|sock_(wmalloc|rmalloc|omalloc|kmalloc|kfree\w*|kzfree\w*|alloc_send_\w+)|_*build_skb\w*|__skb_\w+|sk_mem_\w+",
    r"_*skb_\w*(pad|linearize|unshare|frag\w*|ext\w*)|sk_stream_alloc\w*|sock_queue_\w+|sock_def_\w+|sock_r?free|nlmsg_\w+|_*nla_\w+|netlink_(trim|broadcast\w*|ack)",
    r"free_netdev_not|_*dev_(hold|put)\w*|netdev_(put|hold)\w*|ref_tracker_\w+|kill_(anon|block|litter)_super_not|vfs_(ioctl|read|write|writev|readv|iter\w*)|__vfs_\w+|call_(read|write)_iter|new_sync_(read|write)",
    r"do_iter_\w+|do_(readv|writev)\w*|ksys_\w+|__do_sys_\w+_|do_(vfs|compat)_ioctl|vfs_ioctl|__(compat_)?sys_ioctl_|do_exit|do_group_exit|init_module|do_init_module|load_module|debugfs_\w+|full_proxy_\w+",
    r"dma_fence_\w+_not|dst_(release|destroy|alloc|init|dev_put)\w*|fib_rules_\w+_not|crypto_(alloc|create|destroy|free|mod|larval|find|probe)\w*_tfm\w*|timerqueue_(add|iterate)\w*",
)

BY_SUBSYSTEM = {
    "reporting": REPORTING,
    "sanitizers": SANITIZERS,
    "memory": MEMORY,
    "locking": LOCKING,
    "waiting": WAITING,
    "cores": CORES,
}

GENERIC = "^(?:" + "|".join(name for group in BY_SUBSYSTEM.values() for name in group) + ")$"
"""Matches every generic function."""

ANCHORS = (
    # "function caller": a spinning CPU is caught anywhere, so a stall is named after the unit of
    # work that spins. Innermost first, so a handler wins over the system call that led to it.
    r"^smp_call_function\w* ",
    r"^(?!(do_|__do_|__compat_|ksys_|compat_k|__se_|__?x64_|compat_sys_|compat_SyS_|SyS_|sys_|SYSC_|vfs_|do_vfs_|sock_|__arm64_|__ia32_|blkdev_|tty_compat_)\w*ioctl )\w+_ioctl ",
    r"^(?!(sock|____sys|___sys|__sys|compat_sys|SyS|sys|kernel|SYSC|__x64|__se|__arm64|__ia32|do)_\w*sendm?msg )\w+_sendmsg ",
    r"^\w+ (rtnetlink_rcv_msg|nfnetlink_rcv_msg|xfrm_user_rcv_msg)$",
    r"^(?!(netif_receive|__netif)\w* )\w+ (__netif_receive_skb(_core|_one_core|_list_core)?|deliver_skb)$",
    r"^\w+ (call_timer_fn|kthread|process_one_work)$",
    r"^(?!tick_|watchdog_|perf_)\w+ (__hrtimer_run_queues|__run_hrtimer)$",
    r"^(__(x64|ia32|arm64|s390x?|riscv|powerpc|se)_(compat_)?sys_|sys_|SyS_|compat_SyS_|compat_sys_)\w+ ",
)

ALIASES = (
    # (pattern, name in titles, other names…)
    (r"__se_(?:compat_)?sys_(\w+)$", r"\1", r"sys_\1"),
    (r"__(?:x64|ia32|arm64|s390x?|riscv|powerpc)_(?:compat_)?sys_(\w+)$", r"sys_\1"),
    (r"compat_SyS_(\w+)$", r"\1"),
    (r"SyS_(\w+)$", r"sys_\1"),
    (r"synchronize_(?:rcu|sched|rcu_expedited|sched_expedited|rcu_normal)$", "synchronize_rcu"),
    (r"smp_call_function\w+$", "smp_call_function"),
)
