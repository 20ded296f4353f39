package defaults

import corev1 "k8s.io/api/core/v1"

// fileMode is what files of a volume get.
const fileMode = int32(0o644)

// tokenLife is how long the token of a projected volume lasts, in seconds.
const tokenLife = int64(3600)

func volume(v *corev1.Volume) {
	if v.VolumeSource == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	files(v)
	disks(v)
	if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
		claim(&v.Ephemeral.VolumeClaimTemplate.Spec)
	}
	if v.Image != nil {
		set(&v.Image.PullPolicy, pullPolicy(v.Image.Reference))
	}
}

func files(v *corev1.Volume) {
	if v.HostPath != nil {
		point(&v.HostPath.Type, corev1.HostPathUnset)
	}
	if v.Secret != nil {
		point(&v.Secret.DefaultMode, fileMode)
	}
	if v.ConfigMap != nil {
		point(&v.ConfigMap.DefaultMode, fileMode)
	}
	if v.DownwardAPI != nil {
		point(&v.DownwardAPI.DefaultMode, fileMode)
		downward(v.DownwardAPI.Items)
	}
	if v.Projected != nil {
		point(&v.Projected.DefaultMode, fileMode)
		projected(v.Projected.Sources)
	}
}

func downward(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		fieldRef(items[i].FieldRef)
	}
}

func projected(sources []corev1.VolumeProjection) {
	for i := range sources {
		if d := sources[i].DownwardAPI; d != nil {
			downward(d.Items)
		}
		if t := sources[i].ServiceAccountToken; t != nil {
			point(&t.ExpirationSeconds, tokenLife)
		}
	}
}

// disks are those of in-tree drivers that are still in the API.
func disks(v *corev1.Volume) {
	if v.ISCSI != nil {
		set(&v.ISCSI.ISCSIInterface, "default")
	}
	if v.RBD != nil {
		set(&v.RBD.RBDPool, "rbd")
		set(&v.RBD.RadosUser, "admin")
		set(&v.RBD.Keyring, "/etc/ceph/keyring")
	}
	if d := v.AzureDisk; d != nil {
		point(&d.CachingMode, corev1.AzureDataDiskCachingReadWrite)
		point(&d.FSType, "ext4")
		point(&d.ReadOnly, false)
		point(&d.Kind, corev1.AzureSharedBlobDisk)
	}
	if v.ScaleIO != nil {
		set(&v.ScaleIO.StorageMode, "ThinProvisioned")
		set(&v.ScaleIO.FSType, "xfs")
	}
}
