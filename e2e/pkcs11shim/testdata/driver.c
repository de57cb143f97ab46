// A small program that loads a PKCS#11 module and does what its standard input says, a line each: a verb, the
// label of a key in hex, a mechanism and data, both in hex. Each answer is one line: the last function that was called, what it returned, and a signature in hex if there is one. What
// a call that failed has left in the room for the signature is shown too.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pkcs11.h"

enum { CKF_OS_LOCKING_OK = 2, CKF_SERIAL_RW = 6, CKU_USER = 1, CKA_CLASS = 0, CKO_PRIVATE_KEY = 3, MAX = 8192 };

static CK_FUNCTION_LIST *p11;
static CK_ULONG slot;
static char *pin;
static CK_SESSION main_session;

// A step that returns from the function around it when it does not succeed.
#define STEP(name, arguments) \
    do { \
        *last = #name; \
        CK_RV step = p11->name arguments; \
        if (step != CKR_OK) return step; \
    } while (0)

static void answer(const char *function, CK_RV rv, const CK_BYTE *signature, CK_ULONG length) {
    printf("%s 0x%lx ", function, rv);
    if (rv != CKR_OK)
        for (length = MAX; length > 0 && (!signature || signature[length - 1] == 0);) length--;
    for (CK_ULONG i = 0; i < length; i++) printf("%02x", signature[i]);
    putchar('\n');
    fflush(stdout);
}

static CK_RV start(const char **last) {
    struct {
        void *f[4];
        CK_ULONG flags;
        void *reserved;
    } args = {.flags = CKF_OS_LOCKING_OK};
    STEP(C_Initialize, (&args));
    STEP(C_OpenSession, (slot, CKF_SERIAL_RW, NULL, NULL, &main_session));
    STEP(C_Login, (main_session, CKU_USER, (CK_BYTE *)pin, strlen(pin)));
    return CKR_OK;
}

static CK_RV begin(CK_SESSION s, char *label, CK_ULONG type, const char **last) {
    CK_ULONG class = CKO_PRIVATE_KEY, n = 0;
    CK_OBJECT key = 0;
    CK_ATTRIBUTE a[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, label, strlen(label)}};
    struct {
        CK_ULONG type;
        void *parameter;
        CK_ULONG length;
    } mechanism = {type, NULL, 0};
    STEP(C_FindObjectsInit, (s, a, 2));
    STEP(C_FindObjects, (s, &key, 1, &n));
    STEP(C_FindObjectsFinal, (s));
    STEP(C_SignInit, (s, &mechanism, key));
    return CKR_OK;
}

// sign asks for the length first, as many programs do.
static CK_RV sign(CK_SESSION s, char *label, CK_ULONG type, CK_BYTE *data, CK_ULONG n, CK_BYTE *signature, CK_ULONG *length, const char **last) {
    CK_RV rv = begin(s, label, type, last);
    if (rv != CKR_OK) return rv;
    STEP(C_Sign, (s, data, n, NULL, length));
    STEP(C_Sign, (s, data, n, signature, length));
    return CKR_OK;
}

// narrow signs with too little room first.
static CK_RV narrow(char *label, CK_ULONG type, CK_BYTE *data, CK_ULONG n, CK_BYTE *signature, CK_ULONG *length, const char **last) {
    CK_RV rv = begin(main_session, label, type, last);
    if (rv != CKR_OK) return rv;
    CK_ULONG little = 1;
    *last = "C_Sign";
    if ((rv = p11->C_Sign(main_session, data, n, signature, &little)) != CKR_BUFFER_TOO_SMALL) return rv;
    STEP(C_Sign, (main_session, data, n, signature, length));
    return CKR_OK;
}

static CK_RV parts(char *label, CK_ULONG type, CK_BYTE *data, CK_ULONG n, CK_BYTE *signature, CK_ULONG *length, const char **last) {
    CK_RV rv = begin(main_session, label, type, last);
    if (rv != CKR_OK) return rv;
    for (CK_ULONG i = 0; i < n; i++) STEP(C_SignUpdate, (main_session, data + i, 1));
    STEP(C_SignFinal, (main_session, signature, length));
    return CKR_OK;
}

