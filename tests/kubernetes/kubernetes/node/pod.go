package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
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

// The interval at which a state is polled that nothing reports.
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

// outcome returns the phase of a Pod whose containers are meant to end.
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

// stop asks all containers of the Pod to end, and kills what has not ended in time.
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

// killAll kills every process that still runs in the Pod's root, such as an Envoy whose agent has ended.
func (p *pod) killAll() {
	roots, _ := filepath.Glob("/proc/[0-9]*/root")
	for _, link := range roots {
		if root, err := os.Readlink(link); err == nil && root == p.root {
			id, _ := strconv.Atoi(path.Base(path.Dir(link)))
			_ = syscall.Kill(id, syscall.SIGKILL)
		}
	}
}
