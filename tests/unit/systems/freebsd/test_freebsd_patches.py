# SPDX-License-Identifier: BSD-2-Clause
"""The FreeBSD targets' semantic patches on code in the shape of releases 10 to 15.

The excerpts are written for this test: what the patches go by is as in the releases (checked
against 10.1, 10.4, 12.3, 13.2, a stable/14 of 2023 and 15.0), the rest is left out.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.kernels.source.patches import PatchedFiles
from harness.kernels.source.semantic import (
    apply_semantic_patches,
    needed_patches,
    read_semantic_patch,
)
from harness.paths import PROJECT

pytestmark = pytest.mark.skipif(
    shutil.which("spatch") is None, reason="coccinelle is not installed"
)
FAULT, OBJECT = "sys/vm/vm_fault.c", "sys/vm/vm_object.c"
COLLAPSE = ["report-failpoints.cocci", "scan-of-2015.cocci", "scan-until-12.cocci"]
EARLY = "\n\tvm_page_valid(fs->first_m);"
LATE = """
	if (fs.m_cow != NULL) {
		KASSERT(vm_page_none_valid(fs.m), ("valid already"));
		vm_page_valid(fs.m);
	}"""


def fault_c(release: int, *, fixed: bool) -> str:
    """vm_fault.c: since 14 its functions' names begin with vm_."""
    prefix = "" if release == 13 else "vm_"
    return f"""\
#include <sys/param.h>
#include <sys/systm.h>
#include <sys/kernel.h>

static void
{prefix}fault_deallocate(struct faultstate *fs)
{{
	vm_object_pip_wakeup(fs->object);
	if (fs->object != fs->first_object) {{
		VM_OBJECT_WLOCK(fs->first_object);
		{prefix}fault_page_free(&fs->first_m);
		VM_OBJECT_WUNLOCK(fs->first_object);
	}}
	vm_object_deallocate(fs->first_object);
}}

static int
vm_fault_relookup(struct faultstate *fs)
{{
	int result;

	if (!vm_map_trylock_read(fs->map))
		return (KERN_RESTART);
	result = look_again(fs);
	return (result);
}}

static void
vm_fault_cow(struct faultstate *fs)
{{
	pmap_copy_page(fs->m, fs->first_m);{"" if fixed else EARLY}
	fs->m_cow = fs->m;
	fs->m = fs->first_m;
}}

int
vm_fault(vm_map_t map, vm_offset_t vaddr)
{{
	struct faultstate fs;

	vm_page_assert_xbusied(fs.m);{LATE if fixed else ""}
	KASSERT(vm_page_all_valid(fs.m), ("partly valid"));
	return (KERN_SUCCESS);
}}
"""


def object_c(release: int) -> str:
    """vm_object.c: 15 goes through the pages by an iterator, and frees after it lets go of pp."""
    if release < 15:
        wait, rename = "object, ", "vm_page_rename(p, object, new_pindex)"
        end = """\
			if (vm_page_remove(p))
				vm_page_free(p);
			if (pp != NULL)
				vm_page_xunbusy(pp);
			continue;"""
    else:
        wait, rename = "&pages, object, ", "!vm_page_iter_rename(&pages, p, object, new_pindex)"
        end = """\
			if (pp != NULL)
				vm_page_xunbusy(pp);
			if (vm_page_iter_remove(&pages, p))
				vm_page_free(p);
			next = vm_radix_iter_step(&pages);
			continue;"""
    return f"""\
#include <sys/systm.h>
#include <sys/sysctl.h>

static void
vm_object_collapse_scan(vm_object_t object)
{{
	vm_object_t backing_object;
	vm_page_t next, p, pp;
	vm_pindex_t new_pindex;

	backing_object = object->backing_object;
	for (p = first_page(backing_object); p != NULL; p = next) {{
		if (vm_page_tryxbusy(p) == 0) {{
			next = vm_object_collapse_scan_wait({wait}p);
			continue;
		}}
		new_pindex = p->pindex;
		pp = vm_page_lookup(object, new_pindex);
		if (pp != NULL && vm_page_tryxbusy(pp) == 0) {{
			vm_page_xunbusy(p);
			next = vm_object_collapse_scan_wait({wait}pp);
			continue;
		}}
		if (pp != NULL && vm_page_none_valid(pp)) {{
			if (vm_page_remove(pp))
				vm_page_free(pp);
			pp = NULL;
		}}
		if (pp != NULL || vm_pager_has_page(object, new_pindex, NULL, NULL)) {{
			vm_pager_freespace(backing_object, p->pindex, 1);
{end}
		}}
		if ({rename}) {{
			vm_page_xunbusy(p);
			next = vm_object_collapse_scan_wait({wait}NULL);
			continue;
		}}
		vm_page_xunbusy(p);
		next = page_after(p);
	}}
}}

void
vm_object_collapse(vm_object_t object)
{{
	vm_object_t backing_object;

	while (TRUE) {{
		backing_object = vm_object_backing_collapse_wait(object);
		if (backing_object == NULL)
			return;
		vm_object_collapse_scan(object);
	}}
}}
"""


