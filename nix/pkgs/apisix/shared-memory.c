/* Loaded ahead of nginx's libraries. Where no control group bounds a sandbox's memory, the kernel refuses it memory that is
 * shared and no process's own, in which nginx keeps its dictionaries. A file without a name in /tmp is counted, and does. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *file_instead(void *address, size_t length, int protection, int flags)
{
    int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file == -1)
        return MAP_FAILED;
    long result = ftruncate(file, length);
    if (result == 0)
        result = syscall(SYS_mmap, address, length, protection, flags & ~MAP_ANONYMOUS, file, 0L);
    close(file);
    return (void *) result;
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset)
{
    const int shared = MAP_SHARED | MAP_ANONYMOUS;
    long result = syscall(SYS_mmap, address, length, protection, flags, file, offset);
    if (result == -1 && errno == EPERM && (flags & shared) == shared)
        return file_instead(address, length, protection, flags);
    return (void *) result;
}

void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));
