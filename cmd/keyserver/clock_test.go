package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/api"
)

// clockGoesBack puts the database's clock half an hour behind the newest time that the keyserver has seen.
func (s *site) clockGoesBack() {
	s.Helper()
	if s.at.Shared() { // that clock is not a test's to move
		s.intrude(`UPDATE head SET mark = mark + 1800000`)
		return
	}
	s.clock.Set(-30 * time.Minute)
}

// The clock is set back while the server runs, and an operator accepts that without stopping it.
func TestAClockThatWentBackIsAcceptedWhileTheServerServes(t *testing.T) {
	s := newKeyserver(t)
	v := s.serve()
	o := v.order("fw-dev", "before")
	v.sign(o, "image-1")
	s.clockGoesBack()
	if status, body := v.get(v.said["api"] + "/api/ready"); status != http.StatusServiceUnavailable || !strings.Contains(body, `{"name":"clock","ok":false}`) {
		t.Errorf("readiness: %d %s", status, body)
	}
	_, err := v.as("olga").PlaceSignOrder(t.Context(), o.ID, "image-2", api.NewSignOrder{KeyID: "fw-dev", Data: []byte("image-2")})
	if problem, is := errors.AsType[*api.Problem](err); !is || problem.Status != http.StatusServiceUnavailable {
		t.Errorf("signing with a clock that went back: %v", err)
	}
	if r := s.must(s.run("clock", "accept")); r.stdout != "the clock is accepted; 1 open operations have expired\n" {
		t.Errorf("it says: %s", r.stdout)
	}
	if status, body := v.get(v.said["api"] + "/api/ready"); status != http.StatusOK {
		t.Errorf("readiness after that: %d %s", status, body)
	}
	got, err := v.as("olga").Operation(t.Context(), o.ID)
	if err != nil || got.State != api.Expired {
		t.Errorf("the operation of before is %s (%v)", got.State, err)
	}
	v.sign(v.order("fw-dev", "after"), "image-3")
	if r := s.must(s.run("clock", "accept")); r.stdout != "the clock is accepted; 1 open operations have expired\n" {
		t.Errorf("a second time it says: %s", r.stdout)
	}
	s.must(s.run("verify"))
}
