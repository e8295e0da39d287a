package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// A process is the main process of a container.
type process struct {
	command *exec.Cmd
	done    chan struct{} // closed when it has ended
}

func (p *process) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// start runs a container's process, in the Pod's network and root.
func (p *pod) start(ctx context.Context, c *v1.Container) (*process, error) {
	if err := p.mount(ctx, c); err != nil {
		return nil, err
	}
	environment, err := p.environment(ctx, c)
	if err != nil {
		return nil, err
	}
	lookup := expansion.MappingFuncFor(environment)
	arguments := c.Command
	if len(arguments) == 0 {
		image, _, _ := strings.Cut(path.Base(c.Image), "@")
		image, _, _ = strings.Cut(image, ":")
		arguments = entrypoints[image]
	}
	arguments = append(append([]string{}, arguments...), c.Args...)
	if len(arguments) == 0 {
		return nil, fmt.Errorf("container %s: no program is known for the image %s", c.Name, c.Image)
	}
	for i, argument := range arguments {
		arguments[i] = expansion.Expand(argument, lookup)
	}
	output, err := os.OpenFile(p.log(c.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	if err := output.Chmod(0o666); err != nil { // Envoy opens /dev/stdout as the container's user
		return nil, err
	}
	command := p.command(c, arguments, environment)
	command.Stdout, command.Stderr = output, output
	if err := inNamespace(p.namespace, command.Start); err != nil {
		return nil, fmt.Errorf("container %s: %w", c.Name, err)
	}
	log.Printf("%s/%s: %s started", p.object.Namespace, p.object.Name, c.Name)
	started := &process{command: command, done: make(chan struct{})}
	p.mutex.Lock()
	p.running[c.Name] = started
	p.mutex.Unlock()
	go func() {
		err := command.Wait()
		log.Printf("%s/%s: %s ended: %v", p.object.Namespace, p.object.Name, c.Name, err)
		close(started.done)
	}()
	return started, nil
}

// command returns a process in the Pod's root that runs as the container's user.
func (p *pod) command(c *v1.Container, arguments []string, environment map[string]string) *exec.Cmd {
	program := arguments[0]
	if !strings.Contains(program, "/") {
		program = "/usr/local/bin/" + program
	}
	command := &exec.Cmd{
		Path: program, Args: arguments, Dir: "/",
		SysProcAttr: &syscall.SysProcAttr{Chroot: p.root, Credential: credential(p.object, c)},
	}
	if c.WorkingDir != "" {
		command.Dir = c.WorkingDir
	}
	for name, value := range environment {
		command.Env = append(command.Env, name+"="+value)
	}
	return command
}

// log returns the file that a container's output is written to.
func (p *pod) log(container string) string {
	return filepath.Join(*state, "logs", fmt.Sprintf("%s_%s_%s.log", p.object.Namespace, p.object.Name, container))
}

// credential returns the user that a container runs as. Istio exempts its own traffic from the redirection by
// this user.
func credential(object *v1.Pod, c *v1.Container) *syscall.Credential {
	user, group := int64(0), int64(0)
	if s := object.Spec.SecurityContext; s != nil {
		override(&user, s.RunAsUser)
		override(&group, s.RunAsGroup)
	}
	if s := c.SecurityContext; s != nil {
		override(&user, s.RunAsUser)
		override(&group, s.RunAsGroup)
	}
	return &syscall.Credential{Uid: uint32(user), Gid: uint32(group)}
}

func override(value *int64, with *int64) {
	if with != nil {
		*value = *with
	}
}

// environment resolves a container's variables.
func (p *pod) environment(ctx context.Context, c *v1.Container) (map[string]string, error) {
	environment := map[string]string{
		"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
		"KUBERNETES_SERVICE_HOST": nodeAddress, "KUBERNETES_SERVICE_PORT": "6443",
	}
	lookup := expansion.MappingFuncFor(environment)
	for _, variable := range c.Env {
		value := expansion.Expand(variable.Value, lookup)
		if from := variable.ValueFrom; from != nil {
			var err error
			if value, err = p.value(ctx, c, from); err != nil {
				return nil, fmt.Errorf("%s of container %s: %w", variable.Name, c.Name, err)
			}
		}
		environment[variable.Name] = value
	}
	return environment, nil
}

func (p *pod) value(ctx context.Context, c *v1.Container, from *v1.EnvVarSource) (string, error) {
	switch {
	case from.FieldRef != nil:
		return p.field(from.FieldRef.FieldPath)
	case from.ResourceFieldRef != nil:
		value, err := apiresource.ExtractContainerResourceValue(from.ResourceFieldRef, c)
		if value == "0" && from.ResourceFieldRef.Resource == "limits.cpu" { // Without a limit, it is what the node has.
			value = "2"
		}
		return value, err
	case from.ConfigMapKeyRef != nil:
		data, err := p.configMap(ctx, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Optional)
		return string(data[from.ConfigMapKeyRef.Key]), err
	}
	return "", fmt.Errorf("this kind of source is not supported")
}

// field returns a value of the downward API.
func (p *pod) field(name string) (string, error) {
	switch name {
	case "spec.nodeName":
		return nodeName, nil
	case "spec.serviceAccountName":
		return p.object.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return p.object.Status.PodIP, nil
	case "status.hostIP", "status.hostIPs":
		return nodeAddress, nil
	}
	return fieldpath.ExtractFieldPathAsString(p.object, name)
}
