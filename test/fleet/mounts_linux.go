package fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// overlayMagic is the type of an overlay file system, which cannot carry another.
const overlayMagic = 0x794c7630

// snapshotter is how containerd keeps images below a folder.
func snapshotter(dir string) string {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err == nil && st.Type == overlayMagic {
		return "native"
	}
	return "overlayfs"
}

// unmountBelow unmounts all that is mounted below a folder, the last mount first.
func unmountBelow(dir string) error {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	var errs []error
	for _, point := range slices.Backward(mountsBelow(string(raw), dir)) {
		if err := syscall.Unmount(point, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", point, err))
		}
	}
	return errors.Join(errs...)
}

// mountsBelow picks the mount points below dir out of a mountinfo file, in its order.
func mountsBelow(mountinfo, dir string) []string {
	var points []string
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(unescape.Replace(fields[4]), dir+"/") {
			points = append(points, unescape.Replace(fields[4]))
		}
	}
	return points
}

var shimAddress = regexp.MustCompile(`unix://(/run/containerd/s/[0-9a-f]+)`)

// shimSockets finds the sockets of shims, which are in a folder of the whole machine
// under names that only the state of their containerd tells.
func shimSockets(dir string) []string {
	var sockets []string
	files, _ := filepath.Glob(dir + "/nodes/*/state/io.containerd.runtime.v2.task/*/*/bootstrap.json")
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if m := shimAddress.FindSubmatch(raw); m != nil {
			sockets = append(sockets, string(m[1]))
		}
	}
	return sockets
}
