// SPDX-License-Identifier: BSD-2-Clause
// files: sys/vm/vm_fault.c
// adds to sys/vm/vm_fault.c: DEBUG_FP, vm_fault_relookup,
//
// debug.fail_point.vm_fault_relookup: between the copy that a COW fault has made and its second
// look at the map, which it must take where it has had to let go of the map's lock.

@@
@@
  #include <sys/systm.h>
+ #include <sys/fail.h>

@@
identifier fs;
statement S;
@@
  vm_fault_relookup(struct faultstate *fs)
  {
  	...
+ 	KFAIL_POINT_CODE_COND(DEBUG_FP, vm_fault_relookup, fs->m_cow != NULL, 0, (void)0);
  	if (!vm_map_trylock_read(fs->map)) S
  	...
  }
