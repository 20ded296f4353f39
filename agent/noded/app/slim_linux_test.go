package app

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// programKiB is how much of the program is in memory.
func programKiB(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssFile:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Skip("this kernel does not tell")
	return 0
}

func TestTheProgramGivesBackWhatItNeededToStart(t *testing.T) {
	before := programKiB(t)
	if err := giveBack(); err != nil {
		t.Skip("this kernel takes nothing back: ", err)
	}
	if after := programKiB(t); after > before/2 {
		t.Errorf("%d KiB of the program before, %d after", before, after)
	}
}

func TestOnlyTheProgramIsGivenBack(t *testing.T) {
	for line, want := range map[string]uintptr{
		"00400000-01589000 r-xp 00000000 fe:00 131 /bin/noded":   0x1189000,
		"0158a000-0276d000 r--p 0118a000 fe:00 131 /bin/noded":   0x11e3000,
		"0276d000-02808000 rw-p 0236d000 fe:00 131 /bin/noded":   0,
		"7f0000000000-7f0000001000 r--p 0 fe:00 9 /lib/other":    0,
		"7ffc0a1f2000-7ffc0a1f4000 r-xp 00000000 00:00 0 [vdso]": 0,
		"c000000000-c000400000 rw-p 00000000 00:00 0":            0,
		"x-y r--p 0 fe:00 131 /bin/noded":                        0,
	} {
		from, to, ok := readOnlyPart(line, "/bin/noded")
		if got := to - from; ok != (want > 0) || ok && got != want {
			t.Errorf("%s: %x, %v", line, got, ok)
		}
	}
}
