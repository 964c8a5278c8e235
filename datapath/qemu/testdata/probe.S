/* The firmware of the probe in accel.go, as a ROM of 64 KiB: 64-bit mode with
   paging (Intel SDM vol. 3A, 10.8.5), writes to memory, and an exit by
   isa-debug-exit. TestProbeSource holds the bytes in accel.go against it. */
	.code16
	.globl _start
_start:
	cli
	xorw %ax,%ax
	movw %ax,%ss
	movw $0x7000,%sp
	# page tables at 0x1000..: PML4, PDPT, PD with one 2 MiB page
	movw %ax,%es
	cld
	movw $0x1000,%di
	movw $0x1800,%cx
	rep stosw
	movw $0x2003,%es:0x1000
	movw $0x3003,%es:0x2000
	movw $0x0083,%es:0x3000
	lgdtl %cs:gdtp
	movl $0x20,%eax
	movl %eax,%cr4
	movl $0x1000,%eax
	movl %eax,%cr3
	movl $0xc0000080,%ecx
	rdmsr
	orl $0x100,%eax
	wrmsr
	movl %cr0,%eax
	orl $0x80000001,%eax
	movl %eax,%cr0
	ljmpl $8,$(0xf0000+long)
	.code64
long:
	movl $100000,%ecx
1:	incq 0x8000
	decl %ecx
	jnz 1b
	movb $0x15,%al
	outb %al,$0xf4
2:	hlt
	jmp 2b
	.align 8
gdt:	.quad 0
	.quad 0x00209a0000000000
gdtp:	.word 15
	.long 0xf0000+gdt
	.org 0xfff0
	.code16
	ljmp $0xf000,$0
	.org 0x10000
