/* SHA-1 and SHA-256 against the published vectors (FIPS 180-4 examples, NIST CAVP) and git's own names. */
#include "base/sha.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef struct vector {
    const char *text;
    size_t repeat;
    const char *sha1, *sha256;
} vector;

static const vector vectors[] = {
    {"", 1, "da39a3ee5e6b4b0d3255bfef95601890afd80709",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1, "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"a", 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

static void hash(const vector *v, bool sha256, char hex[ES_SHA256_HEX + 1])
{
    es_sha sha;
    if (sha256)
        es_sha256_begin(&sha);
    else
        es_sha1_begin(&sha);
    for (size_t i = 0; i < v->repeat; i++)
        es_sha_update(&sha, v->text, strlen(v->text));
    es_sha_finish(&sha, hex);
}

static void published_vectors_are_reproduced(void **state)
{
    (void)state;
    char hex[ES_SHA256_HEX + 1];
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        hash(&vectors[i], false, hex);
        assert_string_equal(hex, vectors[i].sha1);
        hash(&vectors[i], true, hex);
        assert_string_equal(hex, vectors[i].sha256);
    }
}

/* Any cut of the input into pieces gives the digest of the whole, at every length around the block and its padding. */
static void pieces_hash_like_the_whole(void **state)
{
    (void)state;
    uint8_t data[200];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + 3);
    for (size_t size = 0; size <= sizeof data; size++) {
        for (size_t cut = 0; cut <= size; cut += 1 + size / 9) {
            es_sha whole, parts;
            char a[ES_SHA256_HEX + 1], b[ES_SHA256_HEX + 1];
            es_sha256_begin(&whole);
            es_sha256_begin(&parts);
            es_sha_update(&whole, data, size);
            es_sha_update(&parts, data, cut);
            es_sha_update(&parts, data + cut, size - cut);
            es_sha_finish(&whole, a);
            es_sha_finish(&parts, b);
            assert_string_equal(a, b);
        }
    }
}

static void git_blob_names_are_those_of_git(void **state)
{
    (void)state;
    es_sha sha;
    char hex[ES_SHA256_HEX + 1];
    es_sha_git_blob_begin(&sha, 0);
    es_sha_finish(&sha, hex);
    assert_string_equal(hex, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"); /* git hash-object /dev/null */
    es_sha_git_blob_begin(&sha, 12);
    es_sha_update(&sha, "hello world\n", 12);
    es_sha_finish(&sha, hex);
    assert_string_equal(hex,
                        "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"); /* echo hello world | git hash-object --stdin */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors_are_reproduced),
        cmocka_unit_test(pieces_hash_like_the_whole),
        cmocka_unit_test(git_blob_names_are_those_of_git),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
