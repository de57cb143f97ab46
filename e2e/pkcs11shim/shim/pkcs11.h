// The part of PKCS#11 v2.40 (OASIS) that the shim needs, in our own words: the function list in its order,
// which is the binary interface, and the few types and numbers that the shim looks at. What it only passes
// on is void *. The layout is that of Unix, where structures are not packed.
#ifndef PKCS11_H
#define PKCS11_H

typedef unsigned char CK_BYTE;
typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
typedef CK_ULONG CK_SESSION; // CK_SESSION_HANDLE
typedef CK_ULONG CK_OBJECT;  // CK_OBJECT_HANDLE

typedef struct {
    CK_ULONG type;
    void *value;
    CK_ULONG length; // in bytes
} CK_ATTRIBUTE;

enum {
    CKR_OK = 0,
    CKR_GENERAL_ERROR = 0x05,
    CKR_ARGUMENTS_BAD = 0x07,
    CKR_FUNCTION_NOT_SUPPORTED = 0x54,
    CKR_OPERATION_NOT_INITIALIZED = 0x91,
    CKR_BUFFER_TOO_SMALL = 0x150,
};

enum { CKA_LABEL = 0x03, CKA_ID = 0x102 };

typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;

// PKCS11_FUNCTIONS is X(name, parameters, arguments) for each function, in the order of the list.
#define PKCS11_FUNCTIONS(X) \
    X(C_Initialize, (void *a), (a)) \
    X(C_Finalize, (void *a), (a)) \
    X(C_GetInfo, (void *a), (a)) \
    X(C_GetFunctionList, (CK_FUNCTION_LIST **a), (a)) \
    X(C_GetSlotList, (CK_BYTE a, CK_ULONG *b, CK_ULONG *c), (a, b, c)) \
    X(C_GetSlotInfo, (CK_ULONG a, void *b), (a, b)) \
    X(C_GetTokenInfo, (CK_ULONG a, void *b), (a, b)) \
    X(C_GetMechanismList, (CK_ULONG a, CK_ULONG *b, CK_ULONG *c), (a, b, c)) \
    X(C_GetMechanismInfo, (CK_ULONG a, CK_ULONG b, void *c), (a, b, c)) \
    X(C_InitToken, (CK_ULONG a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d), (a, b, c, d)) \
    X(C_InitPIN, (CK_SESSION s, CK_BYTE *a, CK_ULONG b), (s, a, b)) \
    X(C_SetPIN, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG d), (s, a, b, c, d)) \
    X(C_OpenSession, (CK_ULONG a, CK_ULONG b, void *c, void *d, CK_SESSION *e), (a, b, c, d, e)) \
    X(C_CloseSession, (CK_SESSION s), (s)) \
    X(C_CloseAllSessions, (CK_ULONG a), (a)) \
    X(C_GetSessionInfo, (CK_SESSION s, void *a), (s, a)) \
    X(C_GetOperationState, (CK_SESSION s, CK_BYTE *a, CK_ULONG *b), (s, a, b)) \
    X(C_SetOperationState, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_OBJECT c, CK_OBJECT d), (s, a, b, c, d)) \
    X(C_Login, (CK_SESSION s, CK_ULONG a, CK_BYTE *b, CK_ULONG c), (s, a, b, c)) \
    X(C_Logout, (CK_SESSION s), (s)) \
    X(C_CreateObject, (CK_SESSION s, CK_ATTRIBUTE *a, CK_ULONG b, CK_OBJECT *c), (s, a, b, c)) \
    X(C_CopyObject, (CK_SESSION s, CK_OBJECT a, CK_ATTRIBUTE *b, CK_ULONG c, CK_OBJECT *d), (s, a, b, c, d)) \
    X(C_DestroyObject, (CK_SESSION s, CK_OBJECT a), (s, a)) \
    X(C_GetObjectSize, (CK_SESSION s, CK_OBJECT a, CK_ULONG *b), (s, a, b)) \
    X(C_GetAttributeValue, (CK_SESSION s, CK_OBJECT a, CK_ATTRIBUTE *b, CK_ULONG c), (s, a, b, c)) \
    X(C_SetAttributeValue, (CK_SESSION s, CK_OBJECT a, CK_ATTRIBUTE *b, CK_ULONG c), (s, a, b, c)) \
    X(C_FindObjectsInit, (CK_SESSION s, CK_ATTRIBUTE *a, CK_ULONG b), (s, a, b)) \
    X(C_FindObjects, (CK_SESSION s, CK_OBJECT *a, CK_ULONG b, CK_ULONG *c), (s, a, b, c)) \
    X(C_FindObjectsFinal, (CK_SESSION s), (s)) \
    X(C_EncryptInit, (CK_SESSION s, void *a, CK_OBJECT b), (s, a, b)) \
    X(C_Encrypt, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_EncryptUpdate, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_EncryptFinal, (CK_SESSION s, CK_BYTE *a, CK_ULONG *b), (s, a, b)) \
    X(C_DecryptInit, (CK_SESSION s, void *a, CK_OBJECT b), (s, a, b)) \
    X(C_Decrypt, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_DecryptUpdate, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_DecryptFinal, (CK_SESSION s, CK_BYTE *a, CK_ULONG *b), (s, a, b)) \
    X(C_DigestInit, (CK_SESSION s, void *a), (s, a)) \
    X(C_Digest, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_DigestUpdate, (CK_SESSION s, CK_BYTE *a, CK_ULONG b), (s, a, b)) \
    X(C_DigestKey, (CK_SESSION s, CK_OBJECT a), (s, a)) \
    X(C_DigestFinal, (CK_SESSION s, CK_BYTE *a, CK_ULONG *b), (s, a, b)) \
    X(C_SignInit, (CK_SESSION s, void *a, CK_OBJECT b), (s, a, b)) \
    X(C_Sign, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_SignUpdate, (CK_SESSION s, CK_BYTE *a, CK_ULONG b), (s, a, b)) \
    X(C_SignFinal, (CK_SESSION s, CK_BYTE *a, CK_ULONG *b), (s, a, b)) \
    X(C_SignRecoverInit, (CK_SESSION s, void *a, CK_OBJECT b), (s, a, b)) \
    X(C_SignRecover, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_VerifyInit, (CK_SESSION s, void *a, CK_OBJECT b), (s, a, b)) \
    X(C_Verify, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG d), (s, a, b, c, d)) \
    X(C_VerifyUpdate, (CK_SESSION s, CK_BYTE *a, CK_ULONG b), (s, a, b)) \
    X(C_VerifyFinal, (CK_SESSION s, CK_BYTE *a, CK_ULONG b), (s, a, b)) \
    X(C_VerifyRecoverInit, (CK_SESSION s, void *a, CK_OBJECT b), (s, a, b)) \
    X(C_VerifyRecover, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_DigestEncryptUpdate, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_DecryptDigestUpdate, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_SignEncryptUpdate, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_DecryptVerifyUpdate, (CK_SESSION s, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d), (s, a, b, c, d)) \
    X(C_GenerateKey, (CK_SESSION s, void *a, CK_ATTRIBUTE *b, CK_ULONG c, CK_OBJECT *d), (s, a, b, c, d)) \
    X(C_GenerateKeyPair, \
      (CK_SESSION s, void *a, CK_ATTRIBUTE *b, CK_ULONG c, CK_ATTRIBUTE *d, CK_ULONG e, CK_OBJECT *f, CK_OBJECT *g), \
      (s, a, b, c, d, e, f, g)) \
    X(C_WrapKey, (CK_SESSION s, void *a, CK_OBJECT b, CK_OBJECT c, CK_BYTE *d, CK_ULONG *e), (s, a, b, c, d, e)) \
    X(C_UnwrapKey, \
      (CK_SESSION s, void *a, CK_OBJECT b, CK_BYTE *c, CK_ULONG d, CK_ATTRIBUTE *e, CK_ULONG f, CK_OBJECT *g), \
      (s, a, b, c, d, e, f, g)) \
    X(C_DeriveKey, (CK_SESSION s, void *a, CK_OBJECT b, CK_ATTRIBUTE *c, CK_ULONG d, CK_OBJECT *e), (s, a, b, c, d, e)) \
    X(C_SeedRandom, (CK_SESSION s, CK_BYTE *a, CK_ULONG b), (s, a, b)) \
    X(C_GenerateRandom, (CK_SESSION s, CK_BYTE *a, CK_ULONG b), (s, a, b)) \
    X(C_GetFunctionStatus, (CK_SESSION s), (s)) \
    X(C_CancelFunction, (CK_SESSION s), (s)) \
    X(C_WaitForSlotEvent, (CK_ULONG a, CK_ULONG *b, void *c), (a, b, c))

#define PKCS11_MEMBER(name, parameters, arguments) CK_RV(*name) parameters;
struct CK_FUNCTION_LIST {
    struct {
        CK_BYTE major, minor;
    } version;
    PKCS11_FUNCTIONS(PKCS11_MEMBER)
};

#endif
