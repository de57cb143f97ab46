package main

import (
	"errors"
	"fmt"
	"os"

	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/software"
)

// openKeystores opens the configured keystores with how: software.Open, or something that creates one.
func openKeystores(c config.Config, how func(path string, passphrase []byte) (*software.Keystore, error)) (*keystore.Set, error) {
	var members []keystore.Member
	closeAll := func(err error) error {
		for _, m := range members {
			err = errors.Join(err, m.Keystore.Close())
		}
		return err
	}
	for _, k := range c.Keystores {
		passphrase, err := k.Software.Passphrase.Read()
		if err != nil {
			return nil, closeAll(fmt.Errorf("keystore %s: passphrase: %w", k.Name, err))
		}
		open, err := how(k.Software.Directory, passphrase)
		clear(passphrase)
		if err != nil {
			return nil, closeAll(fmt.Errorf("keystore %s: %w", k.Name, err))
		}
		limits := keystore.DefaultLimits()
		limits.Timeout = c.Limits.KeystoreTimeout.Duration()
		limits.Concurrent = c.Limits.KeystoreConcurrency
		members = append(members, keystore.Member{Name: k.Name, Keystore: open, Limits: limits})
	}
	set, err := keystore.NewSet(members...)
	if err != nil {
		return nil, closeAll(err)
	}
	return set, nil
}

// createOrOpen makes the keystore if there is nothing in its directory yet.
func createOrOpen(path string, passphrase []byte) (*software.Keystore, error) {
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if len(entries) == 0 {
		return software.Create(path, passphrase, software.Options{})
	}
	return software.Open(path, passphrase)
}
