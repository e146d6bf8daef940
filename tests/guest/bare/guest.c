/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of two processors that does what the host asks: passes points, races, spins.
 *
 * Serial port 1: a command byte and a 32-bit count come in, a 32-bit result goes out; one 'R' at
 * the beginning says that both processors run.  Processors that have nothing to do halt.
 */
#include <stdint.h>

#define COM1 0x3f8
#define DEBUG_EXIT 0xf4
#define APIC_REGISTER(offset) (*(volatile uint32_t *)(0xfee00000u + (offset)))
#define SPURIOUS 0xf0
#define COMMAND_LOW 0x300
#define TO_OTHERS 0xc0000u /* destination shorthand: all excluding self */
#define IPI_VECTOR 0x40
#define SERIAL_VECTOR 0x24 /* IRQ 4 */

void on_serial(void);
void on_ipi(void);
void point_attempt(void);
void point_gate(void);
void point_window(void);
void point_release(void);
void point_probe(void);
void point_second(void);

enum { IDLE, PROBE, WINDOW };

static volatile uint32_t ap_runs, ap_job, ap_count, ap_done;
static volatile uint32_t flag, effective;

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void relax(void)
{
	__asm__ volatile("pause" : : : "memory");
}

/* ---- interrupts ---- */

static struct {
	uint16_t low, selector, flags, high;
} gates[256];

static void set_gate(unsigned vector, void (*handler)(void))
{
	uint32_t address = (uint32_t)handler;

	gates[vector].low = (uint16_t)address;
	gates[vector].selector = 0x08;
	gates[vector].flags = 0x8e00; /* present, 32-bit interrupt gate */
	gates[vector].high = (uint16_t)(address >> 16);
}

static void load_gates(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) pointer = { sizeof gates - 1, (uint32_t)gates };

	__asm__ volatile("lidt %0" : : "m"(pointer));
	APIC_REGISTER(SPURIOUS) = 0x1ff; /* software enable */
}

static void route_serial_interrupt(void)
{
	/* Both 8259s: initialise, vectors from 0x20 and 0x28, cascaded, 8086 mode; only IRQ 4. */
	static const uint8_t words[] = { 0x11, 0x20, 0x04, 0x01 };
	static const uint8_t second[] = { 0x11, 0x28, 0x02, 0x01 };

	for (int i = 0; i < 4; i++) {
		out8(i ? 0x21 : 0x20, words[i]);
		out8(i ? 0xa1 : 0xa0, second[i]);
	}
	out8(0x21, (uint8_t)~(1 << 4));
	out8(0xa1, 0xff);
	out8(COM1 + 4, 0x0b); /* DTR, RTS, OUT2: interrupts reach the 8259 */
	out8(COM1 + 1, 0x01); /* on received data */
}

/* Halts until the condition holds; an interrupt between the test and hlt is not lost, as sti
 * takes effect after the next instruction. */
#define HALT_UNTIL(condition)                                                                     \
	do {                                                                                      \
		__asm__ volatile("cli" : : : "memory");                                           \
		while (!(condition))                                                              \
			__asm__ volatile("sti; hlt; cli" : : : "memory");                         \
	} while (0)

/* ---- serial port ---- */

static int received(void)
{
	return in8(COM1 + 5) & 1;
}

static uint8_t receive(void)
{
	HALT_UNTIL(received());
	return in8(COM1);
}

static uint32_t receive32(void)
{
	uint32_t value = 0;

	for (int i = 0; i < 4; i++)
		value |= (uint32_t)receive() << 8 * i;
	return value;
}

static void send(uint8_t byte)
{
	while (!(in8(COM1 + 5) & 0x20))
		relax();
	out8(COM1, byte);
}

static void send32(uint32_t value)
{
	for (int i = 0; i < 4; i++)
		send((uint8_t)(value >> 8 * i));
}

/* ---- the application processor ---- */

static void probe(uint32_t count)
{
	while (count--)
		point_probe();
}

void application_processor(void)
{
	load_gates();
	ap_runs = 1;
	for (;;) {
		HALT_UNTIL(ap_job != IDLE);
		if (ap_job == PROBE) {
			probe(ap_count);
		} else {
			point_window();
			effective += flag;
		}
		ap_job = IDLE;
		ap_done = 1;
	}
}

static void begin_on_ap(uint32_t job, uint32_t count)
{
	ap_done = 0;
	ap_count = count;
	ap_job = job;
	APIC_REGISTER(COMMAND_LOW) = TO_OTHERS | 0x4000 | IPI_VECTOR;
}

static void await_ap(void)
{
	while (!ap_done)
		relax();
}

static void start_ap(void)
{
	APIC_REGISTER(COMMAND_LOW) = TO_OTHERS | 0x4500; /* INIT */
	for (int i = 0; i < 10000; i++)
		relax();
	while (!ap_runs) {
		APIC_REGISTER(COMMAND_LOW) = TO_OTHERS | 0x4608; /* SIPI, vector 8 */
		for (int i = 0; i < 10000; i++)
			relax();
	}
}

/* ---- commands ---- */

/* The window processor reads the flag right after its window; this one sets it a while later. */
static uint32_t race(uint32_t attempts)
{
	effective = 0;
	for (uint32_t i = 0; i < attempts; i++) {
		flag = 0;
		point_attempt();
		begin_on_ap(WINDOW, 0);
		point_gate();
		for (volatile int spin = 0; spin < 20000; spin++)
			;
		flag = 1;
		point_release();
		await_ap();
	}
	return effective;
}

static uint32_t burn(uint32_t rounds)
{
	static uint32_t memory[1024];
	uint32_t x = 1;

	for (uint32_t i = 0; i < rounds * 1000; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		memory[x % 1024] += x;
	}
	return memory[0];
}

static uint32_t obey(uint8_t command, uint32_t count)
{
	switch (command) {
	case 'a': /* probe here */
		probe(count);
		return count;
	case 'A': /* probe on the application processor */
		begin_on_ap(PROBE, count);
		await_ap();
		return count;
	case 'b': /* probe on both at once */
		begin_on_ap(PROBE, count);
		probe(count);
		await_ap();
		return count;
	case 'd':
		for (uint32_t i = 0; i < count; i++)
			point_second();
		return count;
	case 'r':
		return race(count);
	case 'm':
		point_attempt();
		return 0;
	case 'k':
		return burn(count);
	case 's': /* spin in translated code until the next byte, which is then a new command's */
		while (!received())
			relax();
		return 0;
	case 'x':
		out8(DEBUG_EXIT, (uint8_t)count);
	}
	return UINT32_MAX;
}

void boot_processor(void)
{
	set_gate(SERIAL_VECTOR, on_serial);
	set_gate(IPI_VECTOR, on_ipi);
	load_gates();
	route_serial_interrupt();
	start_ap();
	send('R');
	for (;;) {
		uint8_t command = receive();
		uint32_t count = receive32();

		send32(obey(command, count));
	}
}
