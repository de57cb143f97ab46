// A PKCS#11 module for tests: it passes each call on to a real module, writes down every call that makes a
// signature before it is made, and does harm on request. See the README.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

enum { POLL_MS = 5, KILL_PATIENCE_MS = 10000 };

static char directory[PATH_MAX];
static CK_FUNCTION_LIST *real; // NULL until it is loaded
static CK_FUNCTION_LIST ours;

void shim_path(char *to, unsigned long size, const char *file) { snprintf(to, size, "%.*s/%s", PATH_MAX - 16, directory, file); }

void shim_log(const char *format, ...) {
    char path[PATH_MAX], line[1024];
    int n = snprintf(line, sizeof line, "%d: ", (int)getpid());
    va_list args;
    va_start(args, format);
    vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    va_end(args);
    strcat(line, "\n");
    shim_path(path, sizeof path, "log");
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, strlen(line)) < 0) fputs(line, stderr);
    if (fd >= 0) close(fd);
}

// gone is what every call returns while the HSM is said to be gone; otherwise CKR_OK.
static CK_RV gone(void) {
    struct fault f;
    control_read(&f);
    return f.action == GONE ? f.rv : CKR_OK;
}

// Each function of PKCS#11 as the shim has it, unless one below takes its place.
#define PASS(name, parameters, arguments) \
    static CK_RV pass_##name parameters { \
        CK_RV rv = gone(); \
        if (rv != CKR_OK) return rv; \
        return real->name ? real->name arguments : CKR_FUNCTION_NOT_SUPPORTED; \
    }
PKCS11_FUNCTIONS(PASS)

// The signatures under way: which key each session signs with.
struct signing {
    CK_SESSION session;
    struct key key;
    struct signing *next;
};

static pthread_mutex_t signings_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct signing *signings;

// take_signing removes the signature under way in a session, to be freed by the caller, or returns NULL.
static struct signing *take_signing(CK_SESSION session) {
    pthread_mutex_lock(&signings_mutex);
    struct signing **at = &signings;
    while (*at && (*at)->session != session) at = &(*at)->next;
    struct signing *found = *at;
    if (found) *at = found->next;
    pthread_mutex_unlock(&signings_mutex);
    return found;
}

static void keep_signing(struct signing *s) {
    free(take_signing(s->session));
    pthread_mutex_lock(&signings_mutex);
    s->next = signings;
    signings = s;
    pthread_mutex_unlock(&signings_mutex);
}

// The last signature that the module made in this process, for swap.
static pthread_mutex_t previous_mutex = PTHREAD_MUTEX_INITIALIZER;
static CK_BYTE *previous;
static CK_ULONG previous_length;

// remember keeps a signature, and gives the one before it to the caller, who frees it.
static CK_BYTE *remember(const CK_BYTE *signature, CK_ULONG length, CK_ULONG *before_length) {
    CK_BYTE *copy = malloc(length ? length : 1);
    if (copy) memcpy(copy, signature, length);
    pthread_mutex_lock(&previous_mutex);
    CK_BYTE *before = previous;
    *before_length = previous_length;
    previous = copy;
    previous_length = copy ? length : 0;
    pthread_mutex_unlock(&previous_mutex);
    return before;
}

// name_key asks the module for the key's CKA_ID and CKA_LABEL.
static bool name_key(CK_SESSION session, CK_OBJECT object, struct key *k) {
    CK_BYTE id[MAX_ATTRIBUTE], label[MAX_ATTRIBUTE];
    CK_ATTRIBUTE a[] = {{CKA_ID, id, sizeof id}, {CKA_LABEL, label, sizeof label}};
    if (!real->C_GetAttributeValue || real->C_GetAttributeValue(session, object, a, 2) != CKR_OK) return false;
    if (a[0].length > sizeof id || a[1].length > sizeof label) return false;
    char *to = k->id;
    for (CK_ULONG i = 0; i < a[0].length; i++) to += sprintf(to, "%02x", id[i]);
    *to = '\0';
    to = k->label;
    for (CK_ULONG i = 0; i < a[1].length; i++) to += sprintf(to, plain_byte(label[i]) ? "%c" : "%%%02X", label[i]);
    *to = '\0';
    return true;
}

