package fleet

import "testing"

// TestMain gives this package's tests one shared fleet of control planes.
func TestMain(m *testing.M) {
	Main(m, Config{Name: "shared", Clusters: []Cluster{
		{Name: "hub", ControlPlaneOnly: true},
		{Name: "hub2", ControlPlaneOnly: true},
	}})
}
