/* remove_tree.h - takes away what a test has made. */
#ifndef TESTS_REMOVE_TREE_H
#define TESTS_REMOVE_TREE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"

/* Removes a file, or a folder with all below it; a link, not what it leads to. Nothing there is fine. */
static inline void remove_tree(const char *path)
{
    struct stat st;
    es_names names;
    if (lstat(path, &st) != 0)
        return;
    if (S_ISDIR(st.st_mode)) {
        assert_int_equal(es_dir_list(path, &names, NULL), ES_OK);
        for (size_t i = 0; i < names.count; i++) {
            char *below = es_path_join(path, names.items[i]);
            remove_tree(below);
            free(below);
        }
        es_names_free(&names);
    }
    remove(path);
}

#endif
