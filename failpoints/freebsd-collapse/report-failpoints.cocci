// SPDX-License-Identifier: BSD-2-Clause
// files: sys/vm/vm_fault.c sys/vm/vm_object.c
// not where sys/vm/vm_object.c has: OBSC_COLLAPSE_WAIT
// adds to sys/vm/vm_fault.c: DEBUG_FP, unlock_and_deallocate_relock,
// adds to sys/vm/vm_object.c: DEBUG_FP, vmob_scan_rename_unlock,
// adds to sys/vm/vm_object.c: if (rename_fails ||
//
// The fail points of the report (FreeBSD D4103) under its names, both in debug.fail_point:
// unlock_and_deallocate_relock, where a fault that gives up still has an invalid, busy page in the
// first object; vmob_scan_rename_unlock, where a scan's rename of a page fails, so that the scan
// lets go of the objects' locks and starts again.

@@
@@
  #include <sys/systm.h>
+ #include <sys/fail.h>

@@
identifier fs;
identifier give_up =~ "^(vm_)?fault_deallocate$";
@@
  give_up(struct faultstate *fs)
  {
  	...
  	if (fs->object != fs->first_object) {
+ 		KFAIL_POINT_CODE(DEBUG_FP, unlock_and_deallocate_relock, (void)0);
  		VM_OBJECT_WLOCK(fs->first_object);
  		...
  	}
  	...
  }

@@
expression list es;
statement S;
@@
  vm_object_collapse_scan(...)
  {
+ 	bool rename_fails;
  	<+...
+ 	rename_fails = false;
+ 	KFAIL_POINT_CODE(DEBUG_FP, vmob_scan_rename_unlock, rename_fails = true);
  	if (
- 	    vm_page_rename(es)
+ 	    rename_fails || vm_page_rename(es)
  	    )
  		S
  	...+>
  }

// release 15: by an iterator, and true is success
@@
expression list es;
statement S;
@@
  vm_object_collapse_scan(...)
  {
+ 	bool rename_fails;
  	<+...
+ 	rename_fails = false;
+ 	KFAIL_POINT_CODE(DEBUG_FP, vmob_scan_rename_unlock, rename_fails = true);
  	if (
- 	    !vm_page_iter_rename(es)
+ 	    rename_fails || !vm_page_iter_rename(es)
  	    )
  		S
  	...+>
  }
