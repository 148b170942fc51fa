/* listen.h - listening sockets: Unix ones that only their owner may use, TCP ones on addresses. */
#ifndef ES_SERVE_LISTEN_H
#define ES_SERVE_LISTEN_H

#include <stdbool.h>

#include "base/status.h"

/* Which file a socket is, so that nobody else's is removed. */
typedef struct es_socket_file {
    unsigned long long device, inode;
} es_socket_file;

/* Listens at path, mode 0600. A stale socket (nobody listens) is replaced; one in use, another user's, or a file that
 * is no socket is an error. */
es_status es_listen_unix(const char *path, int *fd, es_socket_file *file, es_error *err);
void es_unlink_unix(const char *path, const es_socket_file *file); /* if it is still that one */

/* Listens at an address ("127.0.0.1", "[::1]", "0.0.0.0", each with or without ":PORT"; `port` where it has none; 0:
 * any free one). *loopback: only this machine can reach it. where: "http://127.0.0.1:11435". */
es_status es_listen_tcp(const char *address, int port, int *fd, bool *loopback, char where[80], es_error *err);

#endif
