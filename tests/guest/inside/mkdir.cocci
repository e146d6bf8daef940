// SPDX-License-Identifier: GPL-2.0
// mkdir(2) returns what the hook says.
// files: fs/namei.c
@@
expression dir;
@@
+ FAIL_POINT_RETURN(mkdir);
  if (!dir->i_op->mkdir)
    return -EPERM;
