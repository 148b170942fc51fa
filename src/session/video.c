#include "session/video.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

#include "base/mem.h"
#include "base/thread.h"
#include "session/packets.h"

#define FORMATS "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,flv,ogg,gif"
#define THREADS_MOST 4
#define LAST_STAYS 3600.0 /* seconds beyond the last frame that a file may claim it was on screen */
#define TIME_MOST 3.6e6   /* seconds: a thousand hours */
#define JUMP_WORTH 1.0    /* seconds nearer by a jump to a key frame than by decoding on */
#define BACK 2.0          /* seconds that a key frame may be shown later than the index says */
#define FAULTS_MOST 4000  /* undecodable packets in a row before the rest is given up */
#define SWS_HOW (SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT)

struct es_video {
    char *path;
    AVFormatContext *file;
    AVCodecContext *codec;
    AVStream *stream;
    es_packets packets;
    AVFrame *held, *ahead; /* on screen at the time asked for, and the first one after it */
    struct SwsContext *to_rgb, *to_grey;
    double zero; /* the first frame's time by the stream's clock, seconds */
    double held_at, ahead_at;
    double ends; /* of the recording, once all is read */
    bool has_held, has_ahead, started;
    bool drained;  /* the file is read; the decoder still gives frames */
    bool finished; /* no more frames */
    bool given;    /* held was told of */
    bool may_jump; /* the index has been right so far */
    bool may_skip; /* of this codec we know that pictures left out change no others */
    bool broken;   /* reading failed, or a packet was cut */
    bool need_key; /* after a jump: what comes before the key frame is of no use */
    size_t damaged, faults;
    int quarter_turns; /* clockwise, to bring it upright */
    int width, height; /* upright */
    double stated;     /* the video stream's length as the file says, 0: it doesn't */
};

static double seconds_of(const es_video *v, int64_t ticks)
{
    return (double)ticks * av_q2d(v->stream->time_base);
}

/* FFmpeg's codes as a line of ours. */
static es_status fault(const es_video *v, int code, const char *doing, es_error *err)
{
    char why[AV_ERROR_MAX_STRING_SIZE] = "";
    if (code == AVERROR(ENOMEM))
        return es_fail_memory(err, "a recording", 0);
    av_strerror(code, why, sizeof why);
    if (code == AVERROR(ENOENT) || code == AVERROR(EACCES) || code == AVERROR(EIO) || code == AVERROR(EPERM))
        return es_fail(err, ES_ERR_IO, "%s: cannot %s: %s", v->path, doing, why);
    return es_fail(err, ES_ERR_FORMAT, "%s: cannot %s (%s): is it a whole video file, and not still being written?",
                   v->path, doing, why);
}

static bool read_vint(FILE *file, bool keep_marker, uint64_t *value)
{
    int c = fgetc(file), more = 0;
    if (c <= 0)
        return false;
    while ((c << more & 0x80) == 0)
        more++;
    *value = (uint64_t)(keep_marker ? c : c & (0x7F >> more));
    for (int i = 0; i < more; i++) {
        int next = fgetc(file);
        if (next < 0)
            return false;
        *value = *value << 8 | (uint64_t)next;
    }
    return true;
}

/* FFmpeg takes the end of a Matroska file that was cut off for its end. Its one segment says how long it is (or, all
 * ones, that nobody knew). */
static bool is_cut_matroska(const char *path, int64_t size)
{
    uint64_t id = 0, length = 0;
    bool cut = false;
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return false;
    if (read_vint(file, true, &id) && id == 0x1A45DFA3 && read_vint(file, false, &length) && length < 4096 &&
        fseek(file, (long)length, SEEK_CUR) == 0 && read_vint(file, true, &id) && id == 0x18538067 &&
        read_vint(file, false, &length) && length < (1ULL << 56) - 1)
        cut = length > (uint64_t)size || ftell(file) > size - (int64_t)length;
    fclose(file);
    return cut;
}

