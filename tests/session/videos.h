/* videos.h - recordings made for tests: frames of a colour or a picture, at any times, by FFmpeg's own encoders. */
#ifndef ES_TEST_VIDEOS_H
#define ES_TEST_VIDEOS_H

#include <stdint.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

typedef struct video_maker {
    AVFormatContext *file;
    AVCodecContext *codec;
    AVStream *stream;
    struct SwsContext *sws;
    AVFrame *last; /* as it was added */
} video_maker;

typedef struct video_kind {
    int width, height;
    const char *codec;  /* NULL: "ffv1", lossless */
    const char *format; /* of pixels, NULL: "yuv444p" */
    int keys;           /* a key frame each so many frames; 0: each */
    double rotation;    /* degrees, clockwise, that the file asks for */
    int quality;        /* of lossy codecs: 1 best .. 31 */
    const char *preset; /* of x264; NULL: its own */
    int threads;        /* 0: one */
} video_kind;

/* All fail the test when they can't. The container is the file name's. */
void video_begin(video_maker *maker, const char *path, const video_kind *kind);
void video_add(video_maker *maker, const uint8_t *rgb, double seconds); /* [height, width, 3] */
void video_repeat(video_maker *maker, double seconds);                  /* the last one, later */
void video_add_grey(video_maker *maker, int level, double seconds);     /* all of one grey */
void video_end(video_maker *maker);
/* A file with a second of silence and nothing to see. */
void audio_only(const char *path);

#endif