OLD_FAULT = """\
#include <sys/param.h>
#include <sys/systm.h>
#include <sys/kernel.h>

static void
unlock_and_deallocate(struct faultstate *fs)
{

	vm_object_pip_wakeup(fs->object);
	VM_OBJECT_WUNLOCK(fs->object);
	if (fs->object != fs->first_object) {
		VM_OBJECT_WLOCK(fs->first_object);
		vm_page_free(fs->first_m);
		VM_OBJECT_WUNLOCK(fs->first_object);
	}
	vm_object_deallocate(fs->first_object);
}
"""


def old_object_c(release: str) -> str:
    """vm_object.c before 13: a scan with modes; in 10.1, without a wait for the parent's page."""
    scan = "collapse_scan" if release == "12.3" else "backing_scan"
    if release == "10.1":
        look = "(op & OBSC_COLLAPSE_NOWAIT) != 0 && (pp != NULL && pp->valid == 0)"
        again = """\
				if (op & OBSC_COLLAPSE_NOWAIT) {
					p = next;
					continue;
				}
				VM_OBJECT_WLOCK(backing_object);
				VM_OBJECT_WUNLOCK(object);
				VM_WAIT;
				VM_OBJECT_WLOCK(object);
				VM_OBJECT_WLOCK(backing_object);
				p = first_page(backing_object);"""
    else:
        look = "pp != NULL && vm_page_busied(pp)"
        again = f"\t\t\t\tp = vm_object_{scan}_wait(object, NULL, next, op);"
    return f"""\
#include <sys/systm.h>
#include <sys/sysctl.h>

#define	OBSC_COLLAPSE_NOWAIT	0x0002
#define	OBSC_COLLAPSE_WAIT	0x0004

static bool
vm_object_{scan}(vm_object_t object, int op)
{{
	vm_object_t backing_object;
	vm_page_t p;

	backing_object = object->backing_object;
	p = first_page(backing_object);
	while (p) {{
		vm_page_t next = page_after(p);
		vm_pindex_t new_pindex = p->pindex;

		if (op & (OBSC_COLLAPSE_WAIT | OBSC_COLLAPSE_NOWAIT)) {{
			vm_page_t pp;

			pp = vm_page_lookup(object, new_pindex);
			if ({look}) {{
				p = next;
				continue;
			}}
			if (vm_page_rename(p, object, new_pindex)) {{
{again}
				continue;
			}}
		}}
		p = next;
	}}
	return (true);
}}
"""


