/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames of the control channel. harness/console/frames.py is the other end:
 *
 *   u8 0xA5, u8 0x5A, u8 type, u8 flags, u16 id, u16 length, payload, u32 crc32 (type..payload)
 *
 * all little endian, with the CRC-32 of IEEE 802.3. `id` names the request that a frame belongs to;
 * 0 is nobody's. Nothing in here or in frames.c needs a C library beyond memcpy() and memmove().
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum frame_type {
	F_PING = 1, F_EXEC = 2, F_KILL = 3, F_PUT = 4, F_DATA = 5, F_CLOSE = 6, F_GET = 7,
	F_POWEROFF = 8, F_WINSIZE = 9,
	F_READY = 65, F_PONG = 66, F_OUTPUT = 67, F_EXIT = 68, F_ACK = 69, F_CONTENT = 70,
	F_ERROR = 71,
};
enum { FLAG_TERMINAL = 1 };	/* of EXEC */
enum { FRAME_HEADER = 8, MAX_PAYLOAD = 2048, FRAME_TRAILER = 4 };
enum { MAX_FRAME = FRAME_HEADER + MAX_PAYLOAD + FRAME_TRAILER };

struct frame {
	uint8_t type, flags;
	uint16_t id, length;
	uint8_t payload[MAX_PAYLOAD + 1];	/* a 0 follows it: paths and commands end there */
};

/* What came over the line and is no whole frame yet: `have` of the bytes. */
struct frame_buffer {
	size_t have;
	uint8_t bytes[4 * MAX_FRAME];
};

enum frame_found { FRAME_NONE, FRAME_WHOLE, FRAME_DAMAGED };

/* Writes a frame to `into`, which has room for MAX_FRAME bytes; how many bytes it has. */
size_t frame_encode(uint8_t *into, int type, uint16_t id, const void *payload, size_t length);
/*
 * Takes the first frame off the front of the buffer, with whatever precedes it. FRAME_NONE: more
 * bytes are needed; FRAME_DAMAGED: a checksum was wrong, and there may be frames behind it.
 */
enum frame_found frame_decode(struct frame_buffer *from, struct frame *frame);

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v);
	put16(p + 2, v >> 16);
}

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}
