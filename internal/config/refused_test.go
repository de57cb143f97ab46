package config

import (
	"strings"
	"testing"
)

// refused is a change to an example that makes it a file to be refused, and all that is said of it.
type refused struct {
	name     string
	old, new string
	want     string
}

var refusedConfigurations = []refused{
	{"a misspelt field", "database:", "databse:",
		"line 4, column 1: unknown field `databse`; did you mean `database`?"},
	{"a field in another manner", "log-key:", "log_key:",
		"line 6, column 1: unknown field `log_key`; did you mean `log-key`?"},
	{"a swapped letter", "url:", "ulr:",
		"line 3, column 1: unknown field `ulr`; did you mean `url`?"},
	{"a field nobody knows", "sqlite: keyserver.db", "postgresql: postgres://db",
		"line 5, column 3: unknown field `postgresql`; only `sqlite` can be here\n" +
			"line 5, column 3: `database` lacks the field `sqlite`"},
	{"a field nobody knows, of several", "directory: keys", "directory: keys\n      colour: blue",
		"line 12, column 7: unknown field `colour`; the fields here are `directory` and `passphrase`"},
	{"a field of another place", "log-key:", "passphrase:",
		"line 6, column 1: unknown field `passphrase`; the fields here are `mode`, `listen`, `url`, `tls`, `metrics-listen`, `database`, `log-key`, `keystores`, `limits` and `log`\n" +
			"line 1, column 1: the file lacks the field `log-key`"},
	{"an unknown field in a flow mapping", "{file: passphrase}", "{flie: passphrase}",
		"line 12, column 20: unknown field `flie`; did you mean `file`?"},
	{"a field that cannot be seen", "listen:", "\"lis\\u202eten\":",
		"line 2, column 1: unknown field `lis\\u202eten`; did you mean `listen`?"},
	{"a duplicate field", "database:", "url: http://127.0.0.1:1\ndatabase:",
		"line 4, column 1: field `url` is given twice; the first is in line 3"},
	{"a duplicate field in quotes", "database:", "\"url\": http://127.0.0.1:1\ndatabase:",
		"line 4, column 1: field `url` is given twice; the first is in line 3"},
	{"no mode", "mode: development\n", "",
		"line 1, column 1: the file lacks the field `mode`"},
	{"a mode without a value", "mode: development", "mode:",
		"line 1, column 1: `mode` has no value; write one"},
	{"a null mode", "mode: development", "mode: ~",
		"line 1, column 1: `mode` has no value; write one"},
	{"an empty mode", "mode: development", "mode: \"\"",
		"line 1, column 7: `mode` is empty; write a value"},
	{"an unknown mode", "mode: development", "mode: test",
		"line 1, column 7: `mode` must be development or production"},
	{"a mode in capitals", "mode: development", "mode: Development",
		"line 1, column 7: `mode` must be development or production"},
	{"text where a list is due", "  - name: software\n    software:\n      directory: keys\n      passphrase: {file: passphrase}\n", "  software\n",
		"line 9, column 3: `keystores` must be a list with at least one entry"},
	{"a mapping where a list is due", "  - name: software", "    name: software",
		"line 9, column 5: `keystores` must be a list with at least one entry"},
	{"an empty list", "\n  - name: software\n    software:\n      directory: keys\n      passphrase: {file: passphrase}\n", " []\n",
		"line 8, column 12: `keystores` must be a list with at least one entry"},
	{"an empty entry", "  - name: software\n", "  -\n  - name: software\n",
		"line 9, column 3: entry 1 of `keystores` has no value; write one"},
	{"text where fields are due", "\n  sqlite: keyserver.db", " keyserver.db",
		"line 4, column 11: `database` must be a mapping; its fields are `sqlite`"},
	{"a list where text is due", "sqlite: keyserver.db", "sqlite: [keyserver.db]",
		"line 5, column 11: `sqlite` must be text in one line"},
	{"a number where text is due", "name: software", "name: 12",
		"line 9, column 11: `name` must be text; put it in quotes if that is what you mean"},
	{"a truth value where text is due", "name: software", "name: true",
		"line 9, column 11: `name` must be text; put it in quotes if that is what you mean"},
	{"text of several lines", "name: software", "name: |\n      software",
		"line 9, column 11: `name` must be text in one line"},
	{"a control character", "name: software", "name: \"soft\\x1b[2Jware\"",
		"line 9, column 11: `name` has a control character in it; remove it"},
	{"text where a number is due", "log-key:", "limits: {requests-per-minute: many}\nlog-key:",
		"line 6, column 31: `requests-per-minute` must be a whole number, 0 or more, in decimal digits only"},
	{"a number in quotes", "log-key:", "limits: {requests-per-minute: \"600\"}\nlog-key:",
		"line 6, column 31: `requests-per-minute` must be a whole number, 0 or more, in decimal digits only"},
	{"an octal number", "log-key:", "limits: {requests-per-minute: 0600}\nlog-key:",
		"line 6, column 31: `requests-per-minute` must be a whole number, 0 or more, in decimal digits only"},
	{"a number with separators", "log-key:", "limits: {requests-per-minute: 6_00}\nlog-key:",
		"line 6, column 31: `requests-per-minute` must be a whole number, 0 or more, in decimal digits only"},
	{"a fraction", "log-key:", "limits: {requests-per-minute: 1.0}\nlog-key:",
		"line 6, column 31: `requests-per-minute` must be a whole number, 0 or more, in decimal digits only"},
	{"a negative number", "log-key:", "limits: {requests-per-minute: -1}\nlog-key:",
		"line 6, column 31: `requests-per-minute` must be a whole number, 0 or more, in decimal digits only"},
	{"no limit at all", "log-key:", "limits: {requests-per-minute: .inf}\nlog-key:",
		"line 6, column 31: `requests-per-minute` must be a whole number, 0 or more, in decimal digits only"},
	{"a number beyond 64 bits", "log-key:", "limits: {requests-per-minute: 18446744073709551617}\nlog-key:",
		"line 6, column 31: `requests-per-minute` must be a whole number, 0 or more, in decimal digits only"},
	{"a null limit", "log-key:", "limits: {requests-per-minute: null}\nlog-key:",
		"line 6, column 10: `requests-per-minute` has no value; write one"},
	{"a time of nothing", "log-key:", "limits: {keystore-timeoutms: 0}\nlog-key:",
		"line 6, column 30: `keystore-timeoutms` must be between 1 and 3153600000000 milliseconds"},
	{"a time that overflows", "log-key:", "limits: {keystore-timeoutms: 9223372036855}\nlog-key:",
		"line 6, column 30: `keystore-timeoutms` must be between 1 and 3153600000000 milliseconds"},
	{"an unknown log format", "log-key:", "log: {format: xml}\nlog-key:",
		"line 6, column 15: `format` must be text or json"},
	{"a secret in two places", "{file: passphrase}", "{file: passphrase, env: PASSPHRASE}",
		"line 12, column 19: `passphrase`: say exactly one of `file` and `env`"},
	{"a secret nowhere", "{file: passphrase}", "{}",
		"line 12, column 19: `passphrase`: say exactly one of `file` and `env`"},
	{"a secret in the file itself", "{file: passphrase}", "hunter2-canary",
		"line 12, column 19: `passphrase` must be a mapping; its fields are `file` and `env`"},
	{"a secret for the name of a variable", "{file: passphrase}", "{env: hunter2-canary}",
		"line 12, column 19: `passphrase`: `env` is the name of an environment variable (letters, digits and underscores), not the secret itself"},
	{"an anchor", "sqlite: keyserver.db", "sqlite: &db keyserver.db",
		"line 5, column 11: `sqlite`: anchors, aliases and tags are not allowed; write the value itself"},
	{"an alias", "sqlite: keyserver.db", "sqlite: *db",
		"line 5, column 11: `sqlite`: anchors, aliases and tags are not allowed; write the value itself"},
	{"a merge key", "sqlite: keyserver.db", "<<: {sqlite: keyserver.db}",
		"line 5, column 3: a field name must be plain text; merge keys, numbers and the like are not allowed here\n" +
			"line 5, column 3: `database` lacks the field `sqlite`"},
	{"a tag", "sqlite: keyserver.db", "sqlite: !!str keyserver.db",
		"line 5, column 11: `sqlite`: anchors, aliases and tags are not allowed; write the value itself"},
	{"a number for a field", "sqlite: keyserver.db", "1: keyserver.db",
		"line 5, column 3: a field name must be plain text; merge keys, numbers and the like are not allowed here\n" +
			"line 5, column 3: `database` lacks the field `sqlite`"},
	{"a complex key", "sqlite: keyserver.db", "? sqlite\n  : keyserver.db",
		"line 5, column 3: a field name must be plain text; merge keys, numbers and the like are not allowed here\n" +
			"line 5, column 3: `database` lacks the field `sqlite`"},
	{"a second document", "log-key:", "---\nlog-key:",
		"line 6, column 1: a second document begins here; the file must be one document, without directives"},
	{"a directive", "mode:", "%YAML 1.1\n---\nmode:",
		"line 2, column 1: a second document begins here; the file must be one document, without directives"},
	{"a byte order mark", "mode:", "\ufeffmode:",
		"the file begins with a byte order mark; save it without one"},
	{"text that is not UTF-8", "name: software", "name: soft\xffware",
		"the file is not valid UTF-8"},
	{"an open quote", "name: software", "name: 'software",
		"line 9, column 11: not valid YAML: could not find end character of single-quoted text"},
	{"bad indentation", "  file: log.key", "  file: log.key\n file: x",
		"line 8, column 2: not valid YAML: value is not allowed in this context"},
	{"deep nesting in flow style", "sqlite: keyserver.db", "sqlite: " + strings.Repeat("[", 100_000),
		"line 5, column 27: lists and mappings are nested more than 16 deep"},
	{"deep nesting in one line", "sqlite: keyserver.db", "sqlite:\n    " + strings.Repeat("- ", 100_000),
		"line 6, column 37: lists and mappings are nested more than 16 deep"},
	{"several mistakes", "listen: 127.0.0.1:8443\nurl: http://127.0.0.1:8443", "lisen: 127.0.0.1:8443\nurl: 7\nurl: 8",
		"line 2, column 1: unknown field `lisen`; did you mean `listen`?\n" +
			"line 3, column 6: `url` must be text; put it in quotes if that is what you mean\n" +
			"line 4, column 1: field `url` is given twice; the first is in line 3"},
}

