#include "serve/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A stream socket that children do not inherit. */
static int new_socket(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

/* --- Unix --- */

/* Takes away a socket at which nobody listens. */
static es_status clear_stale(const struct sockaddr_un *address, es_error *err)
{
    const char *path = address->sun_path;
    struct stat about;
    if (lstat(path, &about) != 0)
        return errno == ENOENT ? ES_OK : es_fail(err, ES_ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISSOCK(about.st_mode))
        return es_fail(err, ES_ERR_IO, "%s is there and no socket: give another path", path);
    if (about.st_uid != geteuid())
        return es_fail(err, ES_ERR_IO, "%s is another user's socket: give another path", path);
    int fd = new_socket(AF_UNIX);
    if (fd < 0)
        return es_fail(err, ES_ERR_IO, "cannot make a socket: %s", strerror(errno));
    bool alive = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN;
    close(fd);
    if (alive)
        return es_fail(err, ES_ERR_IO, "%s is in use: another escriba answers there", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return es_fail(err, ES_ERR_IO, "cannot remove the stale socket %s: %s", path, strerror(errno));
    return ES_OK;
}

es_status es_listen_unix(const char *path, int *out, es_socket_file *file, es_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat about;
    *out = -1;
    if (strlen(path) >= sizeof address.sun_path)
        return es_fail(err, ES_ERR_ARGUMENT, "%s: a socket's path has at most %zu bytes", path,
                       sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    ES_TRY(clear_stale(&address, err));
    int fd = new_socket(AF_UNIX);
    if (fd < 0)
        return es_fail(err, ES_ERR_IO, "cannot make a socket: %s", strerror(errno));
    mode_t before = umask(0177); /* the file is born 0600: there is no moment in which others may connect */
    int bound = bind(fd, (const struct sockaddr *)&address, sizeof address), why = errno;
    umask(before);
    if (bound == 0 && stat(path, &about) == 0)
        *file = (es_socket_file){(unsigned long long)about.st_dev, (unsigned long long)about.st_ino};
    if (bound != 0 || listen(fd, 64) != 0) {
        why = bound != 0 ? why : errno;
        close(fd);
        return es_fail(err, ES_ERR_IO, "cannot listen at %s: %s", path, strerror(why));
    }
    *out = fd;
    return ES_OK;
}

void es_unlink_unix(const char *path, const es_socket_file *file)
{
    struct stat about;
    if (file->inode != 0 && lstat(path, &about) == 0 && (unsigned long long)about.st_ino == file->inode &&
        (unsigned long long)about.st_dev == file->device)
        unlink(path);
}

/* --- TCP --- */

static es_status split(const char *address, int port, char *host, size_t size, char *service, size_t service_size,
                       es_error *err)
{
    const char *end = address[0] == '[' ? strchr(address, ']') : strrchr(address, ':');
    bool bare_six = address[0] != '[' && end != NULL && strchr(address, ':') != end; /* "::1" */
    const char *from = address[0] == '[' ? address + 1 : address;
    const char *colon = address[0] == '[' && end != NULL ? (end[1] == ':' ? end + 1 : NULL) : end;
    size_t n = end == NULL || bare_six ? strlen(from) : (size_t)(end - from);
    if (bare_six)
        colon = NULL;
    if (n == 0 || n >= size || (address[0] == '[' && end == NULL))
        return es_fail(err, ES_ERR_ARGUMENT, "%.60s is no address such as 127.0.0.1:11435 or [::1]:11435", address);
    memcpy(host, from, n);
    host[n] = '\0';
    if (colon != NULL)
        snprintf(service, service_size, "%.10s", colon + 1);
    else
        snprintf(service, service_size, "%d", port);
    return ES_OK;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24) == 127;
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

static void name_socket(int fd, char where[80])
{
    struct sockaddr_storage bound;
    socklen_t n = sizeof bound;
    char host[INET6_ADDRSTRLEN] = "", service[12] = "";
    if (getsockname(fd, (struct sockaddr *)&bound, &n) == 0)
        getnameinfo((const struct sockaddr *)&bound, n, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(where, 80, strchr(host, ':') != NULL ? "http://[%s]:%s" : "http://%s:%s", host, service);
}

es_status es_listen_tcp(const char *address, int port, int *out, bool *loopback, char where[80], es_error *err)
{
    char host[64], service[12];
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    *out = -1;
    ES_TRY(split(address, port, host, sizeof host, service, sizeof service, err));
    if (strcmp(host, "localhost") == 0)
        snprintf(host, sizeof host, "127.0.0.1");
    if (getaddrinfo(host, service, &hints, &found) != 0)
        return es_fail(err, ES_ERR_ARGUMENT, "%.60s is no address such as 127.0.0.1:11435 or [::1]:11435", address);
    *loopback = is_loopback(found->ai_addr);
    int fd = new_socket(found->ai_family), on = 1;
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 128) != 0) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        freeaddrinfo(found);
        return es_fail(err, ES_ERR_IO, "cannot listen at %s port %s: %s", host, service, strerror(why));
    }
    freeaddrinfo(found);
    name_socket(fd, where);
    *out = fd;
    return ES_OK;
}
