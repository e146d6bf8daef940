/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Into the shim, by the multiboot protocol (GNU multiboot specification 0.6.96, 3.1 and 3.2: 32-bit
 * protected mode, %eax the magic number, %ebx the information), and out of it, into the kernel.
 */
#define MAGIC 0x1BADB002
#define FLAGS 0x3	/* modules on page borders; say how much memory there is */

	.section .multiboot, "a"
	.align 4
	.long MAGIC, FLAGS, -(MAGIC + FLAGS)

	.text
	.globl _start
_start:
	cli
	cld
	mov $stack_top, %esp
	push %ebx
	push %eax
	call prepare
	/* prepare() does not come back */

/*
 * void enter(uint32_t page_table, uint32_t entry_low, uint32_t entry_high, uint32_t modulep,
 *	      uint32_t kernel_end)
 *
 * The kernel begins in 64-bit mode with paging on, and finds what it was handed above the 32-bit
 * return address of a caller that there is not (sys/amd64/amd64/locore.S, btext).
 */
	.globl enter
enter:
	mov 4(%esp), %eax
	mov 8(%esp), %esi
	mov 12(%esp), %edi
	mov 16(%esp), %ebx
	mov 20(%esp), %ebp
	mov %eax, %cr3
	mov %cr4, %eax
	or $0x20, %eax			/* CR4.PAE */
	mov %eax, %cr4
	mov $0xC0000080, %ecx		/* EFER */
	rdmsr
	or $0x100, %eax			/* EFER.LME */
	wrmsr
	mov %cr0, %eax
	or $0x80000001, %eax		/* CR0.PG, CR0.PE */
	mov %eax, %cr0
	lgdt gdt_pointer
	ljmp $8, $long_mode

	.code64
long_mode:
	mov $16, %eax
	mov %eax, %ss
	mov %eax, %ds
	mov %eax, %es
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov $stack_top - 16, %esp
	movl $0, (%rsp)
	movl %ebx, 4(%rsp)
	movl %ebp, 8(%rsp)
	shl $32, %rdi
	mov %esi, %esi
	or %rsi, %rdi
	jmp *%rdi
	.code32

/* void give_up(void): a fault without a handler resets the machine, and QEMU ends (-no-reboot) */
	.globl give_up
give_up:
	lidt no_idt
	int3
1:	hlt
	jmp 1b

	.data
	.align 8
gdt:	.quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
	.word . - gdt - 1
	.long gdt
no_idt:	.word 0
	.long 0

	.bss
	.align 16
	.skip 16384
stack_top:
