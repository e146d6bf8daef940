// SPDX-License-Identifier: GPL-2.0
// The reader of a tmpfs file has copied a page and has not looked at the next one yet.
// files: mm/shmem.c
@@ expression page, offset, nr, to, ret; @@
  ret = copy_page_to_iter(page, offset, nr, to);
+ FAIL_POINT(shmem_copied);
