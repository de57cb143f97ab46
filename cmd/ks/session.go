package main

import (
	"context"

	"golang.org/x/oauth2"

	"example.org/keyserver/client"
)

// session is the server that is asked, as whoever is signed in.
type session struct {
	*client.Client
	server string
}

// connect finds server and access token: from the command line, the environment or the profile, in this
// order. A stored token goes to the server that it was stored for, and to no other.
func (p *program) connect() (session, error) {
	f, there, err := p.loadProfile()
	if err != nil {
		return session{}, err
	}
	server, err := p.serverOf(f)
	if err != nil {
		return session{}, err
	}
	if p.global.caFile != "" {
		f.CAFile = p.global.caFile
	}
	token, err := p.givenToken()
	if err != nil {
		return session{}, err
	}
	switch {
	case token != "":
		return dial(server, f.CAFile, client.StaticToken(token))
	case !there:
		return session{}, notSignedIn("run `ks login`, or set KS_TOKEN", "profile %q is not signed in", p.profileName())
	case f.Server != server:
		return session{}, notSignedIn("run `ks login` with another --profile, or set KS_TOKEN", "profile %q is signed in at %s, not at %s", p.profileName(), f.Server, server)
	}
	return dial(server, f.CAFile, client.TokenFunc(p.storedToken))
}

// serverOf returns the server to be asked: the one that was named, else that of the profile.
func (p *program) serverOf(f profile) (string, error) {
	named := p.global.server
	if named == "" {
		named = p.getenv("KS_SERVER")
	}
	switch {
	case named != "":
		return serverURL(named)
	case f.Server != "":
		return f.Server, nil
	}
	return "", notSignedIn("run `ks login --server URL`, or set KS_SERVER and KS_TOKEN", "no keyserver is known: profile %q is not signed in, and no server was named", p.profileName())
}

func dial(server, caFile string, tokens client.TokenSource) (session, error) {
	connections, err := trust(caFile)
	if err != nil {
		return session{}, err
	}
	c, err := client.New(server, tokens, client.Options{HTTP: connections, UserAgent: "ks"})
	return session{Client: c, server: server}, err
}

// storedToken returns the profile's access token, a new one if it has expired and the issuer gave the means.
func (p *program) storedToken(ctx context.Context) (string, error) {
	f, there, err := p.loadProfile()
	if err != nil || there && !f.expired(p.now()) {
		return f.Token, err
	}
	unlock, err := p.lock() // a refresh token is often good for one use only
	if err != nil {
		return "", err
	}
	defer unlock()
	f, there, err = p.loadProfile()
	switch {
	case err != nil || there && !f.expired(p.now()):
		return f.Token, err
	case !there:
		return "", notSignedIn("run `ks login`", "profile %q is not signed in any more", p.profileName())
	case f.RefreshToken == "":
		return "", notSignedIn("run `ks login`", "the sign-in of profile %q has expired", p.profileName())
	}
	i, err := findIssuer(ctx, f)
	if err != nil {
		return "", err
	}
	token, err := i.refresh(ctx, f.RefreshToken)
	if err != nil {
		return "", err
	}
	f.take(token)
	return f.Token, p.saveProfile(f)
}

// take puts a token into the profile.
func (f *profile) take(token *oauth2.Token) {
	f.Token, f.Expires = token.AccessToken, 0
	if !token.Expiry.IsZero() {
		f.Expires = token.Expiry.UnixMilli()
	}
	if token.RefreshToken != "" {
		f.RefreshToken = token.RefreshToken
	}
}
