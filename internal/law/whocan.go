package law

// WhoCan says who can obtain a signature with a key, and how.
type WhoCan struct{}

// WhoCan answers for one key of the configuration. It is false if there is no such key.
func (f Facts) WhoCan(id KeyID) (WhoCan, bool) {
	_, known := f.keys[id]
	return WhoCan{}, known
}
