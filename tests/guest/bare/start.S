/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry of the bare guest (x86, multiboot): both processors into flat 32-bit mode, the two
 * interrupt handlers, and the points that failpoint rules are attached to.
 */
	.set	TRAMPOLINE, 0x8000	/* SIPI vector 8 */
	.set	STACK_SIZE, 8192

	.text
	.code32
	/* Multiboot specification 0.6.96, section 3.1: in the first 8 KiB of the file. */
	.align	4
	.long	0x1badb002, 0, -0x1badb002
	.globl	_start
_start:
	cli
	lgdt	gdt_pointer
	ljmp	$0x08, $1f
1:	call	load_segments
	mov	$boot_stack_top, %esp
	/* The application processor starts in real mode, at a page below 1 MiB. */
	mov	$ap_trampoline, %esi
	mov	$TRAMPOLINE, %edi
	mov	$(ap_trampoline_end - ap_trampoline), %ecx
	cld
	rep movsb
	call	boot_processor
2:	hlt
	jmp	2b

load_segments:
	mov	$0x10, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %fs
	mov	%ax, %gs
	mov	%ax, %ss
	ret

	.code16
ap_trampoline:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	TRAMPOLINE + (ap_gdt_pointer - ap_trampoline)
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$0x08, $ap_start
	.align	4
ap_gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_trampoline_end:

	.code32
ap_start:
	mov	$0x10, %ax
	mov	%ax, %ss
	mov	$ap_stack_top, %esp
	call	load_segments
	call	application_processor
3:	hlt
	jmp	3b

	/* Both only wake their processor from hlt. */
	.globl	on_serial, on_ipi
on_serial:
	push	%eax
	mov	$0x20, %al		/* end of interrupt, to the 8259 */
	out	%al, $0x20
	pop	%eax
	iret
on_ipi:
	movl	$0, 0xfee000b0		/* end of interrupt, to the local APIC */
	iret

	/* The points: a call passes each once. */
	.macro	point name
	.globl	\name
	.type	\name, @function
\name:	nop
	ret
	.size	\name, . - \name
	.endm
	.align	16
	point	point_attempt
	point	point_gate
	point	point_window
	point	point_release
	point	point_probe
	point	point_second

	.section .rodata
	.align	8
gdt:	.quad	0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt

	.bss
	.align	16
	.skip	STACK_SIZE
boot_stack_top:
	.skip	STACK_SIZE
ap_stack_top:

	.section .note.GNU-stack, "", @progbits
