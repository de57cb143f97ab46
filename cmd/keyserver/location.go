package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/store"
)

// location is where the database is, for a server: the owner's password is not read.
func location(c config.Config) (store.Location, error) {
	p := c.Database.Postgres
	if p == nil {
		return store.File(c.Database.SQLite), nil
	}
	password, err := readPassword("password", p.Password)
	if err != nil {
		return store.Location{}, err
	}
	how, err := databaseTLS(*p)
	if err != nil {
		return store.Location{}, err
	}
	return store.Location{Postgres: &store.Postgres{
		Host: p.Host, Port: p.Port, Name: p.Name, TLS: how, Server: store.Role{Name: p.User, Password: password},
		Confined: c.Mode != config.Development,
	}}, nil
}

// locationOfOwner is where the database is, for who makes or migrates its tables.
func locationOfOwner(c config.Config) (store.Location, error) {
	at, err := location(c)
	if err != nil || !at.Shared() {
		return at, err
	}
	owner := c.Database.Postgres.Owner
	switch {
	case owner == nil && at.Postgres.Confined:
		return store.Location{}, fmt.Errorf("database: owner is missing; in production tables are made by a role other than %s: write owner into the configuration that you give to this command", at.Postgres.Server)
	case owner == nil:
		return at, nil
	}
	password, err := readPassword("owner: password", owner.Password)
	at.Postgres.Owner = store.Role{Name: owner.User, Password: password}
	return at, err
}

func readPassword(field string, s *config.Secret) (string, error) {
	if s == nil {
		return "", nil
	}
	password, err := s.Read()
	if err != nil {
		return "", fmt.Errorf("database: %s: %w", field, err)
	}
	return string(password), nil
}

// databaseTLS demands a certificate for the host by its name; nil if there is no TLS.
func databaseTLS(p config.Postgres) (*tls.Config, error) {
	if p.TLS == nil {
		return nil, nil
	}
	how := &tls.Config{ServerName: p.Host, RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	text, err := os.ReadFile(p.TLS.CAFile)
	if err != nil {
		return nil, fmt.Errorf("database: reading ca-file: %w", err)
	}
	if !how.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("database: ca-file %s has no certificate in it; write PEM", p.TLS.CAFile)
	}
	if p.TLS.CertificateFile == "" {
		return how, nil
	}
	pair, err := tls.LoadX509KeyPair(p.TLS.CertificateFile, p.TLS.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("database: reading its TLS certificate: %w", err)
	}
	how.Certificates = []tls.Certificate{pair}
	return how, nil
}

// checkDatabase says which secrets and certificates of the database cannot be read.
func checkDatabase(c config.Config) error {
	_, err := location(c)
	if p := c.Database.Postgres; p != nil && p.Owner != nil {
		_, unread := readPassword("owner: password", p.Owner.Password)
		err = errors.Join(err, unread)
	}
	return err
}

// databaseMissing says whether it is known that there is no database yet.
func databaseMissing(c config.Config) bool {
	if c.Database.Postgres != nil {
		return false
	}
	_, err := os.Stat(c.Database.SQLite)
	return errors.Is(err, os.ErrNotExist)
}
