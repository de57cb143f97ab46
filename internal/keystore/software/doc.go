// Package software is the keystore that needs no hardware: private keys in one directory, encrypted.
//
//	keystore.json    how the key-encryption key is made from the passphrase, and whether it is the right one
//	fw-prod.1.key    one key pair: key fw-prod, version 1
//
// The directory has mode 0700 and its files 0600; anything wider is refused. A file is written once, whole
// or not at all, and never replaced; several processes may use the directory at the same time. A crash can
// leave a draft behind, .new-…, which nothing reads and which may be removed.
//
// The key-encryption key is made by PBKDF2-HMAC-SHA-256 (RFC 8018) and HKDF (RFC 5869). A key file is one
// line of text and the private key (PKCS #8, RFC 5958) under AES-256-GCM with a random nonce; the line
// names the key, its version and its algorithm and is the associated data, so a file that was renamed,
// swapped or changed is found out.
//
// What it does not do: the private keys of the keys in use stay decrypted in the memory of the process, and
// so does the key-encryption key. Who can read that memory has them. Use an HSM where that is not
// acceptable.
package software