def applied(
    folder: Path, target: str, names: Sequence[str], files: dict[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The files as the target's patches leave them, and what was said."""
    tree, into = folder / "tree", folder / "patched"
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    into.mkdir()
    said: list[str] = []
    patches = [read_semantic_patch(PROJECT / "failpoints" / target / name) for name in names]
    before = PatchedFiles(into, frozenset())
    needed = needed_patches(tree, before, patches, said.append)
    after = apply_semantic_patches(tree, before, needed, folder / "cache", said.append)
    return {
        name: ((into if name in after.names else tree) / name).read_text() for name in files
    }, said


@pytest.mark.parametrize("release", [13, 14, 15])
def test_the_reports_fail_points(tmp_path: Path, release: int) -> None:
    files = {FAULT: fault_c(release, fixed=release == 15), OBJECT: object_c(release)}
    result, said = applied(tmp_path, "freebsd-collapse", COLLAPSE, files)
    assert "scan-until-12.cocci is left out: " in said[0]
    fault, scan = ("".join(result[name].split()) for name in (FAULT, OBJECT))
    point = "KFAIL_POINT_CODE(DEBUG_FP,unlock_and_deallocate_relock,(void)0);"
    assert f"{point}VM_OBJECT_WLOCK(fs->first_object);" in fault
    rename = "!vm_page_iter_rename" if release == 15 else "vm_page_rename"
    assert f"vmob_scan_rename_unlock,rename_fails=true);if(rename_fails||{rename}(" in scan
    assert "if(pp_busy&&!collapse_2015){vm_page_xunbusy(p);" in scan
    assert "if(pp!=NULL&&!pp_busy)vm_page_xunbusy(pp);" in scan
    assert scan.count("collapse_2015&&(blockcount_read(") == 1


@pytest.mark.parametrize("release", ["10.1", "10.4", "12.3"])
def test_a_tree_from_before_13_keeps_its_scan(tmp_path: Path, release: str) -> None:
    files = {FAULT: OLD_FAULT, OBJECT: old_object_c(release)}
    result, said = applied(tmp_path, "freebsd-collapse", COLLAPSE, files)
    left_out = [line for line in said if "is left out" in line]
    assert [line.partition(" ")[0] for line in left_out] == COLLAPSE[:2]
    fault, scan = ("".join(result[name].split()) for name in (FAULT, OBJECT))
    point = "KFAIL_POINT_CODE(DEBUG_FP,unlock_and_deallocate_relock,(void)0);"
    assert f"{point}VM_OBJECT_WLOCK(fs->first_object);" in fault
    fails = "if((rename_fails&&(op&OBSC_COLLAPSE_NOWAIT)==0)||vm_page_rename("
    assert f"vmob_scan_rename_unlock,rename_fails=true);{fails}" in scan
    met = "vm_page_busied(pp)&&pp->valid==0&&pmap_page_is_mapped(p))collapse_windows++;"
    assert scan.count(met) == 1
    assert "collapse_2015" not in scan
    assert "VM_OBJECT_WLOCK(backing_object);VM_OBJECT_WUNLOCK(object);" not in scan
    lets_go = "VM_OBJECT_WUNLOCK(backing_object);VM_OBJECT_WUNLOCK(object);VM_WAIT;"
    assert (lets_go in scan) == (release == "10.1")


@pytest.mark.parametrize("release", [13, 14])
def test_a_tree_with_the_bug_gets_the_fix_and_stays_what_it_is_as_the_buggy_one(
    tmp_path: Path, release: int
) -> None:
    code = fault_c(release, fixed=False)
    fixed, said = applied(
        tmp_path / "fixed", "freebsd-cow-valid", ["relookup.cocci", "valid-late.cocci"],
        {FAULT: code},
    )  # fmt: skip
    assert EARLY not in fixed[FAULT]
    assert "if (fs.m_cow != NULL)\n\t\tvm_page_valid(fs.m);\n\tKASSERT" in fixed[FAULT]
    assert not any("left out" in line for line in said)
    buggy, said = applied(
        tmp_path / "buggy", "freebsd-cow-valid", ["valid-early.cocci"], {FAULT: code}
    )
    assert buggy[FAULT] == code
    (line,) = said
    assert line.startswith("valid-early.cocci is left out: sys/vm/vm_fault.c has `vm_page_valid")


def test_a_tree_with_the_fix_loses_it_as_the_buggy_one(tmp_path: Path) -> None:
    code = fault_c(15, fixed=True)
    buggy, _ = applied(
        tmp_path / "buggy", "freebsd-cow-valid", ["relookup.cocci", "valid-early.cocci"],
        {FAULT: code},
    )  # fmt: skip
    assert f"pmap_copy_page(fs->m, fs->first_m);{EARLY}" in buggy[FAULT]
    assert "m_cow != NULL)" not in buggy[FAULT].partition("int\nvm_fault(")[2]
    fixed, said = applied(
        tmp_path / "fixed", "freebsd-cow-valid", ["valid-late.cocci"], {FAULT: code}
    )
    assert fixed[FAULT] == code
    assert "left out: sys/vm/vm_fault.c has no `vm_page_valid(fs->first_m);`" in said[0]


def test_a_rule_that_fits_no_more_is_told(tmp_path: Path) -> None:
    files = {FAULT: fault_c(15, fixed=True), OBJECT: object_c(15).replace("iter_rename", "moved")}
    with pytest.raises(ConfigurationError, match="should add `DEBUG_FP, vmob_scan_rename_unlock,`"):
        applied(tmp_path, "freebsd-collapse", ["report-failpoints.cocci"], files)
