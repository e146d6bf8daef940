// SPDX-License-Identifier: BSD-2-Clause
// files: sys/vm/vm_fault.c
// not where sys/vm/vm_fault.c has: vm_page_valid(fs->first_m);
// adds to sys/vm/vm_fault.c: vm_page_valid(fs->first_m);
// takes from sys/vm/vm_fault.c: vm_page_valid(fs.m);
//
// The way back from FreeBSD's c98367641991, for trees that have it (releases 14.3 and 15): a COW
// fault's copy is marked valid at once, as before. A tree without the fix is left as it is.
@@
struct faultstate *fs;
@@
  pmap_copy_page(fs->m, fs->first_m);
+ vm_page_valid(fs->first_m);

@@
@@
- if (fs.m_cow != NULL) {
- 	...
- 	vm_page_valid(fs.m);
- }
