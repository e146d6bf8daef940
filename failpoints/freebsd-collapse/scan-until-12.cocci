// SPDX-License-Identifier: BSD-2-Clause
// files: sys/vm/vm_fault.c sys/vm/vm_object.c
// only where sys/vm/vm_object.c has: OBSC_COLLAPSE_WAIT
// adds to sys/vm/vm_fault.c: DEBUG_FP, unlock_and_deallocate_relock,
// adds to sys/vm/vm_object.c: DEBUG_FP, vmob_scan_rename_unlock,
// adds to sys/vm/vm_object.c: if ((rename_fails &&
// adds to sys/vm/vm_object.c: collapse_windows++;
//
// For trees whose scan has its modes (releases 10 to 12), and which are built in a guest: the code
// that they have, with the fail points of the report (FreeBSD D4103) where its diff has them, and
// vm.collapse_windows, which counts what a scan in the waiting mode meets: a busy, invalid page of
// the parent above a page that is still mapped. Nothing is put back here, and nothing mended but
// one word: in 10.1, a scan whose rename fails locks the backing object a second time where it
// should let go of it, which ends every kernel with INVARIANTS; the report's tree has it right.

@@
@@
  #include <sys/systm.h>
+ #include <sys/fail.h>

@@
identifier fs;
@@
  unlock_and_deallocate(struct faultstate *fs)
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
symbol p, pp, op, new_pindex;
typedef vm_object_t;
type T;
identifier object;
identifier scan =~ "^vm_object_(backing|collapse)_scan$";
expression list es;
statement S;
@@
+ static u_int collapse_windows;
+ SYSCTL_UINT(_vm, OID_AUTO, collapse_windows, CTLFLAG_RD, &collapse_windows, 0,
+     "Busy, invalid pages of a parent that a collapse met above a mapped page");
+
  T scan(vm_object_t object, int op)
  {
+ 	bool rename_fails;
  	<+...
+ 	rename_fails = false;
+ 	KFAIL_POINT_CODE(DEBUG_FP, vmob_scan_rename_unlock, rename_fails = true);
  	if (
- 	    vm_page_rename(es)
+ 	    (rename_fails && (op & OBSC_COLLAPSE_NOWAIT) == 0) || vm_page_rename(es)
  	    )
  		S
  	...+>
  }

@@
identifier object;
identifier scan =~ "^vm_object_(backing|collapse)_scan$";
@@
  scan(vm_object_t object, int op)
  {
  	<+...
  	pp = vm_page_lookup(object, new_pindex);
+ 	if ((op & OBSC_COLLAPSE_WAIT) != 0 && pp != NULL && vm_page_busied(pp) &&
+ 	    pp->valid == 0 && pmap_page_is_mapped(p))
+ 		collapse_windows++;
  	...+>
  }

@@
expression backing, parent;
@@
- VM_OBJECT_WLOCK(backing);
+ VM_OBJECT_WUNLOCK(backing);
  VM_OBJECT_WUNLOCK(parent);
  VM_WAIT;
