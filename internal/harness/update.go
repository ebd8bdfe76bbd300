package harness

import "testing"

// Update updates the plugin with options that are valid.
func (c *Client) Update(t testing.TB, opts ...Option) {
	t.Helper()
	if err := c.Plugin.Update(opts...); err != nil {
		t.Errorf("Update: got %v, want no error", err)
	}
}
