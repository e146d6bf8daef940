/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames of the control channel: made, and taken apart. */
#include "frames.h"

/* Declared here, since a freestanding program has no <string.h>. */
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);

enum { MAGIC = 2, MAGIC_0 = 0xa5, MAGIC_1 = 0x5a };

static uint32_t crc32(const uint8_t *p, size_t n)
{
	static uint32_t table[256];
	uint32_t c = ~0u;

	for (uint32_t i = 0; !table[255] && i < 256; i++) {
		uint32_t entry = i;

		for (int bit = 0; bit < 8; bit++)
			entry = entry & 1 ? 0xedb88320u ^ entry >> 1 : entry >> 1;
		table[i] = entry;
	}
	while (n--)
		c = table[(c ^ *p++) & 255] ^ c >> 8;
	return ~c;
}

size_t frame_encode(uint8_t *into, int type, uint16_t id, const void *payload, size_t length)
{
	uint8_t *end = into + FRAME_HEADER + length;

	into[0] = MAGIC_0;
	into[1] = MAGIC_1;
	into[2] = (uint8_t)type;
	into[3] = 0;
	put16(into + 4, id);
	put16(into + 6, (uint32_t)length);
	if (length)
		memcpy(into + FRAME_HEADER, payload, length);
	put32(end, crc32(into + MAGIC, FRAME_HEADER - MAGIC + length));
	return FRAME_HEADER + length + FRAME_TRAILER;
}

static void drop(struct frame_buffer *from, size_t n)
{
	from->have -= n;
	memmove(from->bytes, from->bytes + n, from->have);
}

enum frame_found frame_decode(struct frame_buffer *from, struct frame *frame)
{
	size_t at = 0;

	for (; from->have - at >= FRAME_HEADER + FRAME_TRAILER; at++) {
		const uint8_t *f = from->bytes + at;
		size_t length = get16(f + 6);

		if (f[0] != MAGIC_0 || f[1] != MAGIC_1 || length > MAX_PAYLOAD)
			continue;
		if (from->have - at < FRAME_HEADER + length + FRAME_TRAILER)
			break;
		if (crc32(f + MAGIC, FRAME_HEADER - MAGIC + length) !=
		    get32(f + FRAME_HEADER + length)) {
			drop(from, at + 1);
			return FRAME_DAMAGED;
		}
		frame->type = f[2];
		frame->flags = f[3];
		frame->id = get16(f + 4);
		frame->length = (uint16_t)length;
		memcpy(frame->payload, f + FRAME_HEADER, length);
		frame->payload[length] = 0;
		drop(from, at + FRAME_HEADER + length + FRAME_TRAILER);
		return FRAME_WHOLE;
	}
	drop(from, at);
	return FRAME_NONE;
}
