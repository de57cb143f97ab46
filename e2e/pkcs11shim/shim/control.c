// The control file: one line, strictly read. See the README for its words.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim.h"

enum { MAX_LINE = 1024, MAX_MS = 600000, MAX_COUNT = 1000000000 };

const char *const action_words[] = {"none",    "malformed", "delay", "hang",        "return",     "report",
                                    "corrupt", "swap",      "kill-before", "kill-after", "gone", NULL};

bool plain_byte(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

// digit is the value of a hexadecimal digit, or -1.
static int digit(char c, bool upper) {
    if (c >= '0' && c <= '9') return c - '0';
    char first = upper ? 'A' : 'a';
    return c >= first && c <= first + 5 ? c - first + 10 : -1;
}

// number reads digits of the base and nothing else, from 1 to max.
static bool number(const char *text, int base, unsigned long max, unsigned long *n) {
    if (strspn(text, base == 16 ? "0123456789abcdefABCDEF" : "0123456789") != strlen(text) || !*text) return false;
    errno = 0;
    *n = strtoul(text, NULL, base);
    return errno == 0 && *n >= 1 && *n <= max;
}

static bool read_name(const char *text, char *to) {
    size_t n = strlen(text);
    if (n < 1 || n > MAX_NAME || strcmp(text, "-") == 0) return false;
    for (size_t i = 0; i < n; i++)
        if (!plain_byte((unsigned char)text[i])) return false;
    strcpy(to, text);
    return true;
}

static bool read_id(const char *text, char *to) {
    size_t n = strlen(text);
    if (n < 2 || n % 2 || n > 2 * MAX_ATTRIBUTE) return false;
    for (size_t i = 0; i < n; i++)
        if (digit(text[i], false) < 0) return false;
    strcpy(to, text);
    return true;
}

// read_label takes a label as the shim itself writes it: each label has one spelling.
static bool read_label(const char *text, char *to) {
    if (!*text || strlen(text) > 3 * MAX_ATTRIBUTE) return false;
    for (const char *c = text; *c; c++) {
        if (plain_byte((unsigned char)*c)) continue;
        if (*c != '%' || digit(c[1], true) < 0 || digit(c[2], true) < 0) return false;
        if (plain_byte((unsigned char)(digit(c[1], true) * 16 + digit(c[2], true)))) return false;
        c += 2;
    }
    strcpy(to, text);
    return true;
}

enum word { MS = 1, RV = 2, PID = 4, KEY = 8, FROM = 16, TIMES = 32 };

static const char *after(const char *text, const char *prefix) {
    size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

// read_word reads one word=value, and returns which it was, or 0.
static int read_word(const char *text, struct fault *f) {
    const char *v;
    unsigned long pid;
    if ((v = after(text, "ms="))) return number(v, 10, MAX_MS, &f->ms) ? MS : 0;
    if ((v = after(text, "rv=0x"))) return number(v, 16, ULONG_MAX, &f->rv) ? RV : 0;
    if ((v = after(text, "from="))) return number(v, 10, MAX_COUNT, &f->from) ? FROM : 0;
    if ((v = after(text, "times="))) return number(v, 10, MAX_COUNT, &f->times) ? TIMES : 0;
    if ((v = after(text, "key=id:"))) return read_id(v, f->key.id) ? KEY : 0;
    if ((v = after(text, "key=label:"))) return read_label(v, f->key.label) ? KEY : 0;
    if (strcmp(text, "pid=self") == 0) return PID;
    if ((v = after(text, "pid=")) && number(v, 10, INT_MAX, &pid) && pid > 1) {
        f->pid = (int)pid;
        return PID;
    }
    return 0;
}

static int needed(enum action a) {
    switch (a) {
    case DELAY: return MS;
    case RETURN: case REPORT: case GONE: return RV;
    case KILL_BEFORE: case KILL_AFTER: return PID;
    default: return 0;
    }
}

// parse reads NAME ACTION [WORD=VALUE]..., and returns what is wrong, or NULL.
static const char *parse(char *line, struct fault *f) {
    char *word = strsep(&line, " ");
    if (!read_name(word, f->name)) return "its first word is no name";
    if (!(word = strsep(&line, " "))) return "it says nothing to do";
    f->action = NOTHING;
    for (int a = DELAY; action_words[a]; a++)
        if (strcmp(word, action_words[a]) == 0) f->action = (enum action)a;
    if (f->action == NOTHING) return "its second word is no action";
    f->from = 1;
    int seen = 0, need = needed(f->action);
    while ((word = strsep(&line, " "))) {
        int w = read_word(word, f);
        if (!w) return "one of its words is unknown, or its value is not valid";
        if (seen & w) return "it says a word twice";
        seen |= w;
    }
    if ((seen & need) != need) return "the action lacks its ms=, rv= or pid=";
    if (seen & (MS | RV | PID) & ~need) return "it has an ms=, rv= or pid= that is not for this action";
    if (f->action == GONE && seen != RV) return "gone is for every call: it takes neither key= nor from= nor times=";
    return NULL;
}

// read_line reads the control file as a string without its newline, and returns what is wrong, or NULL.
static const char *read_line(int fd, char line[MAX_LINE]) {
    ssize_t n = read(fd, line, MAX_LINE);
    if (n < 0) return strerror(errno);
    if (n == MAX_LINE) return "it is too long";
    if (n == 0 || line[n - 1] != '\n') return "it does not end with a newline";
    line[n - 1] = '\0';
    if (strlen(line) != (size_t)n - 1 || strchr(line, '\n')) return "it is more than one line";
    return NULL;
}

void control_read(struct fault *f) {
    char path[PATH_MAX], line[MAX_LINE];
    memset(f, 0, sizeof *f);
    shim_path(path, sizeof path, "control");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return;
    const char *wrong = fd < 0 ? strerror(errno) : read_line(fd, line);
    if (fd >= 0) close(fd);
    if (!wrong) wrong = parse(line, f);
    if (!wrong) return;
    shim_log("the control file is not understood: %s", wrong);
    memset(f, 0, sizeof *f);
    f->action = MALFORMED;
}

bool control_fits(const struct fault *f, const struct key *k) {
    if (*f->key.id) return strcmp(f->key.id, k->id) == 0;
    return !*f->key.label || strcmp(f->key.label, k->label) == 0;
}
