/* Preloaded: once the file $REFUSE_SINCE is there, writes to files whose path begins with $REFUSE_BELOW fail with EDQUOT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int refused(int file) {
    const char *below = getenv("REFUSE_BELOW"), *since = getenv("REFUSE_SINCE");
    char link[64], path[4096];
    if (!below || !since || access(since, F_OK)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, below, strlen(below))) return 0;
    errno = EDQUOT;
    return 1;
}

#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *from, size_t bytes) {
    NEXT(write);
    return refused(file) ? -1 : next(file, from, bytes);
}

ssize_t pwrite(int file, const void *from, size_t bytes, off_t at) {
    NEXT(pwrite);
    return refused(file) ? -1 : next(file, from, bytes, at);
}

ssize_t pwrite64(int file, const void *from, size_t bytes, off64_t at) {
    NEXT(pwrite64);
    return refused(file) ? -1 : next(file, from, bytes, at);
}
