/* resume.h - what an interrupted run left: which frames are done, and a file that can be gone on with. */
#ifndef ES_CLI_RESUME_H
#define ES_CLI_RESUME_H

#include "base/status.h"
#include "cli/inputs.h"

/* Reads the results in `path` (none when it does not exist), takes the frames they hold off `inputs`, and leaves the
 * file ending after its last whole record: a torn last line is cut off, and so are records of frames that failed and
 * will be done again. A file that holds anything else is refused and left as it is. *done: frames taken off. */
es_status es_resume(const char *path, es_inputs *inputs, size_t *done, es_error *err);

#endif