func TestRefusedConfigurations(t *testing.T) {
	for _, c := range refusedConfigurations {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, edited(t, "development.yaml", c.old, c.new))
			_, err := Read(path, environment(nil))
			c.check(t, path, err)
		})
	}
}

func (c refused) check(t *testing.T, path string, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	if got := strings.ReplaceAll(err.Error(), path+": ", ""); got != c.want {
		t.Errorf("said:\n%s\nwant:\n%s", got, c.want)
	}
}

var refusedBootstraps = []refused{
	{"no requirement", "    requirement: 2\n", "",
		"line 66, column 5: entry 2 of `keys` lacks the field `requirement`"},
	{"a requirement without a value", "requirement: 2", "requirement:",
		"line 71, column 5: `requirement` has no value; write one"},
	{"a null requirement", "requirement: 2", "requirement: null",
		"line 71, column 5: `requirement` has no value; write one"},
	{"a requirement in quotes", "requirement: 2", "requirement: \"2\"",
		"line 71, column 18: `requirement` must be a whole number, 0 or more, in decimal digits only"},
	{"a requirement in words", "requirement: 2", "requirement: two",
		"line 71, column 18: `requirement` must be a whole number, 0 or more, in decimal digits only"},
	{"a negative requirement", "requirement: 2", "requirement: -2",
		"line 71, column 18: `requirement` must be a whole number, 0 or more, in decimal digits only"},
	{"a requirement that is a fraction", "requirement: 2", "requirement: 2.0",
		"line 71, column 18: `requirement` must be a whole number, 0 or more, in decimal digits only"},
	{"a requirement in octal", "requirement: 2", "requirement: 02",
		"line 71, column 18: `requirement` must be a whole number, 0 or more, in decimal digits only"},
	{"a requirement that overflows", "requirement: 2", "requirement: 9223372036854775807",
		"line 71, column 18: `requirement` must be a whole number, 0 or more, in decimal digits only"},
	{"a misspelt requirement", "requirement: 2", "requirements: 2",
		"line 71, column 5: unknown field `requirements`; did you mean `requirement`?"},
	{"two requirements", "requirement: 2", "requirement: 2\n    requirement: 0",
		"line 72, column 5: field `requirement` is given twice; the first is in line 71"},
	{"no key", "keys:\n  - keyid: fw-dev", "key:\n  - keyid: fw-dev",
		"line 54, column 1: unknown field `key`; did you mean `keys`?"},
	{"signed approvals", "approvals: session\n    artifacts: required", "approvals: signed\n    artifacts: required",
		"line 66: key fw-prod: approvals signed are not yet available; say session"},
	{"no approvals", "    approvals: session\n    artifacts: required", "    artifacts: required",
		"line 66, column 5: entry 2 of `keys` lacks the field `approvals`"},
	{"no artifacts", "    artifacts: required\n", "",
		"line 66, column 5: entry 2 of `keys` lacks the field `artifacts`"},
	{"artifacts in another word", "artifacts: required", "artifacts: yes",
		"line 75, column 16: `artifacts` must be optional or required"},
	{"a key id with a capital", "keyid: fw-prod", "keyid: FW-prod",
		"line 66: key \"FW-prod\": an id is 1 to 63 of a-z, 0-9, dot, dash and underscore, and starts with a letter or digit"},
	{"a key id for the second time", "keyid: fw-prod", "keyid: fw-dev",
		"line 66: key fw-dev is named twice"},
	{"a type in small letters", "type: FW\n    algorithm: RSA-3072", "type: fw\n    algorithm: RSA-3072",
		"line 67, column 11: `type` must be ROOT, CA or FW"},
	{"an unknown algorithm", "algorithm: RSA-3072", "algorithm: RSA-1024",
		"line 66: key fw-prod: algorithm \"RSA-1024\" is unknown; it must be one of [RSA-2048 RSA-3072 RSA-4096 ECDSA-P256 ECDSA-P384 ECDSA-P521 Ed25519]"},
	{"an unknown hash", "hash: SHA-256\n    schemes: [ECDSA]", "hash: SHA-1\n    schemes: [ECDSA]",
		"line 55: key fw-dev: hash \"SHA-1\" is unknown; it must be one of [SHA-256 SHA-384 SHA-512]"},
	{"a scheme that does not fit", "schemes: [ECDSA]", "schemes: [EdDSA]",
		"line 55: key fw-dev: scheme \"EdDSA\" does not fit ECDSA-P256; it must be one of [ECDSA]"},
	{"a scheme twice", "schemes: [ECDSA]", "schemes: [ECDSA, ECDSA]",
		"line 59, column 22: `ECDSA` is in `schemes` twice"},
	{"a validity that overflows", "max-validityms: 604800000", "max-validityms: 18446744073709",
		"line 72, column 21: `max-validityms` must be between 1 and 3153600000000 milliseconds"},
	{"a validity of more than a year", "max-validityms: 604800000", "max-validityms: 63072000000",
		"line 66: key fw-prod: longest validity must be between 1 and 31622400000 ms"},
	{"a use count of nothing", "max-usagecount: 1000", "max-usagecount: 0",
		"line 55: key fw-dev: largest use count must be between 1 and 1000000"},
	{"an issuer without TLS", "url: https://login.example.com # people", "url: http://login.example.com",
		"line 2, column 5: entry 1 of `issuers`: `url` must be an https:// URL as it stands in the iss claim; plain http:// is for loopback only"},
	{"keys of an issuer without TLS", "types: [at+jwt]", "types: [at+jwt]\n    keys-url: http://login.example.com/keys",
		"line 2, column 5: entry 1 of `issuers`: `keys-url` must be an https:// URL; plain http:// is for loopback only"},
	{"a symmetric algorithm", "algorithms: [ES256]", "algorithms: [HS256]",
		"line 2: issuer https://login.example.com: algorithm \"HS256\" is not allowed; use one of [RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA]"},
	{"no algorithm", "algorithms: [ES256]", "algorithms: [none]",
		"line 2: issuer https://login.example.com: algorithm \"none\" is not allowed; use one of [RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA]"},
	{"an issuer without audiences", "    audiences: [keyserver]\n", "",
		"line 2, column 5: entry 1 of `issuers` lacks the field `audiences`"},
	{"an issuer with an empty list of audiences", "audiences: [keyserver]", "audiences: []",
		"line 3, column 16: `audiences` must be a list with at least one entry"},
	{"an actor without its claim", "    actor-claim: actor_id\n", "",
		"line 6, column 5: entry 2 of `issuers`: `actor` says something of a claim that `actor-claim` does not name; name it or remove `actor`"},
	{"an actor in another word", "actor: required", "actor: true",
		"line 11, column 12: `actor` must be text; put it in quotes if that is what you mean"},
	{"an actor claim misspelt", "actor-claim:", "actor_claims:",
		"line 10, column 5: unknown field `actor_claims`; did you mean `actor-claim`?"},
	{"an actor number that is no text", "\"583231\"", "583231",
		"line 21, column 70: `value` must be text; put it in quotes if that is what you mean"},
	{"an actor of an issuer that names none", "issuer: https://token.actions.githubusercontent.com, value", "issuer: https://login.example.com, value",
		"line 15: subject alice: there is no issuer \"https://login.example.com\" with an actor claim"},
	{"an identity by e-mail", "claims: {sub: 77c0a2d4}", "claims: {email: bob@example.com}",
		"line 22: subject bob: claim \"email\" can change hands and is never an identity; match on sub (or oid)"},
	{"an identity without claims", "claims: {sub: 77c0a2d4}", "claims: {}",
		"line 26, column 53: `claims` must be a mapping with at least one entry"},
	{"an identity whose claim has no value", "claims: {sub: 77c0a2d4}", "claims: {sub}",
		"line 26, column 54: `sub` has no value; write one"},
	{"an identity whose claim has no values", "claims: {sub: 77c0a2d4}", "claims: {sub: []}",
		"line 26, column 59: `sub` must be a list with at least one entry"},
	{"an identity with a claim that is a number", "claims: {sub: 77c0a2d4}", "claims: {sub: 77}",
		"line 26, column 59: `sub` must be text; put it in quotes if that is what you mean"},
	{"an identity with a list of numbers", "claims: {sub: 77c0a2d4}", "claims: {sub: [77]}",
		"line 26, column 60: entry 1 of `sub` must be text; put it in quotes if that is what you mean"},
	{"an identity of an unknown issuer", "{issuer: https://login.example.com, claims: {sub: 77c0a2d4}}", "{issuer: https://login.example.org, claims: {sub: 77c0a2d4}}",
		"line 22: subject bob: there is no issuer \"https://login.example.org\""},
	{"a subject of an unknown kind", "kind: client", "kind: machine",
		"line 38, column 11: `kind` must be user or client"},
	{"a name with a hidden character", "Bob Brown, engineering lead", "Bob\u202e Brown",
		"line 22: subject bob: name: it has the character U+202E at byte 3, which cannot be shown safely; remove it"},
	{"enabled in another word", "  - id: bob\n", "  - id: bob\n    enabled: yes\n",
		"line 23, column 14: `enabled` must be true or false"},
	{"enabled without a value", "  - id: bob\n", "  - id: bob\n    enabled:\n",
		"line 23, column 5: `enabled` has no value; write one"},
	{"a machine as approver", "members: [bob, carol]", "members: [bob, firmware-ci]",
		"line 50: role fw-approvers: firmware-ci is a machine, and machines are never approvers"},
	{"a role for an unknown subject", "members: [bob, carol]", "members: [bob, mallory]",
		"line 50: role fw-approvers: there is no subject \"mallory\""},
	{"a role that names a member twice", "members: [bob, carol]", "members: [bob, carol, bob]",
		"line 50, column 87: `bob` is in `members` twice"},
	{"a role for an unknown key", "kind: approver, keys: [fw-dev, fw-prod]", "kind: approver, keys: [fw-dev, fw-pord]",
		"line 50: role fw-approvers: there is no key \"fw-pord\""},
	{"an approver role without keys", "kind: approver, keys: [fw-dev, fw-prod]", "kind: approver",
		"line 50: role fw-approvers: an approver role must list the keys it covers"},
	{"an auditor role with keys", "kind: auditor", "kind: auditor, keys: [fw-dev]",
		"line 52: role auditors: an auditor role covers no keys; remove them"},
	{"a role of an unknown kind", "kind: auditor", "kind: admin",
		"line 52, column 26: `kind` must be orderer, approver, administrator or auditor"},
}

func TestRefusedBootstrapFiles(t *testing.T) {
	for _, c := range refusedBootstraps {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, edited(t, "bootstrap.yaml", c.old, c.new))
			_, err := ReadBootstrap(path)
			c.check(t, path, err)
		})
	}
}
