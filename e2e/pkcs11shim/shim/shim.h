// What the files of the shim share: the control file, the file of calls, the log.
#ifndef SHIM_H
#define SHIM_H

#include <stdbool.h>

#include "pkcs11.h"

enum { MAX_ATTRIBUTE = 256, MAX_NAME = 64 }; // in bytes

// struct key names a key, in the words of the files.
struct key {
    char id[2 * MAX_ATTRIBUTE + 1];    // CKA_ID in lower-case hex
    char label[3 * MAX_ATTRIBUTE + 1]; // CKA_LABEL; all but letters, digits, '.', '_' and '-' as %XX
};

enum action { NOTHING, MALFORMED, DELAY, HANG, RETURN, REPORT, CORRUPT, SWAP, KILL_BEFORE, KILL_AFTER, GONE };

// struct fault is what the control file asks for.
struct fault {
    enum action action;
    char name[MAX_NAME + 1];
    unsigned long ms, rv, from, times; // times 0: without end
    int pid;                           // 0: the calling process
    struct key key;                    // both empty: each key
};

// The words of the actions, in the order of the enum.
extern const char *const action_words[];

// control_read reads the control file. Without one the action is NOTHING; one that is not understood is
// MALFORMED, and the log says why.
void control_read(struct fault *f);

// control_fits says whether a fault is for a key.
bool control_fits(const struct fault *f, const struct key *k);

// plain_byte says whether a byte of a label or of a name stands for itself.
bool plain_byte(unsigned char c);

// calls_before writes the line that stands before a call. It numbers the call, and sets the action of the
// fault to NOTHING if this call is not among those that the fault is for. It fails when the line is not
// written: then the call must not be made.
bool calls_before(const char *function, const struct key *k, struct fault *f, unsigned long *number);

// calls_after writes the line after a call: what the module returned, if it was called, and what the caller gets.
void calls_after(unsigned long number, bool called, CK_RV real, CK_RV returned);

// shim_path writes the path of a file in the directory of the shim.
void shim_path(char *to, unsigned long size, const char *file);

// shim_log writes a line to the log file.
void shim_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
