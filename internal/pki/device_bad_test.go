package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// forged is a certificate request made part by part.
type forged struct {
	version   int
	subject   []byte
	spki      []byte
	wishes    []byte // attributes with their tag
	algorithm pkix.AlgorithmIdentifier
	sign      func(info []byte) []byte
}

func (f forged) der(t testing.TB) []byte {
	t.Helper()
	type info struct {
		Version                  int
		Subject, Key, Attributes asn1.RawValue
	}
	marshal := func(v any) []byte {
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	tbs := marshal(info{f.version, asn1.RawValue{FullBytes: f.subject}, asn1.RawValue{FullBytes: f.spki}, asn1.RawValue{FullBytes: f.wishes}})
	signature := f.sign(tbs)
	return marshal(struct {
		Info      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, f.algorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
}

var (
	null        = asn1.RawValue{Tag: asn1.TagNull}
	oidRSA      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidEC       = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	rsaWithSHA1 = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, Parameters: null}
	rsaWithMD5  = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}, Parameters: null}
	ecWithSHA1  = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}}
)

// good is a request that is forged into a good one.
func good(t testing.TB, a law.Algorithm) forged {
	t.Helper()
	var parts struct {
		Info struct {
			Raw        asn1.RawContent
			Version    int
			Subject    asn1.RawValue
			Key        asn1.RawValue
			Attributes asn1.RawValue `asn1:"tag:0"`
		}
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(csr(t, a, nil), &parts); err != nil {
		t.Fatal(err)
	}
	return forged{0, parts.Info.Subject.FullBytes, parts.Info.Key.FullBytes, []byte{0xa0, 0}, parts.Algorithm, func(info []byte) []byte {
		sum := sha256.Sum256(info)
		digest, hash := sum[:], crypto.SHA256
		if a == law.Ed25519 {
			digest, hash = info, 0
		}
		signature, err := private(t, a, devicePair).Sign(rand.Reader, digest, hash)
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}}
}

func spkiOf(t testing.TB, algorithm asn1.ObjectIdentifier, parameters asn1.RawValue, key []byte) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: algorithm, Parameters: parameters}, asn1.BitString{Bytes: key, BitLength: 8 * len(key)}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func rsaSPKI(t testing.TB, n, e *big.Int) []byte {
	t.Helper()
	key, err := asn1.Marshal(struct{ N, E *big.Int }{n, e})
	if err != nil {
		t.Fatal(err)
	}
	return spkiOf(t, oidRSA, null, key)
}

func curve(t testing.TB, arcs ...int) asn1.RawValue {
	t.Helper()
	der, err := asn1.Marshal(asn1.ObjectIdentifier(arcs))
	if err != nil {
		t.Fatal(err)
	}
	return asn1.RawValue{FullBytes: der}
}

// odd is a number of so many bits that has no small factor.
func odd(t testing.TB, bits int) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, 512)
	if err != nil {
		t.Fatal(err)
	}
	n := new(big.Int).Set(p)
	for n.BitLen() < bits {
		n.Mul(n, p)
	}
	return n.Add(n.Rsh(n, uint(n.BitLen()-bits)), big.NewInt(0)).SetBit(n, 0, 1)
}

// rocaModulus has the pattern of the keys of CVE-2017-15361: a power of 65537 modulo the product of small primes.
func rocaModulus(t testing.TB) *big.Int {
	t.Helper()
	product := big.NewInt(1)
	for p := int64(2); p <= 167; p++ {
		if big.NewInt(p).ProbablyPrime(0) {
			product.Mul(product, big.NewInt(p))
		}
	}
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(123456789), product)
	n.Add(n, new(big.Int).Mul(product, new(big.Int).Rsh(new(big.Int).Lsh(big.NewInt(1), 2048), uint(product.BitLen()-1)-0)))
	for n.BitLen() > 2048 {
		n.Sub(n, new(big.Int).Mul(product, new(big.Int).Lsh(big.NewInt(1), uint(2048-product.BitLen()-2))))
	}
	for small := true; small; {
		n.Add(n, product)
		small = false
		for p := int64(2); p < 1000; p++ {
			small = small || new(big.Int).Mod(n, big.NewInt(p)).Sign() == 0
		}
	}
	return n
}

