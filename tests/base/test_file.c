/* test_file.c - files mapped, read within a bound, written whole or not at all. */
#include <setjmp.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

static char dir[] = "/tmp/escriba-test-XXXXXX";

static char *in_dir(const char *name)
{
    char *path = es_path_join(dir, name);
    assert_non_null(path);
    return path;
}

static void what_was_written_is_read_and_mapped(void **state)
{
    (void)state;
    es_error err = {0};
    char *path = in_dir("file"), *data;
    size_t n;
    es_map map;
    assert_int_equal(es_file_write(path, "old", 3, 0600, &err), ES_OK);
    assert_int_equal(es_file_write(path, "new\0text", 8, 0640, &err), ES_OK);
    assert_int_equal(es_file_read(path, 8, &data, &n, &err), ES_OK);
    assert_int_equal(n, 8);
    assert_memory_equal(data, "new\0text", 9); /* and the NUL behind */
    free(data);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(es_map_open(&map, path, &err), ES_OK);
    assert_int_equal(map.size, 8);
    assert_memory_equal(map.data, "new\0text", 8);
    es_map_close(&map);
    es_map_close(&map);
    assert_int_equal(es_file_read(path, 7, &data, &n, &err), ES_ERR_LIMIT);
    assert_null(data);
    assert_non_null(strstr(err.message, path));
    free(path);
}

static void an_empty_file_is_a_file(void **state)
{
    (void)state;
    es_error err = {0};
    char *path = in_dir("empty"), *data;
    size_t n;
    es_map map;
    assert_int_equal(es_file_write(path, "", 0, 0600, &err), ES_OK);
    assert_true(es_file_exists(path));
    assert_int_equal(es_map_open(&map, path, &err), ES_OK);
    assert_int_equal(map.size, 0);
    es_map_close(&map);
    assert_int_equal(es_file_read(path, 0, &data, &n, &err), ES_OK);
    assert_string_equal(data, "");
    free(data);
    free(path);
}

static void what_is_no_file_is_refused_at_once(void **state)
{
    (void)state;
    es_error err = {0};
    char *fifo = in_dir("fifo"), *missing = in_dir("missing"), *data;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const char *const paths[] = {fifo, missing, dir, "/dev/zero", ""};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        size_t n;
        es_map map;
        err = (es_error){0};
        assert_int_equal(es_file_read(paths[i], 1000, &data, &n, &err), ES_ERR_IO);
        assert_true(err.message[0] != '\0');
        assert_int_equal(es_map_open(&map, paths[i], &err), ES_ERR_IO);
        assert_false(es_file_exists(paths[i]));
    }
    free(fifo);
    free(missing);
}

static void a_failed_write_leaves_nothing_behind(void **state)
{
    (void)state;
    es_error err = {0};
    es_names before, after;
    char *sub = in_dir("target"), *below = in_dir("no/such/file");
    assert_int_equal(es_mkdirs(sub, &err), ES_OK);
    assert_int_equal(es_dir_list(dir, &before, &err), ES_OK);
    assert_int_equal(es_file_write(sub, "x", 1, 0600, &err), ES_ERR_IO); /* a directory is in the way */
    assert_int_equal(es_file_write(below, "x", 1, 0600, &err), ES_ERR_IO);
    assert_int_equal(es_dir_list(dir, &after, &err), ES_OK);
    assert_int_equal(before.count, after.count);
    es_names_free(&before);
    es_names_free(&after);
    free(sub);
    free(below);
}

/* As root, `--output /dev/null` once put a file in the device's place. */
static void what_is_no_file_is_written_into_and_not_replaced(void **state)
{
    (void)state;
    es_error err = {0};
    char *path = in_dir("pipe"), text[8] = {0};
    struct stat st;
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(es_file_write(path, "hello", 5, 0600, &err), ES_OK);
    assert_int_equal(read(fd, text, sizeof text), 5);
    assert_string_equal(text, "hello");
    assert_true(lstat(path, &st) == 0 && S_ISFIFO(st.st_mode));
    close(fd);
    unlink(path);
    free(path);
}

static void directories_are_made_and_listed_in_order(void **state)
{
    (void)state;
    es_error err = {0};
    char *deep = in_dir("list/b/c/"), *list = in_dir("list"), *file = in_dir("list/a");
    es_names names;
    assert_int_equal(es_mkdirs(deep, &err), ES_OK);
    assert_int_equal(es_mkdirs(deep, &err), ES_OK);
    assert_true(es_dir_exists(deep));
    assert_int_equal(es_file_write(file, "", 0, 0600, &err), ES_OK);
    assert_int_equal(es_mkdirs(file, &err), ES_ERR_IO);
    assert_int_equal(es_dir_list(list, &names, &err), ES_OK);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.items[0], "a");
    assert_string_equal(names.items[1], "b");
    es_names_free(&names);
    assert_int_equal(es_dir_list(file, &names, &err), ES_ERR_IO);
    free(deep);
    free(list);
    free(file);
}

static void paths_are_joined_with_one_slash(void **state)
{
    (void)state;
    static const char *const cases[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}};
    for (size_t i = 0; i < 4; i++) {
        char *path = es_path_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL;
}

static int drop_dir(void **state)
{
    (void)state;
    static const char *const names[] = {"file", "empty", "fifo", "target", "list/a", "list/b/c", "list/b", "list"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = in_dir(names[i]);
        remove(path);
        free(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read_and_mapped),
        cmocka_unit_test(an_empty_file_is_a_file),
        cmocka_unit_test(what_is_no_file_is_refused_at_once),
        cmocka_unit_test(a_failed_write_leaves_nothing_behind),
        cmocka_unit_test(what_is_no_file_is_written_into_and_not_replaced),
        cmocka_unit_test(directories_are_made_and_listed_in_order),
        cmocka_unit_test(paths_are_joined_with_one_slash),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
