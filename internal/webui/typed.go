package webui

import (
	"encoding/binary"
	"net/http"
	"time"

	"example.org/keyserver/internal/law"
)

// A reason that was typed when signing in again was needed first is kept by the browser for a while, sealed for the form
// that it was typed into, and stands there again. Nothing is sent by it: whoever decides sends the form anew.
const (
	typedCookie = "__Host-keyserver-typed"
	typedTime   = pendingTime
	typedForm   = 16 << 10 // bytes of a form that is read though nobody is signed in
)

// keepTyped keeps the reason of a form of ours that was not heard.
func (s *server) keepTyped(c *call) {
	if c.Method != http.MethodPost || s.foreign.Check(c.Request) != nil {
		return
	}
	if c.PostForm == nil { // the form was not looked at
		c.Body = http.MaxBytesReader(c.out, c.Body, typedForm)
		if c.ParseForm() != nil {
			return // what is no form of ours is not kept
		}
	}
	reason := text(c.PostForm.Get("reason"))
	if law.CheckReason(reason) != nil {
		return
	}
	plain := append(binary.BigEndian.AppendUint64(nil, uint64(s.Now().UnixMilli())), reason...)
	setCookie(c, typedCookie, s.sealer.sealBytes(typedInto(c.URL.Path), plain), typedTime)
}

// typedBefore is the reason that was typed into the form that is sent to action, before signing in again; empty: none.
func (s *server) typedBefore(c *call, action string) string {
	cookie, err := c.Cookie(typedCookie)
	if err != nil {
		return ""
	}
	plain, ok := s.sealer.openBytes(typedInto(action), cookie.Value)
	if !ok || len(plain) < 8 {
		return ""
	}
	if at := time.UnixMilli(int64(binary.BigEndian.Uint64(plain))); !s.Now().Before(at.Add(typedTime)) {
		return ""
	}
	return string(plain[8:])
}

// forgetTyped forgets a reason once it was heard.
func forgetTyped(c *call) {
	if _, err := c.Cookie(typedCookie); err == nil {
		setCookie(c, typedCookie, "", 0)
	}
}

func typedInto(action string) string { return typedCookie + " " + action }
