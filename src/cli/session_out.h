/* session_out.h - a session from the store to files, stdout and the clipboard: what run, show and export share. */
#ifndef ES_CLI_SESSION_OUT_H
#define ES_CLI_SESSION_OUT_H

#include "cli/cli.h"
#include "session/report.h"
#include "session/store.h"

typedef struct es_out {
    unsigned forms;     /* 1 << es_form, any of them */
    const char *output; /* a file, or a directory; NULL: texts to stdout, html to a file here */
    bool to_stdout;     /* html too */
    bool copy;          /* the last text to the clipboard */
    bool include_personal;
    bool fresh_summary; /* don't take the store's */
    bool no_summary;    /* nor anybody's */
    double min_segment; /* seconds; 0: 30, less for a recording of a few minutes */
    bool quiet;         /* don't say where files went */
} es_out;

/* "card,html" or "all"; complains and returns false when it is neither. */
bool es_out_read_forms(const char *verb, const char *text, unsigned *forms);

/* $ESCRIBA_STORE, or sessions.db under $XDG_DATA_HOME/escriba or ~/.local/share/escriba; `given` before all. Makes the
 * directory. *path is freed by the caller. */
es_status es_store_place(const char *given, char **path, es_error *err);

/* Who writes a summary: answers a question about the blocks with a text (freed by the caller). */
typedef struct es_writer {
    es_status (*answer)(void *context, const char *question, char **text, es_error *err);
    void *context;
    const char *name; /* of the model */
} es_writer;

/* How blocks are made of a recording: seconds long, 0: unknown; sampled each interval, 0: of its own. */
void es_out_segments(const es_out *out, double seconds, double interval, es_segment_options *options);

/* Makes the blocks of what a method saw, keeps them in the store, and writes the reports. writer: asked to name and
 * tell the subjects unless the store has an answer about just these blocks; NULL: nobody. notice: may be NULL. */
es_status es_out_write(es_store *store, const es_recording *recording, int64_t method, const char *model,
                       const es_writer *writer, const char *notice, const es_out *out, es_error *err);

/* What a finished run leaves in the store under the form "run": how it was sampled, whether the recording broke off. */
#define ES_RUN_FORM "run"
/* A model's answer about the blocks, after their signature and a newline. */
#define ES_SUBJECTS_FORM "subjects"

#endif
