package config

import (
	"fmt"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
	"example.org/keyserver/internal/strictyaml"
)

// ReadBootstrap reads the bootstrap file, a policy: the first issuers, subjects, roles and keys, which keyserver init
// puts into the database. The keys have no key pair yet: no version, handle or public key. That their keystores exist
// is for the caller to check, with [Config.HasKeystore].
func ReadBootstrap(path string) (law.Configuration, error) {
	data, err := strictyaml.ReadFile(path, policy.MaxSize)
	if err != nil {
		return law.Configuration{}, fmt.Errorf("reading bootstrap file: %w", err)
	}
	c, problems := policy.Read(data)
	if len(problems) > 0 {
		return law.Configuration{}, strictyaml.Together(path, problems)
	}
	return c, nil
}

// HasKeystore says whether a keystore of this name is configured.
func (c Config) HasKeystore(name string) bool {
	for _, k := range c.Keystores {
		if k.Name == name {
			return true
		}
	}
	return false
}
