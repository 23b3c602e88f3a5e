/*
 * Preloaded into holdfast: makes calls on some files fail with EIO, as a disk that breaks does; or sends the
 * process a signal at a call that is counted, so that it comes at the same place in every run.
 *
 * FAILING_FILES   what the names of the files end with
 * FAILING_CALLS   which calls: any of the letters w (write), f (flush), r (read)
 * FAILING_AFTER   how many of them go well first; all that follow fail
 * FAILING_SIGNAL  a number: sent at the first that would fail, and none fails
 * FAILING_LOG     a file that gets one line for every write and flush of any file, and every failure (!)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;

static void name_of(int fd, char *path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, size - 1);
  path[length < 0 ? 0 : length] = 0;
}

static void note(char kind, const char *path, long offset) {
  const char *log = getenv("FAILING_LOG");
  if (log == NULL) return;
  char line[4200];
  int length = snprintf(line, sizeof line, "%c %ld %s\n", kind, offset, path);
  int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (fd < 0 || write(fd, line, length) != length) abort();
  close(fd);
}

static int ends_with(const char *path, const char *end) {
  size_t length = strlen(path), wanted = strlen(end);
  return length >= wanted && strcmp(path + length - wanted, end) == 0;
}

/* 1 if the call is to fail. */
static int strikes(const char *path, char kind) {
  const char *files = getenv("FAILING_FILES");
  const char *kinds = getenv("FAILING_CALLS");
  const char *after = getenv("FAILING_AFTER");
  const char *number = getenv("FAILING_SIGNAL");
  if (files == NULL || !ends_with(path, files)) return 0;
  if (kinds == NULL || strchr(kinds, kind) == NULL) return 0;
  long before = after == NULL ? 0 : atol(after);
  long count = atomic_fetch_add(&calls, 1);
  if (number == NULL) return count >= before;
  if (count == before) kill(getpid(), atoi(number));
  return 0;
}

static int fails(char kind, int fd, long offset) {
  int saved = errno;
  char path[4096];
  name_of(fd, path, sizeof path);
  int failed = strikes(path, kind);
  if (failed) note('!', path, offset);
  else if (kind != 'r') note(kind, path, offset);
  errno = failed ? EIO : saved;
  return failed;
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))
#define WRITES(name, offset_type)                                                                     \
  ssize_t name(int fd, const void *bytes, size_t size, offset_type at) {                              \
    return fails('w', fd, at) ? -1 : REAL(name)(fd, bytes, size, at);                                 \
  }
#define WRITES_LISTS(name, offset_type)                                                               \
  ssize_t name(int fd, const struct iovec *list, int count, offset_type at) {                         \
    return fails('w', fd, at) ? -1 : REAL(name)(fd, list, count, at);                                 \
  }
#define READS(name, offset_type)                                                                      \
  ssize_t name(int fd, void *bytes, size_t size, offset_type at) {                                    \
    return fails('r', fd, at) ? -1 : REAL(name)(fd, bytes, size, at);                                 \
  }
#define READS_LISTS(name, offset_type)                                                                \
  ssize_t name(int fd, const struct iovec *list, int count, offset_type at) {                         \
    return fails('r', fd, at) ? -1 : REAL(name)(fd, list, count, at);                                 \
  }
#define FLUSHES(name)                                                                                 \
  int name(int fd) { return fails('f', fd, 0) ? -1 : REAL(name)(fd); }

WRITES(pwrite, off_t)
WRITES(pwrite64, off64_t)
WRITES_LISTS(pwritev, off_t)
WRITES_LISTS(pwritev64, off64_t)
READS(pread, off_t)
READS(pread64, off64_t)
READS_LISTS(preadv, off_t)
READS_LISTS(preadv64, off64_t)
FLUSHES(fsync)
FLUSHES(fdatasync)
