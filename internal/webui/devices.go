package webui

import (
	"fmt"
	"strings"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// issue says what certificates a CA key of an operation issues under it.
type issue struct {
	Key   law.KeyID
	Lines []string // of the profile for devices; none if it has none
}

// issues are those of an operation; only says that it names no other keys.
func issues(f law.Facts, o keyserver.Operation) (all []issue, only bool) {
	for _, k := range o.Keys {
		if key, _ := f.Key(k.Key); key.Type == law.CA {
			all = append(all, issue{k.Key, deviceLines(key.Devices)})
		}
	}
	return all, len(all) == len(o.Keys)
}

// deviceLines says in a few lines what the device certificates of a profile hold.
func deviceLines(p *law.DeviceProfile) []string {
	if p == nil {
		return nil
	}
	var lines []string
	from := func(name string, d law.DeviceField) {
		switch {
		case d.Fixed != "":
			lines = append(lines, fmt.Sprintf("%s: %s", name, d.Fixed))
		case d.Optional:
			lines = append(lines, fmt.Sprintf("%s: as the device asks, if it does, within %s", name, d.Pattern))
		default:
			lines = append(lines, fmt.Sprintf("%s: as the device asks, within %s", name, d.Pattern))
		}
	}
	for _, a := range p.Subject {
		from(a.Type, a.DeviceField)
	}
	for _, n := range p.Names {
		from("alternative name "+string(n.Kind), n.DeviceField)
	}
	validity := "without expiry"
	if !p.NoExpiry {
		validity = "for " + length(p.Validity)
	}
	uses := joined(p.KeyUsage)
	if len(p.ExtendedKeyUsage) > 0 {
		uses += "; " + strings.Join(p.ExtendedKeyUsage, ", ")
	}
	duplicate := map[law.DuplicateRule]string{
		law.DuplicatesRefused: "refused", law.DuplicatesSame: "given the same again", law.DuplicatesReplaced: "given another, and the earlier one is revoked",
	}[p.Duplicates]
	return append(lines, "device keys: "+joined(p.Algorithms), "valid "+validity+", for "+uses,
		fmt.Sprintf("a device that has a certificate (told by its %s, or its key) is %s", p.Identity, duplicate))
}
