package webui_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestWhoSendsAFormSlowlyHoldsNoRoomThatOthersNeed(t *testing.T) {
	s := newSite(t)
	ada := s.signIn(t, "ada")
	done := make(chan struct{})
	for range 2 { // as many as there is room for
		olga := s.signIn(t, "olga")
		body, slowly := io.Pipe()
		r := httptest.NewRequest("POST", "/administration/preview", body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		go func() {
			olga.ask(r)
			done <- struct{}{}
		}()
		if _, err := slowly.Write([]byte("policy=")); err != nil { // it is being read
			t.Fatal(err)
		}
		defer func() {
			slowly.Close()
			<-done
		}()
	}
	expect(t, ada.open("/administration/policy"), http.StatusOK)
}
