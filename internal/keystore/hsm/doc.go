// Package hsm is the keystore of keys in an HSM, or any other token with a PKCS#11 library.
//
// A vendor's library may hang, crash or overwrite memory, so it is never loaded into the server. A worker
// process, cmd/keyserver-hsm, loads one library and logs in to one token in it; one worker serves one
// configured keystore, so that a token which hangs takes no other along, not even one of the same library.
// [Keystore] is the server's side: it starts the worker, speaks to it over a socketpair, kills it when a
// call takes too long, and starts another. What both sides say to each other is here as well
// (message.go, docs/formats/hsm-worker.md), as is what the worker needs that is no cgo: the names of key
// pairs (handle.go) and the forms of public keys and signatures (forms.go).
//
// A key pair is named by a PKCS#11 URI (RFC 7512) with its token's label and its CKA_ID. A private key and
// a public key belong together if they have the same CKA_ID, and a signature is made only if the public key
// there is the permit's; labels serve people alone.
//
// What it does not do: the worker believes what the server asks of it, and who has the PIN and a way to the
// token needs neither. See docs/security-model.md.
package hsm