static es_status check_file(const char *path, bool *cut, es_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return es_fail(err, ES_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return es_fail(err, ES_ERR_IO, "%s: a recording must be a regular file", path);
    if (st.st_size == 0)
        return es_fail(err, ES_ERR_FORMAT, "%s: the file is empty", path);
    *cut = is_cut_matroska(path, st.st_size);
    return ES_OK;
}

/* Looks into the streams; the decoders tried on the way keep to our largest picture. */
static es_status probe(es_video *v, es_error *err)
{
    unsigned count = v->file->nb_streams;
    AVDictionary **options = es_calloc(count, sizeof *options);
    if (options == NULL)
        return es_fail_memory(err, "a recording", count * sizeof(AVDictionary *));
    for (unsigned i = 0; i < count; i++)
        av_dict_set_int(&options[i], "max_pixels", ES_IMAGE_MAX_PIXELS, 0);
    int code = avformat_find_stream_info(v->file, options);
    for (unsigned i = 0; i < count; i++)
        av_dict_free(&options[i]);
    free(options);
    return code < 0 ? fault(v, code, "read the recording's streams", err) : ES_OK;
}

static es_status open_file(es_video *v, es_error *err)
{
    AVDictionary *options = NULL;
    /* "file:" so that no path is taken for a URL; the lists, so that no file makes FFmpeg open something else. */
    char *url = av_asprintf("file:%s", v->path);
    av_dict_set(&options, "format_whitelist", FORMATS, 0);
    av_dict_set(&options, "protocol_whitelist", "file", 0);
    int code = url == NULL ? AVERROR(ENOMEM) : avformat_open_input(&v->file, url, NULL, &options);
    av_dict_free(&options);
    av_free(url);
    if (code < 0)
        return fault(v, code, "read the recording", err);
    return probe(v, err);
}

/* Quarter turns clockwise that a display matrix asks for. */
static int turns_of(const AVStream *stream)
{
    const uint8_t *matrix = NULL;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 29, 100)
    const AVPacketSideData *side = av_packet_side_data_get(
        stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    if (side != NULL && side->size >= 9 * sizeof(int32_t))
        matrix = side->data;
#else
    size_t size = 0;
    matrix = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    if (size < 9 * sizeof(int32_t))
        matrix = NULL;
#endif
    if (matrix == NULL)
        return 0;
    int32_t copy[9];
    memcpy(copy, matrix, sizeof copy);
    double degrees = av_display_rotation_get(copy); /* counterclockwise, or NaN */
    if (!isfinite(degrees))
        return 0;
    return (int)(((long)lround(-degrees / 90) % 4 + 4) % 4);
}

static es_status open_codec(es_video *v, int threads, es_error *err)
{
    const AVCodec *codec = NULL;
    int which = av_find_best_stream(v->file, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (which == AVERROR_STREAM_NOT_FOUND)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: there is no picture in it, only sound or data", v->path);
    if (which < 0 || codec == NULL)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: the FFmpeg libraries here cannot decode its video", v->path);
    v->stream = v->file->streams[which];
    if ((v->stream->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: there is no video in it, only sound with a cover", v->path);
    for (unsigned i = 0; i < v->file->nb_streams; i++)
        if ((int)i != which)
            v->file->streams[i]->discard = AVDISCARD_ALL;
    v->codec = avcodec_alloc_context3(codec);
    int code = v->codec == NULL ? AVERROR(ENOMEM) : avcodec_parameters_to_context(v->codec, v->stream->codecpar);
    if (code < 0)
        return fault(v, code, "set up the decoder", err);
    size_t cores = es_cpu_count();
    v->codec->thread_count = threads > 0 ? threads : (int)(cores < THREADS_MOST ? cores : THREADS_MOST);
    v->codec->pkt_timebase = v->stream->time_base;
    v->codec->max_pixels = ES_IMAGE_MAX_PIXELS;
    if ((int64_t)v->codec->width * v->codec->height > ES_IMAGE_MAX_PIXELS)
        return es_fail(err, ES_ERR_LIMIT, "%s: %d x %d pixels are more than the %lld that are decoded", v->path,
                       v->codec->width, v->codec->height, (long long)ES_IMAGE_MAX_PIXELS);
    code = avcodec_open2(v->codec, codec, NULL);
    return code < 0 ? fault(v, code, "open the decoder", err) : ES_OK;
}

static double stated_length(const es_video *v)
{
    if (v->stream->duration != AV_NOPTS_VALUE && v->stream->duration > 0)
        return seconds_of(v, v->stream->duration);
    /* Matroska says it of the whole file only: right unless sound goes on longer. */
    if (v->file->duration != AV_NOPTS_VALUE && v->file->duration > 0)
        return (double)v->file->duration / AV_TIME_BASE;
    return 0;
}

static bool is_key(const AVFrame *frame)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 29, 100)
    return (frame->flags & AV_FRAME_FLAG_KEY) != 0;
#else
    return frame->key_frame != 0;
#endif
}

static double length_of(const es_video *v, const AVFrame *frame)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
    double seconds = seconds_of(v, frame->duration);
#else
    double seconds = seconds_of(v, frame->pkt_duration);
#endif
    if (seconds <= 0 && v->stream->avg_frame_rate.num > 0 && v->stream->avg_frame_rate.den > 0)
        seconds = 1 / av_q2d(v->stream->avg_frame_rate);
    return isfinite(seconds) && seconds > 0 && seconds < LAST_STAYS ? seconds : 0;
}

/* Gives the decoder the next packet of the picture, or tells it that there are no more. */
static es_status feed(es_video *v, es_error *err)
{
    int code;
    AVPacket *packet = es_packets_take(&v->packets, &code);
    if (code < 0)
        return fault(v, code, "read", err);
    if (packet == NULL) {
        v->broken = v->broken || v->packets.ended != AVERROR_EOF;
        v->drained = true;
        avcodec_send_packet(v->codec, NULL);
        return ES_OK;
    }
    v->broken = v->broken || (packet->flags & AV_PKT_FLAG_CORRUPT) != 0;
    v->codec->skip_frame =
        v->may_skip && es_packets_may_skip(&v->packets, packet) ? AVDISCARD_NONREF : AVDISCARD_DEFAULT;
    code = avcodec_send_packet(v->codec, packet);
    av_packet_free(&packet);
    if (code == AVERROR(ENOMEM))
        return fault(v, code, "decode", err);
    if (code < 0) {
        v->damaged++;
        if (++v->faults >= FAULTS_MOST) {
            v->broken = v->drained = true;
            avcodec_send_packet(v->codec, NULL);
        }
    }
    return ES_OK;
}

/* The next frame in order of time as `ahead`; finished when there is none. */
static es_status decode(es_video *v, es_error *err)
{
    while (!v->finished) {
        int code = avcodec_receive_frame(v->codec, v->ahead);
        if (code == AVERROR(EAGAIN) && !v->drained) {
            ES_TRY(feed(v, err));
            continue;
        }
        if (code == AVERROR(ENOMEM))
            return fault(v, code, "decode", err);
        if (code == AVERROR_EOF || (code < 0 && v->drained)) {
            v->finished = true;
            return ES_OK;
        }
        if (code < 0) {
            v->damaged++;
            v->faults++;
            ES_TRY(feed(v, err));
            continue;
        }
        v->faults = 0;
        if (v->ahead->width < 1 || v->ahead->height < 1 || v->ahead->format < 0 || (v->need_key && !is_key(v->ahead)))
            continue;
        v->need_key = false;
        int64_t ticks = v->ahead->best_effort_timestamp;
        double at = ticks == AV_NOPTS_VALUE ? (v->started ? v->held_at : 0) : seconds_of(v, ticks) - v->zero;
        if (!v->started) {
            v->started = true;
            v->zero = ticks == AV_NOPTS_VALUE ? 0 : seconds_of(v, ticks);
            at = 0;
        }
        if (!isfinite(at) || at > TIME_MOST || (v->has_held && at < v->held_at))
            continue; /* a clock that goes back or wild: the frame has no place */
        v->ahead_at = at;
        v->has_ahead = true;
        return ES_OK;
    }
    return ES_OK;
}

/* The last key frame of the index at or before `seconds`; false when there is none. */
static bool key_before(const es_video *v, double seconds, double *at, int64_t *ticks)
{
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(58, 78, 100)
    double wanted = (seconds + v->zero) / av_q2d(v->stream->time_base);
    if (!isfinite(wanted) || fabs(wanted) > 9e18)
        return false;
    const AVIndexEntry *entry =
        avformat_index_get_entry_from_timestamp(v->stream, (int64_t)wanted, AVSEEK_FLAG_BACKWARD);
    if (entry == NULL || (entry->flags & AVINDEX_KEYFRAME) == 0)
        return false;
    *ticks = entry->timestamp;
    *at = seconds_of(v, entry->timestamp) - v->zero;
    return *at <= seconds;
#else
    (void)v, (void)seconds, (void)at, (void)ticks;
    return false;
#endif
}

static es_status restart_at(es_video *v, int64_t ticks, es_error *err)
{
    int code = av_seek_frame(v->file, v->stream->index, ticks, AVSEEK_FLAG_BACKWARD);
    if (code < 0)
        return fault(v, code, "go to a key frame", err);
    avcodec_flush_buffers(v->codec);
    es_packets_clear(&v->packets);
    v->drained = v->finished = v->has_ahead = false;
    v->need_key = true;
    return ES_OK;
}

/* Jumps to a key frame between here and `seconds` where that saves decoding. Index times may be those of decoding, a
 * little before those of showing: when the frame found is too late, what was on screen is found by decoding on from
 * where we were, and no jump is tried again. */
static es_status jump(es_video *v, double seconds, es_error *err)
{
    double at, here = v->has_ahead ? v->ahead_at : v->held_at;
    int64_t ticks;
    if (!v->may_jump || !v->has_held || v->finished || !key_before(v, seconds, &at, &ticks) || at <= here + JUMP_WORTH)
        return ES_OK;
    if (restart_at(v, ticks, NULL) == ES_OK) {
        ES_TRY(decode(v, err));
        if (v->has_ahead && v->ahead_at <= seconds)
            return ES_OK;
    }
    v->may_jump = false;
    double before = (v->held_at + v->zero - BACK) / av_q2d(v->stream->time_base);
    ES_TRY(restart_at(v, (int64_t)before, err));
    return decode(v, err); /* what is not after the present frame is passed over there */
}

/* Finds out which pictures before that moment need not be decoded. */
static es_status look_ahead(es_video *v, double seconds, es_error *err)
{
    double until = floor((seconds + v->zero) / av_q2d(v->stream->time_base));
    if (!v->may_skip || !isfinite(until) || fabs(until) > 9e18)
        return ES_OK;
    int code = es_packets_look(&v->packets, (int64_t)until);
    return code < 0 ? fault(v, code, "read", err) : ES_OK;
}

static bool is_truncated(const es_video *v)
{
    return v->finished && (v->broken || v->faults > 0);
}

static double end_of(const es_video *v)
{
    double end = v->held_at + length_of(v, v->held);
    double claims = v->stated > LAST_STAYS + end ? LAST_STAYS + end : v->stated;
    /* The last frame may stay for long; where the file was cut off nothing is known of the time after it. */
    return is_truncated(v) || claims <= end ? end : claims;
}

es_status es_video_seek(es_video *v, double seconds, bool *there, bool *same, es_error *err)
{
    *there = *same = false;
    if (!isfinite(seconds) || seconds < 0 || seconds > TIME_MOST)
        return es_fail(err, ES_ERR_ARGUMENT, "%s: %g is no second of a recording", v->path, seconds);
    ES_TRY(jump(v, seconds, err));
    ES_TRY(look_ahead(v, seconds, err));
    if (!v->has_ahead)
        ES_TRY(decode(v, err));
    while (v->has_ahead && (v->ahead_at <= seconds || !v->has_held)) {
        AVFrame *old = v->held;
        v->held = v->ahead;
        v->held_at = v->ahead_at;
        v->has_held = true;
        v->given = v->has_ahead = false;
        v->ahead = old;
        av_frame_unref(old);
        ES_TRY(decode(v, err));
    }
    if (!v->has_held)
        return es_fail(err, ES_ERR_FORMAT, "%s: no frame of it can be decoded: the file is damaged", v->path);
    if (v->finished)
        v->ends = end_of(v);
    *there = !v->finished || seconds < v->ends || seconds <= v->held_at;
    *same = v->given;
    v->given = *there;
    return ES_OK;
}

double es_video_shown_since(const es_video *v)
{
    return v->held_at;
}

/* Colours as the file says; where it says nothing, as players take it: HD is BT.709, less is BT.601. */
static void set_colours(struct SwsContext *sws, const AVFrame *f)
{
    int space =
        f->colorspace == AVCOL_SPC_UNSPECIFIED ? f->height > 576 ? SWS_CS_ITU709 : SWS_CS_ITU601 : (int)f->colorspace;
    const int *from = sws_getCoefficients(space), *to = sws_getCoefficients(SWS_CS_DEFAULT);
    bool full = f->color_range == AVCOL_RANGE_JPEG || f->format == AV_PIX_FMT_YUVJ420P ||
                f->format == AV_PIX_FMT_YUVJ422P || f->format == AV_PIX_FMT_YUVJ444P;
    sws_setColorspaceDetails(sws, from, full, to, 1, 0, 1 << 16, 1 << 16); /* fails for RGB: nothing to set */
}

static es_status convert(es_video *v, struct SwsContext **sws, enum AVPixelFormat format, int width, int height,
                         uint8_t *out, int stride, es_error *err)
{
    const AVFrame *f = v->held;
    if (!sws_isSupportedInput((enum AVPixelFormat)f->format))
        return es_fail(err, ES_ERR_UNSUPPORTED, "%s: its pixel format %s cannot be converted", v->path,
                       av_get_pix_fmt_name((enum AVPixelFormat)f->format));
    *sws = sws_getCachedContext(*sws, f->width, f->height, (enum AVPixelFormat)f->format, width, height, format,
                                format == AV_PIX_FMT_GRAY8 ? SWS_AREA : SWS_HOW, NULL, NULL, NULL);
    if (*sws == NULL)
        return es_fail_memory(err, "converting a frame", 0);
    set_colours(*sws, f);
    uint8_t *planes[4] = {out};
    int strides[4] = {stride};
    int rows = sws_scale(*sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height, planes, strides);
    return rows == height ? ES_OK : es_fail(err, ES_ERR_FORMAT, "%s: a frame cannot be converted", v->path);
}

/* image turned clockwise; [height, width, 3] */
static es_status turn(es_image *image, int quarters, es_error *err)
{
    size_t w = (size_t)image->width, h = (size_t)image->height;
    if (quarters == 0)
        return ES_OK;
    uint8_t *out = es_calloc(w * h, 3);
    if (out == NULL)
        return es_fail_memory(err, "a frame", w * h * 3);
    for (size_t y = 0; y < h; y++) {
        for (size_t x = 0; x < w; x++) {
            size_t to = quarters == 1   ? x * h + (h - 1 - y)
                        : quarters == 2 ? (h - 1 - y) * w + (w - 1 - x)
                                        : (w - 1 - x) * h + y;
            memcpy(out + to * 3, image->rgb + (y * w + x) * 3, 3);
        }
    }
    free(image->rgb);
    image->rgb = out;
    if (quarters != 2) {
        image->width = (int32_t)h;
        image->height = (int32_t)w;
    }
    return ES_OK;
}

es_status es_video_image(es_video *v, es_image *image, es_error *err)
{
    *image = (es_image){0};
    if (!v->has_held)
        return es_fail(err, ES_ERR_ARGUMENT, "%s: go to a moment of the recording first", v->path);
    int64_t pixels = (int64_t)v->held->width * v->held->height;
    double scale = pixels > ES_VIDEO_PIXELS ? sqrt((double)ES_VIDEO_PIXELS / (double)pixels) : 1;
    int width = (int)fmax(1, floor(v->held->width * scale)), height = (int)fmax(1, floor(v->held->height * scale));
    /* Rows end where 16 pixels more would fit: swscale may write whole vectors. */
    image->rgb = es_calloc((size_t)width * (size_t)height + 16, 3);
    if (image->rgb == NULL)
        return es_fail_memory(err, "a frame", (size_t)width * (size_t)height * 3);
    image->width = width;
    image->height = height;
    es_status status = convert(v, &v->to_rgb, AV_PIX_FMT_RGB24, width, height, image->rgb, width * 3, err);
    if (status == ES_OK)
        status = turn(image, v->quarter_turns, err);
    if (status != ES_OK)
        es_image_free(image);
    return status;
}

es_status es_video_thumbnail(es_video *v, uint8_t grey[ES_THUMB_WIDTH * ES_THUMB_HEIGHT], es_error *err)
{
    if (!v->has_held)
        return es_fail(err, ES_ERR_ARGUMENT, "%s: go to a moment of the recording first", v->path);
    return convert(v, &v->to_grey, AV_PIX_FMT_GRAY8, ES_THUMB_WIDTH, ES_THUMB_HEIGHT, grey, ES_THUMB_WIDTH, err);
}

void es_video_tell(const es_video *v, es_video_info *info)
{
    *info = (es_video_info){.width = v->width,
                            .height = v->height,
                            .seconds = v->finished ? v->ends : v->stated,
                            .codec = avcodec_get_name(v->codec->codec_id),
                            .truncated = is_truncated(v),
                            .damaged = v->damaged};
}

/* An mp4 with its index at the front knows of frames that a file cut off does not hold; FFmpeg takes that for the end.
 */
static bool is_cut_index(const es_video *v)
{
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(58, 78, 100)
    int64_t size = v->file->pb != NULL ? avio_size(v->file->pb) : -1;
    int count = avformat_index_get_entries_count(v->stream);
    const AVIndexEntry *last = count > 0 ? avformat_index_get_entry(v->stream, count - 1) : NULL;
    return last != NULL && size > 0 && (last->pos > size || last->size > size - last->pos);
#else
    (void)v;
    return false;
#endif
}

static es_status set_up(es_video *v, const char *path, int threads, es_error *err)
{
    v->path = es_strdup(path);
    if (v->path == NULL)
        return es_fail_memory(err, "a recording", 0);
    ES_TRY(open_file(v, err));
    ES_TRY(open_codec(v, threads, err));
    v->packets = (es_packets){.file = v->file, .stream = v->stream->index, .on_show = INT64_MIN};
    v->may_skip = v->codec->codec_id == AV_CODEC_ID_H264 || v->codec->codec_id == AV_CODEC_ID_HEVC;
    v->held = av_frame_alloc();
    v->ahead = av_frame_alloc();
    if (v->held == NULL || v->ahead == NULL)
        return es_fail_memory(err, "a recording", 0);
    v->quarter_turns = turns_of(v->stream);
    v->may_jump = true;
    v->stated = stated_length(v);
    v->broken = v->broken || is_cut_index(v);
    ES_TRY(decode(v, err)); /* its size is known for sure from a frame only */
    if (!v->has_ahead)
        return es_fail(err, ES_ERR_FORMAT, "%s: no frame of it can be decoded: the file is damaged", path);
    bool lies = v->quarter_turns % 2 == 1;
    v->width = lies ? v->ahead->height : v->ahead->width;
    v->height = lies ? v->ahead->width : v->ahead->height;
    return ES_OK;
}

es_status es_video_open(es_video **video, const char *path, int threads, es_error *err)
{
    bool cut = false;
    *video = NULL;
    ES_TRY(check_file(path, &cut, err));
    av_log_set_level(AV_LOG_QUIET); /* its complaints go to stderr otherwise; ours say what matters */
    es_video *v = es_calloc(1, sizeof *v);
    if (v == NULL)
        return es_fail_memory(err, "a recording", sizeof *v);
    v->broken = cut;
    es_status status = set_up(v, path, threads, err);
    if (status != ES_OK) {
        es_video_close(v);
        return status;
    }
    *video = v;
    return ES_OK;
}

void es_video_close(es_video *v)
{
    if (v == NULL)
        return;
    sws_freeContext(v->to_rgb);
    sws_freeContext(v->to_grey);
    av_frame_free(&v->held);
    av_frame_free(&v->ahead);
    es_packets_free(&v->packets);
    avcodec_free_context(&v->codec);
    avformat_close_input(&v->file);
    free(v->path);
    free(v);
}
