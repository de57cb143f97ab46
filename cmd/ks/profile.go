package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// profile is a sign-in, as it is stored.
type profile struct {
	Server       string   `json:"server"`
	Issuer       string   `json:"issuer"`
	ClientID     string   `json:"clientid"`
	Scopes       []string `json:"scopes,omitzero"`
	CAFile       string   `json:"cafile,omitzero"`
	Token        string   `json:"token"`
	RefreshToken string   `json:"refreshtoken,omitzero"`
	Expires      int64    `json:"expires,omitzero"` // ms since 1970 UTC; 0 when the issuer did not say
}

// expiryMargin is how long before its end an access token is taken for expired: a request takes time.
const expiryMargin = 10 * time.Second

func (f profile) expired(now time.Time) bool {
	return f.Expires != 0 && !now.Add(expiryMargin).Before(time.UnixMilli(f.Expires))
}

func (p *program) profileName() string {
	for _, name := range []string{p.global.profile, p.getenv("KS_PROFILE")} {
		if name != "" {
			return name
		}
	}
	return "default"
}

func (p *program) profileFile() (string, error) {
	name := p.profileName()
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return "", usage("", "profile %q: use letters, digits, dot, underscore and hyphen only", name)
		}
	}
	if len(name) > 63 || name[0] == '.' {
		return "", usage("", "profile %q: use at most 63 characters, and not a dot as the first", name)
	}
	return p.homeFile("profiles", name+".json")
}

func (p *program) loadProfile() (f profile, there bool, err error) {
	name, err := p.profileFile()
	if err != nil {
		return f, false, err
	}
	there, err = readPrivate(name, &f)
	return f, there, err
}

func (p *program) saveProfile(f profile) error {
	name, err := p.profileFile()
	if err != nil {
		return err
	}
	return writePrivate(name, f)
}

// removeProfile forgets the sign-in and says whether there was one.
func (p *program) removeProfile() (bool, error) {
	name, err := p.profileFile()
	if err != nil {
		return false, err
	}
	err = os.Remove(name)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("removing the sign-in: %w", err)
	}
	return true, nil
}

// givenToken returns the access token given for this command, empty if there is none. There is no flag for
// it: command lines are seen by everybody on the machine.
func (p *program) givenToken() (string, error) {
	token, from := p.getenv("KS_TOKEN"), "KS_TOKEN"
	if name := p.global.tokenFile; name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("reading the access token: %w", err)
		}
		token, from = string(data), name
		if strings.TrimSpace(token) == "" {
			return "", usage("", "there is no access token in %s", from)
		}
	}
	token = strings.TrimSpace(token)
	for _, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return "", usage("", "what is in %s is no access token: it has other characters than visible ASCII", from)
		}
	}
	return token, nil
}

// serverURL checks the URL of a server and writes it in one way. Without TLS everybody on the way could
// read the token, so that http is for this machine only.
func serverURL(text string) (string, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case err != nil:
		return "", usage("", "%q is no URL", text)
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Opaque != "":
		return "", usage("", "%q is no URL of a server; it looks like https://keys.example.org", text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", usage("", "%q: give the URL without user, query and fragment", text)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "", usage("", "%q: without TLS only servers on this machine (127.0.0.1, ::1, localhost) are spoken to; use https", text)
	}
	u.Host = strings.ToLower(u.Host)
	return u.String(), nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
