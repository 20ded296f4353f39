package fleet

import (
	"slices"
	"testing"
)

func TestMountsBelowAFolder(t *testing.T) {
	info := "20 1 8:1 / / rw - ext4 /dev/sda rw\n" +
		"21 20 0:1 / /s/fleet/nodes/1/a rw - overlay o rw\n" +
		"22 20 0:1 / /s/fleet2/nodes/1/a rw - overlay o rw\n" +
		`23 20 0:1 / /s/fleet/with\040space rw - tmpfs t rw` + "\n"
	want := []string{"/s/fleet/nodes/1/a", "/s/fleet/with space"}
	if got := mountsBelow(info, "/s/fleet"); !slices.Equal(got, want) {
		t.Errorf("mounts = %q, want %q", got, want)
	}
}
