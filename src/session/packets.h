/* packets.h - packets read ahead of a decoder, to know which of them it may leave out.
 *
 * To show what was on screen at a moment, pictures before it that no other picture is predicted from need not be
 * decoded. Which picture is on screen then is known once all packets are read that could be it. */
#ifndef ES_SESSION_PACKETS_H
#define ES_SESSION_PACKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libavformat/avformat.h>

typedef struct es_packets {
    AVFormatContext *file; /* borrowed */
    int stream;            /* the others' packets are passed over */
    AVPacket **items;      /* in order of decoding, from `first` on */
    size_t first, count, room, bytes;
    int ended;       /* what reading ended with: AVERROR_EOF or another of FFmpeg's codes; 0: it goes on */
    bool blind;      /* a packet tells no time: nothing can be left out */
    int64_t on_show; /* the time of the picture on screen at the moment asked for; INT64_MIN: not known */
} es_packets;

/* Reads until it is known which picture is on screen at `until`, by the stream's clock. AVERROR(ENOMEM), or 0: all
 * else is found out by taking. */
int es_packets_look(es_packets *packets, int64_t until);
/* The next packet for the decoder: av_packet_free. NULL at the end (see `ended`), or without memory (AVERROR(ENOMEM) in
 * *code, else 0). */
AVPacket *es_packets_take(es_packets *packets, int *code);
/* Whether the decoder may leave the packet out, if nothing is predicted from it. */
bool es_packets_may_skip(const es_packets *packets, const AVPacket *packet);
/* Forgets what was read: the file goes to another place. */
void es_packets_clear(es_packets *packets);
void es_packets_free(es_packets *packets);

#endif
