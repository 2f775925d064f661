/* A disk that is slow, or hangs: stands before fdatasync and fsync of a server (LD_PRELOAD), which scripts/bench starts.
 *
 * The file that SLOW_DISK names says how many milliseconds each flush takes longer. As long as somebody holds an exclusive
 * lock on it, no flush goes on at all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_for_disk(void)
{
    char text[16] = "";
    int disk = open(getenv("SLOW_DISK"), O_RDONLY | O_CLOEXEC);
    if (disk < 0)
        abort();
    while (flock(disk, LOCK_SH) != 0)
        if (errno != EINTR)
            abort();
    if (read(disk, text, sizeof text - 1) < 0)
        abort();
    close(disk);
    long ms = atol(text);
    struct timespec rest = { ms / 1000, ms % 1000 * 1000000 };
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        ;
}

int fdatasync(int file)
{
    wait_for_disk();
    return (int)syscall(SYS_fdatasync, file);
}

int fsync(int file)
{
    wait_for_disk();
    return (int)syscall(SYS_fsync, file);
}