// abandon ends a signature under way whose last call the module did not get. PKCS#11 2.40 has no call for
// it, but one that fails ends it, as C_SignUpdate does for a mechanism of a single part; for another it stays.
static void abandon(CK_SESSION session) {
    CK_BYTE nothing = 0;
    if (real->C_SignUpdate) real->C_SignUpdate(session, &nothing, 1);
}

typedef CK_RV (*init_function)(CK_SESSION, void *, CK_OBJECT);

static CK_RV sign_init(init_function init, CK_SESSION session, void *mechanism, CK_OBJECT object) {
    struct fault f;
    control_read(&f);
    if (f.action == MALFORMED) return CKR_GENERAL_ERROR;
    struct signing *s = calloc(1, sizeof *s);
    if (!s) return CKR_GENERAL_ERROR;
    s->session = session;
    bool named = f.action != GONE && name_key(session, object, &s->key);
    CK_RV rv = init(session, mechanism, object);
    if (rv == CKR_OK && !named) {
        shim_log("a signature is refused, since its key tells no CKA_ID and CKA_LABEL of at most %d bytes", MAX_ATTRIBUTE);
        abandon(session);
        rv = CKR_GENERAL_ERROR;
    }
    if (rv == CKR_OK)
        keep_signing(s);
    else
        free(s);
    return rv;
}

