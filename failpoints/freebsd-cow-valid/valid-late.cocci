// SPDX-License-Identifier: BSD-2-Clause
// files: sys/vm/vm_fault.c
// only where sys/vm/vm_fault.c has: vm_page_valid(fs->first_m);
// takes from sys/vm/vm_fault.c: vm_page_valid(fs->first_m);
// adds to sys/vm/vm_fault.c: vm_page_valid(fs.m);
//
// What FreeBSD's c98367641991 does: the copy that a COW fault makes is marked valid only once
// nothing can make the fault start anew, so that a page that is still mapped is never shadowed by
// a valid one. A tree that has the fix is left as it is.
@@
struct faultstate *fs;
@@
  pmap_copy_page(fs->m, fs->first_m);
- vm_page_valid(fs->first_m);

@@
expression E;
@@
+ if (fs.m_cow != NULL)
+	vm_page_valid(fs.m);
  KASSERT(vm_page_all_valid(fs.m), E);
