/* exe.h - where the running program lives, to find the files that were installed with it. */
#ifndef ES_BASE_EXE_H
#define ES_BASE_EXE_H

#include "base/status.h"

/* The absolute path of the running program, links resolved; free with free. ES_ERR_UNSUPPORTED where the system can't
 * tell. */
es_status es_exe_path(char **path, es_error *err);

#endif