static void sleep_ms(unsigned long ms) {
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

// hang returns when the control file is gone or is another, and says whether it is understood.
static bool hang(const struct fault *f) {
    for (;;) {
        struct fault now;
        control_read(&now);
        if (now.action == MALFORMED) return false;
        if (now.action != HANG || strcmp(now.name, f->name) != 0) return true;
        sleep_ms(POLL_MS);
    }
}

// kill_process kills a process and waits until all its threads have ended.
static bool kill_process(int pid) {
    if (pid == 0) raise(SIGKILL);
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    bool ok = fd >= 0 && syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;
    struct pollfd end = {.fd = fd, .events = POLLIN};
    int ended = 0;
    while (ok && (ended = poll(&end, 1, KILL_PATIENCE_MS)) < 0 && errno == EINTR) continue;
    if (!ok) shim_log("killing process %d: %s", pid, strerror(errno));
    if (ok && ended != 1) shim_log("process %d is killed but has not ended", pid);
    if (fd >= 0) close(fd);
    return ok && ended == 1;
}

typedef CK_RV (*sign_function)(CK_SESSION, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);

// struct call is one call that makes a signature.
struct call {
    const char *name;
    sign_function function;
    CK_SESSION session;
    CK_BYTE *data;
    CK_ULONG data_length;
    CK_BYTE *signature;
    CK_ULONG *length, room; // room: what *length was
};

// swap puts the signature made before in the place of this one.
static CK_RV swap(const struct call *c, const CK_BYTE *before, CK_ULONG length) {
    if (!before || length > c->room) {
        shim_log("nothing to swap: %s", before ? "the signature before is too long for this caller" : "this process has made no signature before");
        return CKR_GENERAL_ERROR;
    }
    memcpy(c->signature, before, length);
    *c->length = length;
    return CKR_OK;
}

// spoil does what a fault asks for after the call, and returns what the caller gets.
static CK_RV spoil(const struct call *c, const struct fault *f, CK_RV rv) {
    CK_ULONG length = 0;
    CK_BYTE *before = rv == CKR_OK ? remember(c->signature, *c->length, &length) : NULL;
    switch (f->action) {
    case REPORT: rv = f->rv; break;
    case CORRUPT:
        if (rv == CKR_OK && *c->length > 0) c->signature[*c->length - 1] ^= 1;
        break;
    case SWAP:
        if (rv == CKR_OK) rv = swap(c, before, length);
        break;
    case KILL_AFTER:
        if (f->pid != 0 && !kill_process(f->pid)) rv = CKR_GENERAL_ERROR;
        break;
    default: break;
    }
    free(before);
    if (rv != CKR_OK) memset(c->signature, 0, c->room);
    return rv;
}

// prepare does what a fault asks for before the call. What it returns is for the caller, unless it is CKR_OK:
// then the call is to be made.
static CK_RV prepare(const struct fault *f) {
    switch (f->action) {
    case MALFORMED: return CKR_GENERAL_ERROR;
    case GONE: case RETURN: return f->rv;
    case DELAY: sleep_ms(f->ms); return CKR_OK;
    case HANG: return hang(f) ? CKR_OK : CKR_GENERAL_ERROR;
    case KILL_BEFORE: return kill_process(f->pid) ? CKR_OK : CKR_GENERAL_ERROR;
    default: return CKR_OK;
    }
}

static CK_RV make(const struct call *c, const struct key *k) {
    struct fault f;
    unsigned long number;
    control_read(&f);
    if (!calls_before(c->name, k, &f, &number)) {
        abandon(c->session);
        return CKR_GENERAL_ERROR;
    }
    CK_RV made = CKR_OK, rv = prepare(&f);
    bool called = rv == CKR_OK;
    if (called) {
        made = c->function(c->session, c->data, c->data_length, c->signature, c->length);
        rv = spoil(c, &f, made);
    }
    bool under_way = !called || made == CKR_BUFFER_TOO_SMALL;
    if (under_way && rv != CKR_BUFFER_TOO_SMALL) abandon(c->session);
    calls_after(number, called, made, rv);
    if (called && f.action == KILL_AFTER && f.pid == 0) kill_process(0);
    return rv;
}

static CK_RV sign(struct call c) {
    struct signing *s = c.length && c.signature ? take_signing(c.session) : NULL;
    if (!s) { // no call that makes a signature
        CK_RV rv = gone();
        if (rv != CKR_OK) return rv;
        if (!c.length) return CKR_ARGUMENTS_BAD;
        if (c.signature) return CKR_OPERATION_NOT_INITIALIZED;
        return c.function(c.session, c.data, c.data_length, NULL, c.length); // it asks for the length
    }
    c.room = *c.length;
    CK_RV rv = make(&c, &s->key);
    if (rv == CKR_BUFFER_TOO_SMALL)
        keep_signing(s); // PKCS#11: the caller may try again
    else
        free(s);
    return rv;
}

static CK_RV real_sign_final(CK_SESSION s, CK_BYTE *data, CK_ULONG data_length, CK_BYTE *signature, CK_ULONG *length) {
    (void)data, (void)data_length;
    return real->C_SignFinal ? real->C_SignFinal(s, signature, length) : CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV not_there(CK_SESSION s, CK_BYTE *data, CK_ULONG data_length, CK_BYTE *signature, CK_ULONG *length) {
    (void)s, (void)data, (void)data_length, (void)signature, (void)length;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV our_SignInit(CK_SESSION s, void *mechanism, CK_OBJECT key) { return sign_init(pass_C_SignInit, s, mechanism, key); }

static CK_RV our_SignRecoverInit(CK_SESSION s, void *mechanism, CK_OBJECT key) {
    return sign_init(pass_C_SignRecoverInit, s, mechanism, key);
}

static CK_RV our_Sign(CK_SESSION s, CK_BYTE *data, CK_ULONG data_length, CK_BYTE *signature, CK_ULONG *length) {
    return sign((struct call){"C_Sign", real->C_Sign ? real->C_Sign : not_there, s, data, data_length, signature, length, 0});
}

static CK_RV our_SignRecover(CK_SESSION s, CK_BYTE *data, CK_ULONG data_length, CK_BYTE *signature, CK_ULONG *length) {
    sign_function f = real->C_SignRecover ? real->C_SignRecover : not_there;
    return sign((struct call){"C_SignRecover", f, s, data, data_length, signature, length, 0});
}

static CK_RV our_SignFinal(CK_SESSION s, CK_BYTE *signature, CK_ULONG *length) {
    return sign((struct call){"C_SignFinal", real_sign_final, s, NULL, 0, signature, length, 0});
}

static CK_RV our_SignUpdate(CK_SESSION s, CK_BYTE *part, CK_ULONG length) {
    struct fault f;
    control_read(&f);
    return f.action == MALFORMED ? CKR_GENERAL_ERROR : pass_C_SignUpdate(s, part, length);
}

static CK_RV our_CloseSession(CK_SESSION s) {
    CK_RV rv = pass_C_CloseSession(s);
    if (rv == CKR_OK) free(take_signing(s));
    return rv;
}

// A program can let go of the module also while the HSM is gone.
static CK_RV our_Finalize(void *reserved) {
    CK_RV rv = real->C_Finalize ? real->C_Finalize(reserved) : CKR_FUNCTION_NOT_SUPPORTED;
    pthread_mutex_lock(&signings_mutex);
    for (struct signing *s = signings, *next; rv == CKR_OK && s; s = next) next = s->next, free(s);
    if (rv == CKR_OK) signings = NULL;
    pthread_mutex_unlock(&signings_mutex);
    return rv;
}

// A restored state could hold a signature under way whose key the shim does not know.
static CK_RV our_SetOperationState(CK_SESSION s, CK_BYTE *state, CK_ULONG length, CK_OBJECT encryption, CK_OBJECT authentication) {
    (void)s, (void)state, (void)length, (void)encryption, (void)authentication;
    CK_RV rv = gone();
    return rv != CKR_OK ? rv : CKR_FUNCTION_NOT_SUPPORTED;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

// load returns what is wrong, or NULL.
static const char *load(void) {
    const char *module = getenv("PKCS11_SHIM_MODULE"), *dir = getenv("PKCS11_SHIM_DIR");
    if (!module || !*module) return "PKCS11_SHIM_MODULE must name the real module";
    if (!dir || !realpath(dir, directory)) return "PKCS11_SHIM_DIR must name a directory that exists";
    if (strlen(directory) > PATH_MAX - 16) return "PKCS11_SHIM_DIR is too long";
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    if (!library) return dlerror();
    CK_RV (*get)(CK_FUNCTION_LIST **);
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    if (!get) return "PKCS11_SHIM_MODULE has no C_GetFunctionList";
    if (get == C_GetFunctionList) return "PKCS11_SHIM_MODULE is the shim itself";
    CK_FUNCTION_LIST *list = NULL;
    if (get(&list) != CKR_OK || !list) return "PKCS11_SHIM_MODULE gives no function list";
    if (list->version.major != 2) return "PKCS11_SHIM_MODULE gives a function list that is not of PKCS#11 2";
    real = list;
    return NULL;
}

static void set_up(void) {
    const char *wrong = load();
    if (wrong) {
        fprintf(stderr, "pkcs11shim: %s\n", wrong);
        return;
    }
    ours.version = real->version;
#define ENTER(name, parameters, arguments) ours.name = pass_##name;
    PKCS11_FUNCTIONS(ENTER)
    ours.C_GetFunctionList = C_GetFunctionList;
    ours.C_Finalize = our_Finalize;
    ours.C_CloseSession = our_CloseSession;
    ours.C_SetOperationState = our_SetOperationState;
    ours.C_SignInit = our_SignInit;
    ours.C_SignRecoverInit = our_SignRecoverInit;
    ours.C_Sign = our_Sign;
    ours.C_SignUpdate = our_SignUpdate;
    ours.C_SignFinal = our_SignFinal;
    ours.C_SignRecover = our_SignRecover;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up);
    if (!list) return CKR_ARGUMENTS_BAD;
    *list = real ? &ours : NULL;
    return real ? CKR_OK : CKR_GENERAL_ERROR;
}