static char *load_label;
static int load_count;

// load signs in a session of its own, and says before and after each signature that it does.
static void *load(void *unused) {
    (void)unused;
    CK_SESSION s;
    CK_BYTE digest[32] = {1}, signature[MAX];
    const char *last;
    if (p11->C_OpenSession(slot, CKF_SERIAL_RW, NULL, NULL, &s) != CKR_OK) _exit(3);
    for (int i = 0; i < load_count; i++) {
        CK_ULONG length = sizeof signature;
        if (write(1, "asks\n", 5) != 5) _exit(3);
        if (sign(s, load_label, 0x1041, digest, sizeof digest, signature, &length, &last) != CKR_OK) _exit(3);
        if (write(1, "gets\n", 5) != 5) _exit(3);
    }
    p11->C_CloseSession(s);
    return NULL;
}

static void loads(int threads) {
    pthread_t t[64];
    for (int i = 0; i < threads && i < 64; i++)
        if (pthread_create(&t[i], NULL, load, NULL)) _exit(3);
    for (int i = 0; i < threads && i < 64; i++) pthread_join(t[i], NULL);
}

// every calls each function with zeros.
static void every(void) {
    typedef CK_RV (*any)(CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG);
#define CALL(name, parameters, arguments) \
    if (strcmp(#name, "C_Finalize") != 0 && strcmp(#name, "C_GetFunctionList") != 0) \
        answer(#name, ((any)(void (*)(void))p11->name)(0, 0, 0, 0, 0, 0, 0, 0), NULL, 0);
    PKCS11_FUNCTIONS(CALL)
}

static CK_ULONG unhex(const char *text, CK_BYTE *to) {
    CK_ULONG n = 0;
    for (unsigned byte; n < MAX && sscanf(text + 2 * n, "%2x", &byte) == 1; n++) to[n] = (CK_BYTE)byte;
    return n;
}

static void obey(const char *line) {
    char verb[16] = "", name[512] = "", label[MAX] = "", hex[2 * MAX + 1] = "";
    CK_ULONG type = 0, length = MAX;
    CK_BYTE data[MAX], signature[MAX] = {0};
    const char *last = "";
    sscanf(line, "%15s %511s %lx %16384s", verb, name, &type, hex);
    label[unhex(name, (CK_BYTE *)label)] = '\0';
    CK_ULONG n = unhex(hex, data);
    CK_RV rv = CKR_OK;
    if (strcmp(verb, "start") == 0) rv = start(&last), length = 0;
    if (strcmp(verb, "sign") == 0) rv = sign(main_session, label, type, data, n, signature, &length, &last);
    if (strcmp(verb, "begin") == 0) rv = begin(main_session, label, type, &last), length = 0;
    if (strcmp(verb, "part") == 0) last = "C_SignUpdate", rv = p11->C_SignUpdate(main_session, data, n), length = 0;
    if (strcmp(verb, "end") == 0) last = "C_Sign", rv = p11->C_Sign(main_session, data, n, signature, &length);
    if (strcmp(verb, "narrow") == 0) rv = narrow(label, type, data, n, signature, &length, &last);
    if (strcmp(verb, "parts") == 0) rv = parts(label, type, data, n, signature, &length, &last);
    if (strcmp(verb, "finish") == 0) last = "C_Finalize", rv = p11->C_Finalize(NULL), length = 0;
    if (strcmp(verb, "load") == 0) {
        int threads = (int)type;
        load_label = label;
        load_count = atoi(hex);
        loads(threads);
        last = "load", length = 0;
    }
    if (strcmp(verb, "every") == 0) every(), last = "every", length = 0;
    answer(last, rv, signature, length);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    slot = strtoul(argv[2], NULL, 10);
    pin = argv[3];
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) return fprintf(stderr, "%s\n", dlerror()), 2;
    CK_RV (*get)(CK_FUNCTION_LIST **);
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    if (!get || get(&p11) != CKR_OK) return fprintf(stderr, "no function list\n"), 2;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) obey(line);
    free(line);
    return 0;
}
