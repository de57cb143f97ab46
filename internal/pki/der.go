package pki

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Bounds of what is read from elsewhere as DER.
const (
	maxDepth    = 12
	maxElements = 500
)

// checkDER says whether the bytes are one value in DER (X.690 section 10 and 11): of everything that BER can say in
// several ways only the one. What a type's definition alone can tell, such as a default that is written out, it does
// not see.
func checkDER(raw []byte) error {
	w := walk{}
	rest, err := w.one(raw, 0)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow its end", len(rest))
	}
	return err
}

type walk struct{ elements int }

// one reads the first value and returns what follows it.
func (w *walk) one(raw []byte, depth int) ([]byte, error) {
	if w.elements++; w.elements > maxElements || depth > maxDepth {
		return nil, fmt.Errorf("it has more than %d elements, or is nested deeper than %d", maxElements, maxDepth)
	}
	var v asn1.RawValue // of tag and length, encoding/asn1 reads the shortest form alone, and no indefinite length
	rest, err := asn1.Unmarshal(raw, &v)
	if err != nil {
		return nil, fmt.Errorf("it is not DER: %w", err)
	}
	if header := len(v.FullBytes) - len(v.Bytes); !bytes.Equal(v.FullBytes[:header], shortest(v)) {
		return nil, errors.New("it is not DER: a tag or length is not in its shortest form")
	}
	if v.Class != asn1.ClassUniversal {
		if v.IsCompound {
			return rest, w.all(v.Bytes, depth, false)
		}
		return rest, nil
	}
	switch compound := v.Tag == asn1.TagSequence || v.Tag == asn1.TagSet; {
	case compound != v.IsCompound:
		return nil, fmt.Errorf("it is not DER: a value with tag %d is in the wrong form, primitive or constructed", v.Tag)
	case compound:
		return rest, w.all(v.Bytes, depth, v.Tag == asn1.TagSet)
	}
	return rest, primitive(v)
}

// shortest is the identifier and the length of a value as DER has them.
func shortest(v asn1.RawValue) []byte {
	whole, err := asn1.Marshal(asn1.RawValue{Class: v.Class, Tag: v.Tag, IsCompound: v.IsCompound, Bytes: v.Bytes})
	if err != nil {
		return nil
	}
	return whole[:len(whole)-len(v.Bytes)]
}

// all reads the values inside of one. In a set they stand in order.
func (w *walk) all(raw []byte, depth int, ordered bool) error {
	var last []byte
	for len(raw) > 0 {
		rest, err := w.one(raw, depth+1)
		if err != nil {
			return err
		}
		this := raw[:len(raw)-len(rest)]
		if ordered && bytes.Compare(last, this) > 0 {
			return errors.New("it is not DER: the elements of a set are not in order")
		}
		last, raw = this, rest
	}
	return nil
}

// primitive holds the content of a value to the one form that it has.
func primitive(v asn1.RawValue) error {
	ok := true
	switch b := v.Bytes; v.Tag {
	case asn1.TagBoolean:
		ok = len(b) == 1 && (b[0] == 0 || b[0] == 0xff)
	case asn1.TagInteger, asn1.TagEnum:
		ok = len(b) == 1 || len(b) > 1 && !(b[0] == 0 && b[1] < 0x80) && !(b[0] == 0xff && b[1] >= 0x80)
	case asn1.TagBitString:
		ok = len(b) > 0 && b[0] < 8 && (b[0] == 0 || len(b) > 1 && b[len(b)-1]&(1<<b[0]-1) == 0)
	case asn1.TagNull:
		ok = len(b) == 0
	case asn1.TagOID:
		ok = objectIdentifier(b)
	case asn1.TagUTF8String:
		ok = utf8.Valid(b)
	case asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString:
		ok = !bytes.ContainsFunc(b, func(r rune) bool { return r >= utf8.RuneSelf })
	case asn1.TagOctetString, asn1.TagT61String, asn1.TagBMPString, asn1.TagUTCTime, asn1.TagGeneralizedTime, tagUniversalString:
	default:
		return fmt.Errorf("it has a value with tag %d, which has no place here", v.Tag)
	}
	if !ok {
		return fmt.Errorf("it is not DER: the content of a value with tag %d is in no allowed form", v.Tag)
	}
	return nil
}

const tagUniversalString = 28

// objectIdentifier says whether every arc is in its shortest form and whole.
func objectIdentifier(b []byte) bool {
	first := true
	for _, c := range b {
		if first && c == 0x80 {
			return false
		}
		first = c < 0x80
	}
	return len(b) > 0 && first
}
