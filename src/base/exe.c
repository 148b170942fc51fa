#include "base/exe.h"

#include <limits.h>
#include <stdlib.h>

#include "base/mem.h"

#define UNKNOWN "cannot tell where this program is installed"

/* Links resolved, and a copy of what comes out. */
static es_status resolve(const char *raw, char **path, es_error *err)
{
    char real[PATH_MAX];
    if (realpath(raw, real) == NULL)
        return es_fail(err, ES_ERR_UNSUPPORTED, UNKNOWN);
    *path = es_strdup(real);
    return *path != NULL ? ES_OK : es_fail_memory(err, "the program's path", 0);
}

#ifdef __APPLE__
#include <mach-o/dyld.h>
#include <stdint.h>

es_status es_exe_path(char **path, es_error *err)
{
    char raw[PATH_MAX];
    uint32_t size = sizeof raw;
    *path = NULL;
    if (_NSGetExecutablePath(raw, &size) != 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, UNKNOWN);
    return resolve(raw, path, err);
}

#else

es_status es_exe_path(char **path, es_error *err)
{
    *path = NULL;
    return resolve("/proc/self/exe", path, err);
}

#endif
