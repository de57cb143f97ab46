package webui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strings"
)

//go:embed static
var static embed.FS

// serveStatic serves the stylesheet, the script and the icon, under names that change with their content.
func serveStatic(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	data, err := static.ReadFile("static/" + name)
	if err != nil || r.URL.RawQuery != version(name) {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(name)])
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(data) // an error is the browser's going away
}

// staticURL is where a static file is.
func staticURL(name string) (string, error) {
	v := version(name)
	if v == "" {
		return "", fmt.Errorf("there is no static file %s", name)
	}
	return "/static/" + name + "?" + v, nil
}

func version(name string) string {
	data, err := static.ReadFile("static/" + name)
	if err != nil || strings.Contains(name, "/") {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