// closeModulus is the product of a prime and the next one.
func closeModulus(t testing.TB, apart int64) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	q := new(big.Int).Set(p)
	if apart > 0 {
		for q.Add(q, big.NewInt(apart)).SetBit(q, 0, 1); !q.ProbablyPrime(20); q.Add(q, big.NewInt(2)) {
		}
	}
	return q.Mul(p, q)
}

// CE-03
func TestAWeakOrOddDeviceKeyIsRefusedBeforeItsSignatureIsLookedAt(t *testing.T) {
	made := newDeviceCA(t, law.P256, idevid())
	f4 := big.NewInt(65537)
	n := odd(t, 2048)
	power := func(bits uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), bits) }
	point := func(c elliptic.Curve, x, y *big.Int) []byte {
		size := (c.Params().BitSize + 7) / 8
		return slices.Concat([]byte{4}, x.FillBytes(make([]byte, size)), y.FillBytes(make([]byte, size)))
	}
	p256, p384 := elliptic.P256(), elliptic.P384()
	negative := new(big.Int).Sub(p256.Params().P, p256.Params().Gy)
	valid := point(p256, p256.Params().Gx, p256.Params().Gy)
	ec := func(parameters asn1.RawValue, key []byte) []byte { return spkiOf(t, oidEC, parameters, key) }
	named256 := curve(t, 1, 2, 840, 10045, 3, 1, 7)
	edwards := func(hexadecimal string) []byte {
		key, err := hex.DecodeString(hexadecimal)
		if err != nil {
			t.Fatal(err)
		}
		return spkiOf(t, asn1.ObjectIdentifier{1, 3, 101, 112}, asn1.RawValue{}, key)
	}
	for name, is := range map[string]struct {
		spki []byte
		says string
	}{
		"RSA of 1024 bits":                 {rsaSPKI(t, odd(t, 1024), f4), "its RSA key has 1024 bits; use one of 2048, 3072 or 4096"},
		"RSA of 2047 bits":                 {rsaSPKI(t, odd(t, 2047), f4), "its RSA key has 2047 bits"},
		"RSA of 16,384 bits":               {rsaSPKI(t, odd(t, 16384), f4), "its RSA key has 16384 bits"},
		"RSA of no bits":                   {rsaSPKI(t, big.NewInt(0), f4), "its RSA key has 0 bits"},
		"a negative modulus":               {rsaSPKI(t, new(big.Int).Neg(n), f4), "its RSA key has 2048 bits"},
		"exponent 1":                       {rsaSPKI(t, n, big.NewInt(1)), "another public exponent than 65537"},
		"exponent 3":                       {rsaSPKI(t, n, big.NewInt(3)), "another public exponent than 65537"},
		"an even exponent":                 {rsaSPKI(t, n, big.NewInt(65536)), "another public exponent than 65537"},
		"a negative exponent":              {rsaSPKI(t, n, big.NewInt(-65537)), "another public exponent than 65537"},
		"exponent 2^32+1":                  {rsaSPKI(t, n, new(big.Int).SetBit(power(32), 0, 1)), "another public exponent than 65537"},
		"exponent 2^64+65537":              {rsaSPKI(t, n, new(big.Int).Add(power(64), f4)), "another public exponent than 65537"},
		"an exponent of 4096 bits":         {rsaSPKI(t, n, new(big.Int).SetBit(power(4095), 0, 1)), "another public exponent than 65537"},
		"an even modulus":                  {rsaSPKI(t, new(big.Int).SetBit(n, 0, 0), f4), "is even or has another small factor"},
		"a modulus that has a factor 997":  {rsaSPKI(t, new(big.Int).Mul(new(big.Int).SetBit(odd(t, 2038), 2036, 1), big.NewInt(997)), f4), "small factor"},
		"ROCA":                             {rsaSPKI(t, rocaModulus(t), f4), "(ROCA, CVE-2017-15361)"},
		"a square":                         {rsaSPKI(t, closeModulus(t, 0), f4), "two primes that are close to each other"},
		"close primes":                     {rsaSPKI(t, closeModulus(t, 2), f4), "two primes that are close to each other"},
		"RSA without parameters":           {spkiOf(t, oidRSA, asn1.RawValue{}, []byte{0x30, 0}), "has parameters other than NULL"},
		"RSA that is no key":               {spkiOf(t, oidRSA, null, []byte{0x30, 0}), "is no RSAPublicKey"},
		"RSA with something after it":      {spkiOf(t, oidRSA, null, []byte{0x30, 6, 2, 1, 5, 2, 1, 3, 0}), "is no RSAPublicKey"},
		"DSA":                              {spkiOf(t, asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, null, []byte{2, 1, 5}), "of the algorithm 1.2.840.10040.4.1; use RSA, ECDSA or Ed25519"},
		"P-224":                            {ec(curve(t, 1, 3, 132, 0, 33), valid[:57]), "on the curve 1.3.132.0.33; use P-256"},
		"secp256k1":                        {ec(curve(t, 1, 3, 132, 0, 10), valid), "on the curve 1.3.132.0.10; use P-256"},
		"explicit parameters":              {ec(asn1.RawValue{FullBytes: []byte{0x30, 3, 2, 1, 1}}, valid), "does not name its curve"},
		"no parameters":                    {ec(asn1.RawValue{}, valid), "does not name its curve"},
		"a point off the curve":            {ec(named256, point(p256, p256.Params().Gx, big.NewInt(7))), "is not on the curve P-256"},
		"a coordinate beyond the field":    {ec(named256, point(p256, new(big.Int).Add(p256.Params().P, big.NewInt(5)), big.NewInt(7))), "is not on the curve P-256"},
		"a point of another curve":         {ec(named256, point(p384, p384.Params().Gx, p384.Params().Gy)), "is not on the curve P-256"},
		"the point at infinity":            {ec(named256, []byte{0}), "is compressed, or none"},
		"no point":                         {ec(named256, nil), "is compressed, or none"},
		"a compressed point":               {ec(named256, append([]byte{3}, valid[1:33]...)), "is compressed, or none"},
		"the generator":                    {ec(named256, valid), "the generator of the curve"},
		"the generator, negative":          {ec(named256, point(p256, p256.Params().Gx, negative)), "the generator of the curve"},
		"Ed25519 of order 1":               {edwards("0100000000000000000000000000000000000000000000000000000000000000"), "small order"},
		"Ed25519 of order 1, another sign": {edwards("0100000000000000000000000000000000000000000000000000000000000080"), "small order"},
		"Ed25519 of order 2":               {edwards("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), "small order"},
		"Ed25519 of order 4":               {edwards("0000000000000000000000000000000000000000000000000000000000000080"), "small order"},
		"Ed25519 of order 8":               {edwards("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"), "small order"},
		"Ed25519 of order 8, the other":    {edwards("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "small order"},
		"Ed25519 that is not reduced":      {edwards("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), "not in its shortest form"},
		"Ed25519 too short":                {edwards("26e8"), "not 32 bytes long"},
		"Ed25519 with parameters":          {spkiOf(t, asn1.ObjectIdentifier{1, 3, 101, 112}, null, make([]byte, 32)), "has parameters"},
	} {
		t.Run(name, func(t *testing.T) {
			f := good(t, law.P256)
			f.spki = is.spki
			f.sign = func([]byte) []byte { return bytes.Repeat([]byte{1}, 2048) }
			raw := f.der(t)
			took := time.Hour
			for range 3 { // the machine may be busy with something else
				begin := time.Now()
				refusedDevice(t, made.lower.pki(), raw, is.says)
				took = min(took, time.Since(begin))
			}
			if took > 100*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// The smallest private keys make keys that are on their curve; the lints know them.
func TestAnECKeyWhosePrivateKeyCanBeTriedOutIsNotCertified(t *testing.T) {
	made := newDeviceCA(t, law.P256, idevid())
	l, err := pki.NewLinter(made.lower.Key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []byte{2, 77} {
		weak, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), big.NewInt(int64(d)).FillBytes(make([]byte, 32)))
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{SerialNumber: "A1B2C3D4"}}, weak)
		if err != nil {
			t.Fatal(err)
		}
		draft, _, err := pki.PrepareDevice(made.lower.pki(), request(t, der), now, newSerial(t))
		if err != nil {
			t.Fatal(err)
		}
		refused(t, l.Lint(draft.TBS()), "e_ecdsa_small_private_key")
	}
}

// CE-02
func TestARequestThatProvesNothingIsRefused(t *testing.T) {
	made := newDeviceCA(t, law.P256, idevid())
	signed := func(a law.Algorithm, algorithm pkix.AlgorithmIdentifier, h crypto.Hash, sum func([]byte) []byte) forged {
		f := good(t, a)
		f.algorithm = algorithm
		f.sign = func(info []byte) []byte {
			signature, err := private(t, a, devicePair).Sign(rand.Reader, sum(info), h)
			if err != nil {
				t.Fatal(err)
			}
			return signature
		}
		return f
	}
	withSHA1 := func(info []byte) []byte { s := sha1.Sum(info); return s[:] }
	another, flipped, absent, mismatched, unknown, other := good(t, law.P256), good(t, law.P256), good(t, law.P256), good(t, law.P256), good(t, law.P256), good(t, law.P256)
	another.sign = func(info []byte) []byte {
		sum := sha256.Sum256(info)
		signature, err := private(t, law.P256, devicePair+1).Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	honest := good(t, law.P256).sign
	flipped.sign = func(info []byte) []byte { s := honest(info); s[len(s)-1] ^= 1; return s }
	other.sign = func(info []byte) []byte { return honest(append(info, 0)) }
	absent.sign = func([]byte) []byte { return nil }
	mismatched.algorithm = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: null}
	unknown.algorithm = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 3, 4}}
	for name, is := range map[string]struct {
		forged
		says string
	}{
		"by another key":                 {another, "its signature is not by the key that is in it"},
		"a bit is flipped":               {flipped, "its signature is not by the key that is in it"},
		"over something else":            {other, "its signature is not by the key that is in it"},
		"there is no signature":          {absent, "its signature is not by the key that is in it"},
		"an algorithm of another key":    {mismatched, "its signature is not by the key that is in it"},
		"an algorithm that nobody knows": {unknown, "sign it with SHA-256, SHA-384 or SHA-512, or Ed25519"},
		"RSA with SHA-1":                 {signed(law.RSA2048, rsaWithSHA1, crypto.SHA1, withSHA1), "it is signed with SHA1-RSA; sign it with SHA-256"},
		"RSA with MD5":                   {signed(law.RSA2048, rsaWithMD5, crypto.MD5, func([]byte) []byte { return make([]byte, 16) }), "it is signed with MD5-RSA; sign it with SHA-256"},
		"ECDSA with SHA-1":               {signed(law.P256, ecWithSHA1, crypto.SHA1, withSHA1), "it is signed with ECDSA-SHA1; sign it with SHA-256"},
	} {
		t.Run(name, func(t *testing.T) { refusedDevice(t, made.lower.pki(), is.der(t), is.says) })
	}
	for _, a := range law.Algorithms() {
		raw := csr(t, a, func(r *x509.CertificateRequest) {
			if a == law.RSA2048 {
				r.SignatureAlgorithm = x509.SHA384WithRSAPSS
			}
		})
		if r := request(t, raw); r.Algorithm != a || !bytes.Equal(r.DER, raw) {
			t.Errorf("%s: it is taken for %s", a, r.Algorithm)
		}
	}
}

func TestARequestThatCouldBeReadInTwoWaysIsRefused(t *testing.T) {
	made := newDeviceCA(t, law.P256, idevid())
	der := good(t, law.P256).der(t)
	armoured := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	with := func(change func(*forged)) []byte {
		f := good(t, law.P256)
		change(&f)
		return f.der(t)
	}
	wishes := func(tlv ...byte) func(*forged) { return func(f *forged) { f.wishes = tlv } }
	subject := func(tlv ...byte) func(*forged) { return func(f *forged) { f.subject = tlv } }
	// attributes [0] { SEQUENCE { extensionRequest, SET { SEQUENCE {extensions} } } }
	extensions := func(inside ...byte) func(*forged) {
		list := append([]byte{0x30, byte(len(inside))}, inside...)
		values := append([]byte{0x31, byte(len(list))}, list...)
		one := append([]byte{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14}, values...)
		one = append([]byte{0x30, byte(len(one))}, one...)
		return wishes(append([]byte{0xa0, byte(len(one))}, one...)...)
	}
	usage := []byte{0x30, 14, 6, 3, 0x55, 0x1d, 0x0f, 1, 1, 0xff, 4, 4, 3, 2, 7, 0x80}
	if _, err := pki.ParseDeviceRequest(with(extensions(usage...))); err != nil {
		t.Fatal(err)
	}
	for name, is := range map[string]struct {
		raw  []byte
		says string
	}{
		"nothing":                      {nil, "it is 0 bytes long"},
		"too much":                     {bytes.Repeat([]byte{'x'}, pki.MaxDeviceRequest+1), "it is 16385 bytes long"},
		"a subject that is huge":       {with(subject(slices.Concat([]byte{0x30, 0x82, 0x3f, 0xf0, 0x31, 0x82, 0x3f, 0xec, 0x30, 0x82, 0x3f, 0xe8, 6, 3, 0x55, 4, 5, 0x0c, 0x82, 0x3f, 0xdf}, bytes.Repeat([]byte{'A'}, 0x3fdf))...)), "bytes long; between 1 and 16384 are accepted"},
		"text":                         {[]byte("hello"), "it is neither DER nor one block of PEM"},
		"a certificate":                {pki.PEM(pki.CertificatePEM, made.lower.certificate.Raw), `its PEM block is a "CERTIFICATE"; send a CERTIFICATE REQUEST`},
		"a certificate, DER":           {made.lower.certificate.Raw, "it is no PKCS #10 request"},
		"two requests":                 {[]byte(armoured + armoured), "something follows its PEM block"},
		"text before the PEM":          {[]byte("hello\n" + armoured), "with nothing before it"},
		"text after the PEM":           {[]byte(armoured + "hello\n"), "something follows its PEM block"},
		"PEM with headers":             {[]byte(strings.Replace(armoured, "REQUEST-----\n", "REQUEST-----\nProc-Type: 4,ENCRYPTED\n\n", 1)), "its PEM block has headers"},
		"PEM in PEM":                   {pki.PEM(pki.RequestPEM, []byte(armoured)), "it is not DER"},
		"bytes after it":               {append(bytes.Clone(der), 0), "1 bytes follow its end"},
		"bytes missing":                {der[:len(der)-1], "it is not DER"},
		"a length in two bytes":        {slices.Concat([]byte{0x30, 0x83, 0}, der[2:]), "it is not DER"},
		"no length":                    {slices.Concat([]byte{0x30, 0x80}, der[3:], []byte{0, 0}), "it is not DER"},
		"version 1":                    {with(func(f *forged) { f.version = 1 }), "it has version 1; the only one is 0"},
		"a version in two bytes":       {bytes.Replace(der, []byte{2, 1, 0, 0x30}, []byte{2, 2, 0, 0}, 1), "it is not DER"},
		"a boolean that is 1":          {with(extensions(0x30, 14, 6, 3, 0x55, 0x1d, 0x0f, 1, 1, 1, 4, 4, 3, 2, 7, 0x80)), "it is not DER: the content of a value with tag 1"},
		"a default that is written":    {with(extensions(0x30, 14, 6, 3, 0x55, 0x1d, 0x0f, 1, 1, 0, 4, 4, 3, 2, 7, 0x80)), "it is not DER: a default is written out"},
		"a string in parts":            {with(extensions(0x30, 13, 6, 3, 0x55, 0x1d, 0x0f, 0x24, 6, 4, 4, 3, 2, 7, 0x80)), "in the wrong form, primitive or constructed"},
		"bits that are left over":      {with(extensions(0x30, 11, 6, 3, 0x55, 0x1d, 0x0f, 4, 4, 3, 2, 7, 0xc0)), "the extension 2.5.29.15 that it asks for: it is not DER: the content of a value with tag 3"},
		"something after an extension": {with(extensions(0x30, 12, 6, 3, 0x55, 0x1d, 0x0f, 4, 5, 3, 2, 7, 0x80, 0)), "1 bytes follow its end"},
		"an object identifier, padded": {with(extensions(0x30, 12, 6, 4, 0x55, 0x80, 0x1d, 0x0f, 4, 4, 3, 2, 7, 0x80)), "it is not DER: the content of a value with tag 6"},
		"two lists of extensions":      {with(wishes(slices.Concat([]byte{0xa0, 34}, twice([]byte{0x30, 15, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14, 0x31, 2, 0x30, 0}))...)), "it asks for extensions in more than one list"},
		"two values of the list":       {with(wishes(0xa0, 19, 0x30, 17, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14, 0x31, 4, 0x30, 0, 0x30, 0)), "it asks for extensions in more than one list"},
		"a challenge password":         {with(wishes(0xa0, 18, 0x30, 16, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 7, 0x31, 3, 0x0c, 1, 'x')), "it has the attribute 1.2.840.113549.1.9.7"},
		"an attribute that is none":    {with(wishes(0xa0, 2, 5, 0)), "one of its attributes is none"},
		"a set out of order":           {with(subject(0x30, 22, 0x31, 20, 0x30, 8, 6, 3, 0x55, 4, 5, 0x0c, 1, 'B', 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, 'A')), "the elements of a set are not in order"},
		"two attributes in one place":  {with(subject(0x30, 22, 0x31, 20, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, 'A', 0x30, 8, 6, 3, 0x55, 4, 5, 0x0c, 1, 'B')), "a part of its subject is not one attribute by itself"},
		"text that is not UTF-8":       {with(subject(0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 5, 0x0c, 1, 0xff)), "the content of a value with tag 12"},
		"a printable that is not":      {with(subject(0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 5, 0x13, 1, '*')), "has characters that a PrintableString has not"},
		"a BMPString":                  {with(subject(0x30, 13, 0x31, 11, 0x30, 9, 6, 3, 0x55, 4, 5, 0x1e, 2, 0, 'A')), "is neither a UTF8String nor a PrintableString"},
		"a T61String":                  {with(subject(0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 5, 0x14, 1, 'A')), "is neither a UTF8String nor a PrintableString"},
		"a space at the end":           {with(subject(0x30, 18, 0x31, 16, 0x30, 14, 6, 3, 0x55, 4, 5, 0x0c, 7, 'A', 'B', 'C', 'D', 'E', 'F', ' ')), "has a space at an end, or two in a row"},
		"an attribute without text":    {with(subject(0x30, 11, 0x31, 9, 0x30, 7, 6, 3, 0x55, 4, 5, 0x0c, 0)), "attribute serial-number of its subject: it is empty"},
		"a subject of 17 attributes":   {with(subject(append([]byte{0x30, 204}[:1], slices.Concat([]byte{0x81, 204}, bytes.Repeat([]byte{0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 5, 0x0c, 1, 'A'}, 17))...)...)), "its subject has 17 attributes; 16 are allowed"},
		"no subject":                   {with(subject(0x30, 0)), "the request lacks the attribute serial-number in its subject"},
		"a value nested deep":          {with(wishes(nested(40)...)), "nested deeper than 12"},
		"a thousand elements":          {with(wishes(slices.Concat([]byte{0xa0, 0x82, 7, 0xd0}, bytes.Repeat([]byte{5, 0}, 1000))...)), "more than 500 elements"},
	} {
		t.Run(name, func(t *testing.T) { refusedDevice(t, made.lower.pki(), is.raw, is.says) })
	}
	for name, raw := range map[string][]byte{"PEM": []byte(armoured), "with the lines of Windows": []byte(strings.ReplaceAll(armoured, "\n", "\r\n")), "with space around it": []byte("\n\n" + armoured + "\n\n"), "as old tools call it": []byte(strings.ReplaceAll(armoured, "CERTIFICATE REQ", "NEW CERTIFICATE REQ"))} {
		if r, err := pki.ParseDeviceRequest(raw); err != nil || !bytes.Equal(r.DER, der) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func twice(b []byte) []byte { return append(bytes.Clone(b), b...) }

// nested is an empty value in so many others.
func nested(depth int) []byte {
	inside := []byte{0xa0, 0}
	for range depth {
		inside = append([]byte{0xa0, byte(len(inside))}, inside...)
	}
	return inside
}

// CE-04
func TestAMillionSerialNumbersAreRandomAndDifferent(t *testing.T) {
	const n = 1_000_000
	seen := make(map[[16]byte]struct{}, n)
	ones := [128]int{}
	for range n {
		s := newSerial(t)
		if s.Sign() <= 0 || s.BitLen() > 128 || len(s.Bytes())+1 > 20 {
			t.Fatalf("serial number %x", s)
		}
		var b [16]byte
		s.FillBytes(b[:])
		seen[b] = struct{}{}
		for i := range ones {
			ones[i] += int(b[i/8] >> (i % 8) & 1)
		}
	}
	if len(seen) != n {
		t.Errorf("%d of a million differ", len(seen))
	}
	for i, count := range ones { // six standard deviations
		if count < n/2-3000 || count > n/2+3000 {
			t.Errorf("bit %d is set in %d of a million", i, count)
		}
	}
}
