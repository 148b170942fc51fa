/* video.h - a recording by FFmpeg's libraries: what was on screen at a moment, as RGB in memory.
 *
 * mp4, mov, mkv, webm, avi, mpeg-ts, flv, ogg and gif files and nothing else FFmpeg could open: no playlists, devices
 * or networks. Times are seconds from the first frame. A variable frame rate needs nothing special: a frame is on
 * screen until the next one's time. Used by one thread at a time.
 *
 *     es_video_open(&video, "recording.mp4", 0, &err);
 *     for (double t = 0; es_video_seek(video, t, &there, &same, &err) == ES_OK && there; t += 10)
 *         if (!same)
 *             es_video_image(video, &image, &err), ...
 *     es_video_close(video);
 */
#ifndef ES_SESSION_VIDEO_H
#define ES_SESSION_VIDEO_H

#include <stdbool.h>

#include "base/status.h"
#include "model/image.h"

/* Larger frames are scaled down to about this many pixels: 4K is kept, 8K becomes 4K. */
#define ES_VIDEO_PIXELS (3840LL * 2160)

/* A small grey picture of a frame, whatever its shape: what scene changes are found by. */
enum { ES_THUMB_WIDTH = 64, ES_THUMB_HEIGHT = 36 };

typedef struct es_video es_video;

typedef struct es_video_info {
    int32_t width, height; /* upright, as stored; images may be smaller (ES_VIDEO_PIXELS) */
    double seconds;        /* as the file says, then as found; 0: unknown */
    const char *codec;     /* "h264"; static */
    bool truncated;        /* the file ended, or broke, before its own index said */
    size_t damaged;        /* packets that could not be decoded */
} es_video_info;

/* threads: for decoding, 0: one a core, at most 4. Errors: ES_ERR_IO (no such file), ES_ERR_FORMAT (not a video,
 * empty, damaged beyond use), ES_ERR_UNSUPPORTED (no picture in it, or a codec that this FFmpeg lacks), ES_ERR_LIMIT,
 * ES_ERR_MEMORY. */
es_status es_video_open(es_video **video, const char *path, int threads, es_error *err);
void es_video_close(es_video *video); /* NULL is fine */
void es_video_tell(const es_video *video, es_video_info *info);

/* Goes to the frame on screen at `seconds`, never back. *there is false from the recording's end on; *same says that
 * it is the frame of the last call. A file that breaks off ends there without an error. */
es_status es_video_seek(es_video *video, double seconds, bool *there, bool *same, es_error *err);
/* When the present frame came on screen: at most the seconds asked for. */
double es_video_shown_since(const es_video *video);
/* The present frame, upright; es_image_free. */
es_status es_video_image(es_video *video, es_image *image, es_error *err);
es_status es_video_thumbnail(es_video *video, uint8_t grey[ES_THUMB_WIDTH * ES_THUMB_HEIGHT], es_error *err);

#endif
