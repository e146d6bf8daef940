// SPDX-License-Identifier: BSD-2-Clause
// files: sys/vm/vm_object.c
// not where sys/vm/vm_object.c has: OBSC_COLLAPSE_WAIT
// adds to sys/vm/vm_object.c: collapse_windows++;
// adds to sys/vm/vm_object.c: if (pp_busy && !collapse_2015)
// adds to sys/vm/vm_object.c: if (pp != NULL && !pp_busy && vm_page_none_valid(pp))
// adds to sys/vm/vm_object.c: if (pp != NULL && !pp_busy)
// adds to sys/vm/vm_object.c: if (collapse_2015 &&
//
// With vm.collapse_2015=1 (a tunable too) a collapse does what vm_object_backing_scan() did in 2015
// in its waiting mode (FreeBSD D4103): it begins only while neither object is being paged, and a
// page of the parent that is busy counts as shadowing the page below it, which is freed; without,
// it waits for the page, as the tree does. vm.collapse_windows counts the states that differ: a
// busy, invalid page of the parent above a page that is still mapped.

@@
typedef vm_object_t;
type T;
identifier object;
@@
+ static bool collapse_2015;
+ SYSCTL_BOOL(_vm, OID_AUTO, collapse_2015, CTLFLAG_RWTUN, &collapse_2015, 0,
+     "Treat busy pages of the parent as vm_object_backing_scan() did in 2015");
+ static u_int collapse_windows;
+ SYSCTL_UINT(_vm, OID_AUTO, collapse_windows, CTLFLAG_RD, &collapse_windows, 0,
+     "Busy, invalid pages of a parent that a collapse met above a mapped page");
+
  T vm_object_collapse_scan(vm_object_t object)
  {
+ 	bool pp_busy;
  	...
  }

@@
symbol p, pp, new_pindex;
identifier object;
statement S;
@@
  vm_object_collapse_scan(vm_object_t object)
  {
  <+...
  	pp = vm_page_lookup(object, new_pindex);
- 	if (pp != NULL && vm_page_tryxbusy(pp) == 0) {
+ 	pp_busy = pp != NULL && vm_page_tryxbusy(pp) == 0;
+ 	if (pp_busy && vm_page_none_valid(pp) && pmap_page_is_mapped(p))
+ 		collapse_windows++;
+ 	if (pp_busy && !collapse_2015) {
  		...
  	}
- 	if (pp != NULL && vm_page_none_valid(pp)) {
+ 	if (pp != NULL && !pp_busy && vm_page_none_valid(pp)) {
  		...
  	}
  	if (pp != NULL || vm_pager_has_page(...)) {
  		...
- 		if (pp != NULL)
+ 		if (pp != NULL && !pp_busy)
  			S
  		...
  		continue;
  	}
  ...+>
  }

@@
identifier object, backing_object;
@@
  vm_object_collapse(vm_object_t object)
  {
  <+...
  backing_object = vm_object_backing_collapse_wait(object);
  if (backing_object == NULL)
  	return;
+ 	if (collapse_2015 && (blockcount_read(&object->paging_in_progress) != 0 ||
+ 	    blockcount_read(&backing_object->paging_in_progress) != 0)) {
+ 		VM_OBJECT_WUNLOCK(backing_object);
+ 		return;
+ 	}
  ...+>
  }
