/* escriba.h - what a user was doing on screen, told by a local vision-language model.
 *
 *     escriba_options options;
 *     escriba_options_init(&options);
 *     options.model = "models/escriba-tiny";
 *     escriba_error error;
 *     escriba_model *model;
 *     if (escriba_open(&model, &options, &error) != ESCRIBA_OK)
 *         ...error.message says what, where and what to do...
 *     escriba_frame frame = {.path = "screen.png"};
 *     escriba_observation *seen;
 *     if (escriba_classify_frame(model, &frame, NULL, &seen, &error) == ESCRIBA_OK)
 *         puts(seen->description);
 *     escriba_observation_free(seen);
 *     escriba_free(model);
 *
 * Threads: a model answers one call at a time; calls from several threads wait for each other. escriba_cancel may be
 * called from any thread or from a signal handler. Nothing here prints, exits or changes global state.
 * Memory: what a function hands out is freed by the function named with it; what it is given stays the caller's.
 */
#ifndef ESCRIBA_H
#define ESCRIBA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ESCRIBA_API __attribute__((visibility("default")))
#else
#define ESCRIBA_API
#endif

typedef enum escriba_status {
    ESCRIBA_OK = 0,
    ESCRIBA_ERR_MEMORY,      /* an allocation failed */
    ESCRIBA_ERR_IO,          /* the system refused to open, read, write or map something */
    ESCRIBA_ERR_FORMAT,      /* a file is not what it must be */
    ESCRIBA_ERR_ARGUMENT,    /* the call makes no sense */
    ESCRIBA_ERR_UNSUPPORTED, /* well formed, but nothing here can do it */
    ESCRIBA_ERR_LIMIT,       /* larger than a limit: context, pixels, bytes */
    ESCRIBA_ERR_CANCELLED,   /* escriba_cancel, or a callback, asked to stop */
    ESCRIBA_ERR_NETWORK,     /* another machine did not answer as it should */
    ESCRIBA_ERR_INTERNAL     /* a bug in escriba */
} escriba_status;

typedef struct escriba_error {
    escriba_status status;
    char message[512]; /* one line for a person */
} escriba_error;

typedef struct escriba_model escriba_model; /* opaque */

/* Something a person may want to know, on one line: that another backend took over, how each server of many fared.
 * Called on the calling thread. */
typedef void (*escriba_note_fn)(void *user_data, const char *line);

/* How to open a model. Call escriba_options_init first, then change what you need. */
typedef struct escriba_options {
    size_t size;        /* set by escriba_options_init: lets this struct grow */
    const char *model;  /* directory of a Qwen3-VL checkpoint (config.json, *.safetensors, tokenizer.json); with another
                           backend the server's name for a model, NULL: what the server has */
    const char *isa;    /* NULL: the best this machine has; "scalar", "avx2", "avxvnni", "avx512", "neon" */
    int32_t threads;    /* 0: one a core */
    int32_t batch;      /* frames in flight at once; 0: chosen (8) */
    int64_t max_pixels; /* picture area cap after resizing, 0: the model's own */
    int32_t context;    /* tokens of prompt and answer of one frame, 0: what the prompt needs, up to the model's own */
    const char *precision; /* of products. NULL: "exact", float32; "balanced": 8-bit integers; "fast": 4-bit text */
    const char *backend;   /* who answers. NULL: "native", our own engine; "mlx": it, on MLX; "ollama", "openai": a
                              server */
    const char *endpoint;  /* of a server, or several parted by spaces, or "@FILE" with one a line. NULL: for ollama
                              127.0.0.1:11434; openai has no default */
    const char *key;       /* of a server, sent to it and nowhere else; NULL: none */
    double timeout;        /* seconds a server may be silent; 0: 300 */
    const struct escriba_options *fallback; /* who answers the frames that this one leaves undone; NULL: nobody. Copied,
                                               opened when first needed, and may have no fallback of its own */
    escriba_note_fn on_note;                /* may be NULL */
    void *note_data;
    int64_t memory; /* bytes that keys and values of all frames in flight may take; 0: half of the machine's */
    const char *weight_cache; /* folder where weights are kept as this machine multiplies by them (precision balanced
                                 and fast); NULL: escriba/weights in the user's cache, "": nowhere */
    double idle_unload;       /* seconds without a call after which the model's memory goes back to the system, until
                                 the next call; 0: never */
    const char *keep_alive;   /* Ollama: how long it keeps the model loaded, "10m", "300" (seconds), "-1" (for ever);
                                 NULL: its own choice */
    const char *think;        /* Ollama, of a model that can think aloud: NULL: "off"; "on", "low", "medium", "high" */
    const char *device;       /* what our own engine computes on: "cpu"; "mlx", "mlx-cpu", "mlx-gpu": MLX on its GPU,
                                 else the processor; "auto": MLX where there is a GPU for it, else, and when it fails,
                                 the cpu. NULL: "cpu" for native, "mlx" for mlx */
    const char *vision_cache; /* folder where our own engine keeps what its vision tower made of each picture, so that
                                 it need not see it again; its owner's alone, made when it is not there. NULL: nowhere.
                                 Where it cannot be used, on_note tells, and nothing else changes */
    int64_t vision_cache_bytes; /* that may lie there, the least recently used going first; 0: 2 GB */
} escriba_options;

