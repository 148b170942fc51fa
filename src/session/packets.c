#include "session/packets.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define REORDERED_MOST                                                                                                 \
    16 /* pictures that may be decoded before one and shown after it: H.264 and HEVC allow no more                     \
        */
#define BYTES_MOST ((size_t)64 << 20)
#define PACKETS_MOST 20000

/* Reads one packet of the stream to the end of the queue; 0, or what ended it. */
static int read_one(es_packets *p)
{
    AVPacket *packet = av_packet_alloc();
    int code = packet == NULL ? AVERROR(ENOMEM) : 0;
    while (code == 0) {
        code = av_read_frame(p->file, packet);
        if (code < 0 || packet->stream_index == p->stream)
            break;
        av_packet_unref(packet);
    }
    if (code == 0 && p->first > 0 && p->first + p->count == p->room) {
        memmove(p->items, p->items + p->first, p->count * sizeof(AVPacket *));
        p->first = 0;
    }
    void *items = p->items;
    if (code == 0 && es_grow(&items, &p->room, p->first + p->count + 1, sizeof *p->items) != 0)
        code = AVERROR(ENOMEM);
    p->items = items;
    if (code < 0) {
        av_packet_free(&packet);
        p->ended = code == AVERROR(ENOMEM) ? p->ended : code;
        return code;
    }
    p->items[p->first + p->count++] = packet;
    p->bytes += (size_t)packet->size;
    p->blind = p->blind || packet->pts == AV_NOPTS_VALUE;
    return 0;
}

int es_packets_look(es_packets *p, int64_t until)
{
    size_t after = 0, seen = 0;
    p->on_show = INT64_MIN;
    while (!p->blind && after <= REORDERED_MOST) {
        if (seen == p->count) {
            if (p->ended != 0)
                break;
            if (p->count >= PACKETS_MOST || p->bytes >= BYTES_MOST) {
                p->on_show = INT64_MIN;
                return 0;
            }
            int code = read_one(p);
            if (code == AVERROR(ENOMEM))
                return code;
            if (code < 0)
                break;
        }
        int64_t at = p->items[p->first + seen++]->pts;
        after += at > until;
        if (at <= until && at != AV_NOPTS_VALUE && at > p->on_show)
            p->on_show = at;
    }
    p->on_show = p->blind ? INT64_MIN : p->on_show;
    return 0;
}

AVPacket *es_packets_take(es_packets *p, int *code)
{
    *code = 0;
    if (p->count == 0 && p->ended == 0) {
        int read = read_one(p);
        *code = read == AVERROR(ENOMEM) ? read : 0;
    }
    if (p->count == 0)
        return NULL;
    AVPacket *packet = p->items[p->first++];
    p->count--;
    p->bytes -= (size_t)packet->size;
    p->first = p->count == 0 ? 0 : p->first;
    return packet;
}

bool es_packets_may_skip(const es_packets *p, const AVPacket *packet)
{
    return packet->pts != AV_NOPTS_VALUE && packet->pts < p->on_show;
}

void es_packets_clear(es_packets *p)
{
    for (size_t i = 0; i < p->count; i++)
        av_packet_free(&p->items[p->first + i]);
    p->first = p->count = p->bytes = 0;
    p->ended = 0;
    p->on_show = INT64_MIN;
}

void es_packets_free(es_packets *p)
{
    es_packets_clear(p);
    free(p->items);
    *p = (es_packets){0};
}
