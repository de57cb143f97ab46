// The file of calls: one line before each call that makes a signature, one after it. It is shared by all
// threads and processes that use the directory, and right after a SIGKILL at any moment: a line is appended
// by one write under a lock which the kernel lets go when its holder dies; a line that the kernel wrote in
// part is cut off by the next writer, since its call was never made.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim.h"

enum { MAX_LINE = 4096 };

// What this process has read of the file so far, so that it need not count from the start each time.
static struct {
    pthread_mutex_t mutex;
    dev_t device;
    ino_t inode;
    off_t offset;
    unsigned long calls;     // before-lines
    char name[MAX_NAME + 1]; // of the fault whose calls are counted
    unsigned long matches;   // the calls that it fits
} seen = {.mutex = PTHREAD_MUTEX_INITIALIZER};

// open_locked opens the file for this one line: a description of its own makes the lock hold between threads
// and after a fork too.
static int open_locked(void) {
    char path[PATH_MAX];
    shim_path(path, sizeof path, "calls");
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    while (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        if (errno == EINTR) continue;
        close(fd);
        return -1;
    }
    return fd;
}

// count takes in a line of the file.
static bool count(const char *line) {
    if (strncmp(line, "after ", 6) == 0) return true;
    if (strncmp(line, "before ", 7) != 0) return false;
    seen.calls++;
    char mine[MAX_NAME + 32];
    snprintf(mine, sizeof mine, " control=%s match=", seen.name);
    const char *at = *seen.name ? strstr(line, mine) : NULL;
    if (at && strtoul(at + strlen(mine), NULL, 10) > 0) seen.matches++;
    return true;
}

// catch_up reads what was written since the last time. It leaves the file with whole lines only.
static bool catch_up(int fd, const char *name) {
    struct stat s;
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)) return false;
    if (s.st_dev != seen.device || s.st_ino != seen.inode || s.st_size < seen.offset || strcmp(name, seen.name) != 0) {
        seen.device = s.st_dev, seen.inode = s.st_ino;
        seen.offset = 0, seen.calls = 0, seen.matches = 0;
        if (name != seen.name) strcpy(seen.name, name);
    }
    int again = dup(fd);
    FILE *file = again < 0 ? NULL : fdopen(again, "r");
    if (!file) {
        if (again >= 0) close(again);
        return false;
    }
    char *line = NULL;
    size_t size = 0;
    ssize_t n = 0;
    bool ok = fseeko(file, seen.offset, SEEK_SET) == 0;
    while (ok && (n = getline(&line, &size, file)) > 0 && line[n - 1] == '\n') {
        ok = count(line);
        seen.offset += n;
    }
    ok = ok && !ferror(file);
    free(line);
    fclose(file);
    if (ok && n > 0) ok = ftruncate(fd, seen.offset) == 0; // a line without its end
    if (!ok) seen.inode = 0, seen.device = 0;              // count anew the next time
    return ok;
}

static bool append(int fd, const char *line) {
    size_t n = strlen(line);
    return n < MAX_LINE && write(fd, line, n) == (ssize_t)n;
}

// number_call decides under the lock which number a call has and whether the fault is for it, and says so in the file.
static bool number_call(int fd, const char *function, const struct key *k, struct fault *f, unsigned long *number) {
    if (!catch_up(fd, *f->name ? f->name : seen.name)) return false;
    unsigned long match = 0;
    if (*f->name && control_fits(f, k)) match = seen.matches + 1;
    if (*f->name && (match < f->from || (f->times && match - f->from >= f->times))) f->action = NOTHING;
    *number = seen.calls + 1;
    char line[MAX_LINE];
    snprintf(line, sizeof line, "before %lu pid=%d function=%s id=%s label=%s control=%s match=%lu fault=%s\n", *number, (int)getpid(),
             function, k->id, k->label, *f->name ? f->name : "-", match, action_words[f->action]);
    return append(fd, line);
}

bool calls_before(const char *function, const struct key *k, struct fault *f, unsigned long *number) {
    pthread_mutex_lock(&seen.mutex);
    int fd = open_locked();
    bool ok = fd >= 0 && number_call(fd, function, k, f, number);
    if (!ok) shim_log("the call of %s is not made, since it cannot be written down: %s", function, strerror(errno));
    if (fd >= 0) close(fd);
    pthread_mutex_unlock(&seen.mutex);
    return ok;
}

void calls_after(unsigned long number, bool called, CK_RV real, CK_RV returned) {
    char line[MAX_LINE], what[32] = "-";
    if (called) snprintf(what, sizeof what, "0x%lx", real);
    snprintf(line, sizeof line, "after %lu pid=%d real=%s returned=0x%lx\n", number, (int)getpid(), what, returned);
    pthread_mutex_lock(&seen.mutex);
    int fd = open_locked();
    bool ok = fd >= 0 && catch_up(fd, seen.name) && append(fd, line);
    if (!ok) shim_log("the end of call %lu cannot be written down: %s", number, strerror(errno));
    if (fd >= 0) close(fd);
    pthread_mutex_unlock(&seen.mutex);
}