/* How to answer. NULL in its place means the defaults. */
typedef struct escriba_request {
    size_t size;              /* set by escriba_request_init */
    const char *prompt;       /* NULL: escriba's own question for a frame */
    int32_t max_tokens;       /* of each frame's answer; 0: 500 */
    float temperature;        /* 0: greedy, the default */
    int32_t top_k;            /* 0: off */
    float top_p;              /* 1: off */
    float min_p;              /* 0: off */
    float repetition_penalty; /* 1: off */
    uint64_t seed;            /* of sampling; the same seed gives the same answer */
    int32_t interleaved; /* frames put into one prompt, 1: each frame its own sequence, the default and the safest */
    int free_form;       /* not 0: answers to escriba's own question need not keep to the form of a record */
} escriba_request;

/* A picture: a file, or pixels in memory when path is NULL. */
typedef struct escriba_frame {
    const char *path;   /* JPEG, PNG or WebP */
    const uint8_t *rgb; /* [height, width, 3], rows `stride` bytes apart (0: width * 3) */
    int32_t width, height;
    size_t stride;
    double timestamp; /* seconds into the recording; negative: unknown */
} escriba_frame;

/* What was seen in one frame. */
typedef struct escriba_observation {
    size_t index;            /* of the frame in the call */
    double timestamp;        /* as given */
    const char *image_path;  /* as given, NULL for pixels */
    escriba_status status;   /* not ESCRIBA_OK: this frame failed, `error` says why, and the rest is empty */
    const char *error;       /* "" when all is well */
    int parsed;              /* the answer was a record; when 0, the fields are empty and raw_text holds the answer */
    const char *description; /* never NULL, like all strings here but image_path */
    const char *activity;    /* debugging coding review meeting research reading terminal other, or "" */
    size_t app_count, topic_count;
    const char *const *apps;
    const char *const *topics;
    const char *raw_text; /* the answer as generated */
    int truncated;        /* the token budget ended before the answer did */
    int32_t prompt_tokens, image_tokens, generated_tokens;
    double seconds_decode_image, seconds_vision, seconds_prefill, seconds_generate; /* this frame's share */
    const char *reason; /* when parsed is 0 and status ESCRIBA_OK: why the answer came to no record; else "" */
} escriba_observation;

/* Called on the calling thread for each frame as it is finished, in the order of finishing. The observation lives until
 * the callback returns. Return 0 to go on, anything else to stop (the call then returns ESCRIBA_ERR_CANCELLED). */
typedef int (*escriba_observation_fn)(void *user_data, const escriba_observation *observation);
/* Called now and then: `done` of `total` frames. */
typedef void (*escriba_progress_fn)(void *user_data, size_t done, size_t total);
/* A piece of text as it is generated, whole UTF-8 characters. Return 0 to go on. */
typedef int (*escriba_text_fn)(void *user_data, const char *piece);

ESCRIBA_API const char *escriba_version(void);
ESCRIBA_API const char *escriba_status_name(escriba_status status);

ESCRIBA_API void escriba_options_init(escriba_options *options);
ESCRIBA_API void escriba_request_init(escriba_request *request);

ESCRIBA_API escriba_status escriba_open(escriba_model **model, const escriba_options *options, escriba_error *error);
ESCRIBA_API void escriba_free(escriba_model *model); /* NULL is fine */

/* One frame. *observation is freed with escriba_observation_free; NULL when the call failed. */
ESCRIBA_API escriba_status escriba_classify_frame(escriba_model *model, const escriba_frame *frame,
                                                  const escriba_request *request, escriba_observation **observation,
                                                  escriba_error *error);
ESCRIBA_API void escriba_observation_free(escriba_observation *observation);

/* Many frames, several at once, none confused with another. One bad frame is an observation that says so; the call goes
 * on. on_progress may be NULL. */
ESCRIBA_API escriba_status escriba_classify_frames(escriba_model *model, const escriba_frame *frames, size_t count,
                                                   const escriba_request *request,
                                                   escriba_observation_fn on_observation,
                                                   escriba_progress_fn on_progress, void *user_data,
                                                   escriba_error *error);

/* Text from text: request->prompt is the user's turn. *text is freed with escriba_text_free. on_text may be NULL. */
ESCRIBA_API escriba_status escriba_generate_text(escriba_model *model, const escriba_request *request,
                                                 escriba_text_fn on_text, void *user_data, char **text,
                                                 escriba_error *error);
ESCRIBA_API void escriba_text_free(char *text);

/* Asks the call in progress to stop soon, or the next one to stop at once; it returns ESCRIBA_ERR_CANCELLED. */
ESCRIBA_API void escriba_cancel(escriba_model *model);

/* Of several servers, lets the one at this place of the list (from 1; 0: all of them) finish what it is at and gives it
 * nothing new, as long as the model is open. A call whose servers are all drained ends with ESCRIBA_ERR_NETWORK.
 * Without effect on our own engine. From any thread or from a signal handler. */
ESCRIBA_API void escriba_drain(escriba_model *model, size_t endpoint);

#ifdef __cplusplus
}
#endif
#endif
