// SPDX-License-Identifier: GPL-2.0
// Three places of a swap-in without the swap cache: entry seen, page read, page table locked.
// files: mm/memory.c
@ read @
@@
+ FAIL_POINT(swapin_seen);
  swap_readpage(...);
+ FAIL_POINT(swapin_read);

@ lock @
expression vmf;
@@
  vmf->pte = pte_offset_map_lock(...);
+ FAIL_POINT_ATOMIC(swapin_locked);
  if (unlikely(!pte_same(*vmf->pte, vmf->orig_pte)))
    goto out_nomap;
