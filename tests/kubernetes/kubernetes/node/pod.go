package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	apiresource "k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// A pod is a Pod that runs here.
type pod struct {
	node      *node
	object    *v1.Pod
	cancel    context.CancelFunc
	ended     chan struct{}
	root      string
	address   string
	namespace netns.NsHandle

	mutex   sync.Mutex
	running map[string]*process
}

// A process is a container's.
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

// How often a condition is looked at that only asking tells.
const interval = 100 * time.Millisecond

// run starts the Pod's containers as a kubelet does, and then tells the API server of their state.
func (p *pod) run(ctx context.Context) error {
	namespace, ip, err := connect()
	if err != nil {
		return err
	}
	p.namespace = namespace
	p.object.Status.PodIP, p.object.Status.HostIP = ip, nodeAddress
	p.object.Status.PodIPs, p.object.Status.HostIPs = []v1.PodIP{{IP: ip}}, []v1.HostIP{{IP: nodeAddress}}
	p.node.mutex.Lock()
	p.address = ip
	p.node.mutex.Unlock()
	if err := makeRoot(p.root); err != nil {
		return err
	}
	p.report(ctx, v1.PodPending, p.statuses())
	p.node.publishNames()
	for _, c := range p.object.Spec.InitContainers {
		process, err := p.start(ctx, &c)
		if err != nil {
			return err
		}
		if c.RestartPolicy != nil { // a sidecar
			for ctx.Err() == nil && !p.passes(&c, c.StartupProbe) {
				time.Sleep(interval)
			}
			continue
		}
		<-process.done
		if code := process.command.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("init container %s ended with %d", c.Name, code)
		}
	}
	for _, c := range p.object.Spec.Containers {
		if _, err := p.start(ctx, &c); err != nil {
			return err
		}
	}
	p.watch(ctx)
	return nil
}

// watch reports the state of the containers when it changes.
func (p *pod) watch(ctx context.Context) {
	before := ""
	for ; ctx.Err() == nil; time.Sleep(interval) {
		phase := v1.PodRunning
		if p.object.Spec.RestartPolicy == v1.RestartPolicyNever || p.object.Spec.RestartPolicy == v1.RestartPolicyOnFailure {
			phase = p.outcome()
		}
		state := string(phase)
		statuses := p.statuses()
		for _, status := range statuses {
			state += fmt.Sprint(status.Ready, status.State.Terminated != nil)
		}
		if state != before && p.report(ctx, phase, statuses) {
			before = state
		}
	}
}

// outcome is the phase of a Pod whose containers may end.
func (p *pod) outcome() v1.PodPhase {
	for _, c := range p.object.Spec.Containers {
		process := p.process(c.Name)
		if process == nil || !process.hasEnded() {
			return v1.PodRunning
		}
		if process.command.ProcessState.ExitCode() != 0 {
			return v1.PodFailed
		}
	}
	return v1.PodSucceeded
}

func (p *pod) process(container string) *process {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.running[container]
}

// all returns the containers that run as long as the Pod.
func (p *pod) all() []v1.Container {
	var all []v1.Container
	for _, c := range p.object.Spec.InitContainers {
		if c.RestartPolicy != nil {
			all = append(all, c)
		}
	}
	return append(all, p.object.Spec.Containers...)
}

func (p *pod) statuses() []v1.ContainerStatus {
	var statuses []v1.ContainerStatus
	for _, c := range p.all() {
		status := v1.ContainerStatus{Name: c.Name, Image: c.Image}
		started := false
		process := p.process(c.Name)
		switch {
		case process == nil:
			status.State.Waiting = &v1.ContainerStateWaiting{Reason: "PodInitializing"}
		case process.hasEnded():
			status.State.Terminated = &v1.ContainerStateTerminated{ExitCode: int32(process.command.ProcessState.ExitCode())}
		default:
			started = true
			status.State.Running = &v1.ContainerStateRunning{}
			status.Ready = p.passes(&c, c.ReadinessProbe)
		}
		status.Started = &started
		statuses = append(statuses, status)
	}
	return statuses
}

