package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// makeRoot makes the root of a Pod: this machine's programs and libraries, and folders of its own.
func makeRoot(root string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib32", "lib64", "usr", "dev", "proc"} {
		source, target := "/"+name, filepath.Join(root, name)
		if to, err := os.Readlink(source); err == nil {
			if err := os.Symlink(to, target); err != nil {
				return err
			}
		} else if err := bind(source, target); err != nil {
			return err
		}
	}
	// Otherwise each Envoy would find the shared memory of the others, in Pods and outside.
	if err := unix.Mount("tmpfs", filepath.Join(root, "dev/shm"), "tmpfs", 0, "mode=1777"); err != nil {
		return err
	}
	if err := bind(*bin, filepath.Join(root, "usr/local/bin")); err != nil {
		return err
	}
	for _, name := range []string{"alternatives", "passwd", "group", "nsswitch.conf", "ld.so.cache"} {
		if err := bind("/etc/"+name, filepath.Join(root, "etc", name)); err != nil {
			return err
		}
	}
	if err := bind(filepath.Join(*state, "hosts"), filepath.Join(root, "etc/hosts")); err != nil {
		return err
	}
	for _, name := range []string{"tmp", "var/tmp", "var/run", "var/log", "var/lib/eg", "run", "root"} {
		if err := writable(filepath.Join(root, name)); err != nil {
			return err
		}
	}
	if err := write(filepath.Join(root, "etc/resolv.conf"), []byte("nameserver 127.0.0.1\n")); err != nil {
		return err
	}
	return os.CopyFS(root, os.DirFS(*files))
}

// bind mounts a file or folder, if there is one.
func bind(source, target string) error {
	about, err := os.Stat(source)
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		return err
	}
	if about.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if _, missing := os.Stat(target); missing != nil {
		err = write(target, nil)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("%s on %s: %w", source, target, err)
	}
	return nil
}

func writable(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.Chmod(folder, 0o1777)
}

// mount makes a container's volumes. They are not renewed when their sources change.
func (p *pod) mount(ctx context.Context, c *v1.Container) error {
	volumes := map[string]v1.VolumeSource{}
	for _, v := range p.object.Spec.Volumes {
		volumes[v.Name] = v.VolumeSource
	}
	for _, m := range c.VolumeMounts {
		folder := filepath.Join(p.root, "volumes", m.Name)
		if _, err := os.Stat(folder); err != nil {
			if err := p.fill(ctx, folder, volumes[m.Name]); err != nil {
				return fmt.Errorf("volume %s: %w", m.Name, err)
			}
		}
		target := filepath.Join(p.root, m.MountPath)
		if err := bind(filepath.Join(folder, m.SubPath), target); err != nil {
			return err
		}
	}
	return nil
}

// fill writes what a volume holds.
func (p *pod) fill(ctx context.Context, folder string, source v1.VolumeSource) error {
	if err := writable(folder); err != nil {
		return err
	}
	switch {
	case source.EmptyDir != nil:
		return nil
	case source.ConfigMap != nil:
		data, err := p.configMap(ctx, source.ConfigMap.Name, source.ConfigMap.Optional)
		return writeItems(folder, data, source.ConfigMap.Items, err)
	case source.Secret != nil:
		data, err := p.secret(ctx, source.Secret.SecretName, source.Secret.Optional)
		return writeItems(folder, data, source.Secret.Items, err)
	case source.DownwardAPI != nil:
		return p.writeFields(folder, source.DownwardAPI.Items)
	case source.Projected != nil:
		for _, s := range source.Projected.Sources {
			if err := p.project(ctx, folder, s); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("this kind of volume is not supported")
}

func (p *pod) project(ctx context.Context, folder string, source v1.VolumeProjection) error {
	switch {
	case source.ServiceAccountToken != nil:
		return p.writeToken(ctx, folder, source.ServiceAccountToken)
	case source.ConfigMap != nil:
		data, err := p.configMap(ctx, source.ConfigMap.Name, source.ConfigMap.Optional)
		return writeItems(folder, data, source.ConfigMap.Items, err)
	case source.Secret != nil:
		data, err := p.secret(ctx, source.Secret.Name, source.Secret.Optional)
		return writeItems(folder, data, source.Secret.Items, err)
	case source.DownwardAPI != nil:
		return p.writeFields(folder, source.DownwardAPI.Items)
	}
	return nil // a ClusterTrustBundle, which is optional
}

func writeItems(folder string, data map[string][]byte, items []v1.KeyToPath, err error) error {
	if err != nil {
		return err
	}
	if len(items) == 0 {
		for key := range data {
			items = append(items, v1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, item := range items {
		if content, ok := data[item.Key]; ok {
			if err := write(filepath.Join(folder, item.Path), content); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pod) writeFields(folder string, items []v1.DownwardAPIVolumeFile) error {
	for _, item := range items {
		if item.FieldRef == nil {
			continue // a limit, which no process here has
		}
		value, err := p.field(item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(folder, item.Path), []byte(value)); err != nil {
			return err
		}
	}
	return nil
}

func (p *pod) writeToken(ctx context.Context, folder string, source *v1.ServiceAccountTokenProjection) error {
	request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{
		ExpirationSeconds: source.ExpirationSeconds,
		BoundObjectRef:    &authentication.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.object.Name, UID: p.object.UID},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	accounts := p.node.client.CoreV1().ServiceAccounts(p.object.Namespace)
	token, err := accounts.CreateToken(ctx, p.object.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return write(filepath.Join(folder, source.Path), []byte(token.Status.Token))
}

// configMap waits for a ConfigMap unless it is optional, as a kubelet does.
func (p *pod) configMap(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	data := map[string][]byte{}
	err := wait(ctx, optional, func() error {
		object, err := p.node.client.CoreV1().ConfigMaps(p.object.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			for key, value := range object.Data {
				data[key] = []byte(value)
			}
		}
		return err
	})
	return data, err
}

func (p *pod) secret(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	var data map[string][]byte
	err := wait(ctx, optional, func() error {
		object, err := p.node.client.CoreV1().Secrets(p.object.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			data = object.Data
		}
		return err
	})
	return data, err
}

func wait(ctx context.Context, optional *bool, get func() error) error {
	for {
		err := get()
		switch {
		case err == nil:
			return nil
		case !apierrors.IsNotFound(err):
			return err
		case optional != nil && *optional:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(interval):
		}
	}
}
