#include "videos.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libavcodec/avcodec.h>
#include <libavutil/display.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

static void good(int code, const char *what)
{
    if (code < 0)
        fail_msg("%s: %d", what, code);
}

static void open_output(video_maker *m, const char *path)
{
    av_log_set_level(AV_LOG_QUIET);
    *m = (video_maker){0};
    good(avformat_alloc_output_context2(&m->file, NULL, NULL, path), path);
    good(avio_open(&m->file->pb, path, AVIO_FLAG_WRITE), path);
    m->stream = avformat_new_stream(m->file, NULL);
    assert_non_null(m->stream);
}

void video_begin(video_maker *m, const char *path, const video_kind *kind)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(kind->codec != NULL ? kind->codec : "ffv1");
    open_output(m, path);
    assert_non_null(codec);
    m->codec = avcodec_alloc_context3(codec);
    m->codec->width = kind->width;
    m->codec->height = kind->height;
    m->codec->pix_fmt = av_get_pix_fmt(kind->format != NULL ? kind->format : "yuv444p");
    m->codec->time_base = (AVRational){1, 1000};
    m->codec->color_range = AVCOL_RANGE_MPEG;
    m->codec->gop_size = kind->keys;
    m->codec->thread_count = kind->threads > 0 ? kind->threads : 1;
    m->codec->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;
    if (kind->quality > 0) {
        m->codec->flags |= AV_CODEC_FLAG_QSCALE;
        m->codec->global_quality = kind->quality * FF_QP2LAMBDA;
    }
    if (kind->preset != NULL)
        av_opt_set(m->codec->priv_data, "preset", kind->preset, 0);
    if (kind->codec != NULL && strcmp(kind->codec, "libx265") == 0)
        av_opt_set(m->codec->priv_data, "x265-params", "log-level=none", 0); /* it talks on stderr otherwise */
    if ((m->file->oformat->flags & AVFMT_GLOBALHEADER) != 0)
        m->codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    good(avcodec_open2(m->codec, codec, NULL), "open the encoder");
    good(avcodec_parameters_from_context(m->stream->codecpar, m->codec), "parameters");
    m->stream->time_base = m->codec->time_base;
    if (kind->rotation != 0) {
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 29, 100)
        AVPacketSideData *side =
            av_packet_side_data_new(&m->stream->codecpar->coded_side_data, &m->stream->codecpar->nb_coded_side_data,
                                    AV_PKT_DATA_DISPLAYMATRIX, 9 * sizeof(int32_t), 0);
        uint8_t *matrix = side->data;
#else
        uint8_t *matrix = av_stream_new_side_data(m->stream, AV_PKT_DATA_DISPLAYMATRIX, 9 * sizeof(int32_t));
#endif
        av_display_rotation_set((int32_t *)(void *)matrix, kind->rotation);
    }
    good(avformat_write_header(m->file, NULL), "header");
}

static void drain(video_maker *m)
{
    AVPacket *packet = av_packet_alloc();
    while (avcodec_receive_packet(m->codec, packet) == 0) {
        av_packet_rescale_ts(packet, m->codec->time_base, m->stream->time_base);
        packet->stream_index = 0;
        good(av_interleaved_write_frame(m->file, packet), "write");
    }
    av_packet_free(&packet);
}

static AVFrame *new_frame(video_maker *m, double seconds)
{
    AVFrame *frame = av_frame_alloc();
    frame->width = m->codec->width;
    frame->height = m->codec->height;
    frame->format = m->codec->pix_fmt;
    frame->pts = llround(seconds * 1000);
    frame->quality = m->codec->global_quality;
    good(av_frame_get_buffer(frame, 0), "frame");
    return frame;
}

static void send(video_maker *m, AVFrame *frame)
{
    good(avcodec_send_frame(m->codec, frame), "encode");
    av_frame_free(&m->last);
    m->last = frame;
    drain(m);
}

void video_repeat(video_maker *m, double seconds)
{
    m->last->pts = llround(seconds * 1000);
    good(avcodec_send_frame(m->codec, m->last), "encode");
    drain(m);
}

void video_add(video_maker *m, const uint8_t *rgb, double seconds)
{
    AVFrame *frame = new_frame(m, seconds);
    m->sws =
        sws_getCachedContext(m->sws, frame->width, frame->height, AV_PIX_FMT_RGB24, frame->width, frame->height,
                             m->codec->pix_fmt, SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    const int *space = sws_getCoefficients(frame->height > 576 ? SWS_CS_ITU709 : SWS_CS_ITU601);
    sws_setColorspaceDetails(m->sws, space, 1, space, 0, 0, 1 << 16, 1 << 16);
    const uint8_t *planes[4] = {rgb};
    int strides[4] = {frame->width * 3};
    sws_scale(m->sws, planes, strides, 0, frame->height, frame->data, frame->linesize);
    send(m, frame);
}

void video_add_grey(video_maker *m, int level, double seconds)
{
    AVFrame *frame = new_frame(m, seconds);
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(m->codec->pix_fmt);
    int shift = format->comp[0].depth - 8;
    for (int plane = 0; plane < 3; plane++) {
        int rows = plane == 0 ? frame->height : AV_CEIL_RSHIFT(frame->height, format->log2_chroma_h);
        int value = (plane == 0 ? 16 + level * 219 / 255 : 128) << shift;
        for (int y = 0; y < rows; y++) {
            uint8_t *row = frame->data[plane] + y * frame->linesize[plane];
            for (int x = 0; x < frame->linesize[plane] >> (shift > 0); x++) {
                if (shift > 0)
                    ((uint16_t *)(void *)row)[x] = (uint16_t)value;
                else
                    row[x] = (uint8_t)value;
            }
        }
    }
    send(m, frame);
}

void video_end(video_maker *m)
{
    if (m->codec != NULL) {
        avcodec_send_frame(m->codec, NULL);
        drain(m);
    }
    good(av_write_trailer(m->file), "trailer");
    avio_closep(&m->file->pb);
    avcodec_free_context(&m->codec);
    av_frame_free(&m->last);
    avformat_free_context(m->file);
    sws_freeContext(m->sws);
}

void audio_only(const char *path)
{
    video_maker m;
    open_output(&m, path);
    m.stream->codecpar->codec_type = AVMEDIA_TYPE_AUDIO;
    m.stream->codecpar->codec_id = AV_CODEC_ID_PCM_S16LE;
    m.stream->codecpar->sample_rate = 8000;
    m.stream->codecpar->format = AV_SAMPLE_FMT_S16;
    m.stream->codecpar->bits_per_coded_sample = 16;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(59, 24, 100)
    av_channel_layout_default(&m.stream->codecpar->ch_layout, 1);
#else
    m.stream->codecpar->channels = 1;
    m.stream->codecpar->channel_layout = AV_CH_LAYOUT_MONO;
#endif
    m.stream->codecpar->block_align = 2;
    m.stream->time_base = (AVRational){1, 8000};
    good(avformat_write_header(m.file, NULL), "header");
    AVPacket *packet = av_packet_alloc();
    good(av_new_packet(packet, 16000), "packet");
    memset(packet->data, 0, 16000);
    packet->pts = packet->dts = 0;
    packet->duration = 8000;
    good(av_interleaved_write_frame(m.file, packet), "write");
    av_packet_free(&packet);
    video_end(&m);
}