// report tells the API server the state of the Pod, and whether it took it.
func (p *pod) report(ctx context.Context, phase v1.PodPhase, statuses []v1.ContainerStatus) bool {
	pods := p.node.client.CoreV1().Pods(p.object.Namespace)
	object, err := pods.Get(ctx, p.object.Name, metav1.GetOptions{})
	if err != nil || object.UID != p.object.UID {
		return false
	}
	status := &object.Status
	status.Phase = phase
	status.PodIP, status.PodIPs = p.object.Status.PodIP, p.object.Status.PodIPs
	status.HostIP, status.HostIPs = p.object.Status.HostIP, p.object.Status.HostIPs
	status.ContainerStatuses, status.InitContainerStatuses = nil, nil
	ready := v1.ConditionTrue
	for _, s := range statuses {
		if !s.Ready {
			ready = v1.ConditionFalse
		}
		if isMain(p.object, s.Name) {
			status.ContainerStatuses = append(status.ContainerStatuses, s)
		} else {
			status.InitContainerStatuses = append(status.InitContainerStatuses, s)
		}
	}
	initialized := v1.ConditionTrue
	if phase == v1.PodPending {
		initialized = v1.ConditionFalse
	}
	now := metav1.Now()
	status.Conditions = []v1.PodCondition{
		{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: now},
		{Type: v1.PodInitialized, Status: initialized, LastTransitionTime: now},
		{Type: v1.ContainersReady, Status: ready, LastTransitionTime: now},
		{Type: v1.PodReady, Status: ready, LastTransitionTime: now},
	}
	if _, err = pods.UpdateStatus(ctx, object, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) {
		log.Printf("the status of %s: %v", p.object.Name, err)
	}
	return err == nil
}

func isMain(object *v1.Pod, container string) bool {
	for _, c := range object.Spec.Containers {
		if c.Name == container {
			return true
		}
	}
	return false
}

// passes tells whether a probe of a running container succeeds.
func (p *pod) passes(c *v1.Container, probe *v1.Probe) bool {
	if probe == nil {
		return true
	}
	switch {
	case probe.HTTPGet != nil:
		url := fmt.Sprintf("%s://%s%s", strings.ToLower(string(probe.HTTPGet.Scheme)), net.JoinHostPort(p.address, port(c, probe.HTTPGet.Port)), probe.HTTPGet.Path)
		client := http.Client{Timeout: time.Second}
		response, err := client.Get(url)
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode < 400
	case probe.TCPSocket != nil:
		connection, err := net.DialTimeout("tcp", net.JoinHostPort(p.address, port(c, probe.TCPSocket.Port)), time.Second)
		if err != nil {
			return false
		}
		connection.Close()
		return true
	}
	log.Print(c.Name, ": a probe of an unknown kind")
	return false
}

func port(c *v1.Container, port intstr.IntOrString) string {
	for _, named := range c.Ports {
		if port.Type == intstr.String && named.Name == port.StrVal {
			return strconv.Itoa(int(named.ContainerPort))
		}
	}
	return port.String()
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

// command is a process in the Pod's root, as the container's user.
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

// log is where a container's output goes.
func (p *pod) log(container string) string {
	return filepath.Join(*state, "logs", fmt.Sprintf("%s_%s_%s.log", p.object.Namespace, p.object.Name, container))
}

// credential is the user that a container runs as: Istio's traffic redirection goes by it.
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
		if value == "0" && from.ResourceFieldRef.Resource == "limits.cpu" { // no limit: the node's
			value = "2"
		}
		return value, err
	case from.ConfigMapKeyRef != nil:
		data, err := p.configMap(ctx, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Optional)
		return string(data[from.ConfigMapKeyRef.Key]), err
	}
	return "", fmt.Errorf("a source of an unknown kind")
}

// field is what the downward API says.
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

// stop ends the Pod's processes: first the containers, then the sidecars.
func (p *pod) stop() {
	grace := 5 * time.Second
	if s := p.object.Spec.TerminationGracePeriodSeconds; s != nil && time.Duration(*s)*time.Second < grace {
		grace = time.Duration(*s) * time.Second
	}
	p.mutex.Lock()
	running := p.running
	p.mutex.Unlock()
	for _, process := range running {
		_ = process.command.Process.Signal(syscall.SIGTERM)
	}
	deadline := time.After(grace)
	for _, process := range running {
		select {
		case <-process.done:
		case <-deadline:
		}
	}
	p.killAll()
	for _, process := range running {
		<-process.done
	}
	if err := unix.Unmount(p.root, unix.MNT_DETACH); err != nil {
		log.Print(p.root, ": ", err)
	}
	p.namespace.Close()
}

// killAll kills whatever still runs in the Pod's root, as an Envoy whose agent has ended.
func (p *pod) killAll() {
	roots, _ := filepath.Glob("/proc/[0-9]*/root")
	for _, link := range roots {
		if root, err := os.Readlink(link); err == nil && root == p.root {
			id, _ := strconv.Atoi(path.Base(path.Dir(link)))
			_ = syscall.Kill(id, syscall.SIGKILL)
		}
	}
}
