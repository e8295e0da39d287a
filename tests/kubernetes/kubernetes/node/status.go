package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

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

// report writes the state of the Pod to the API server, and returns whether the API server accepted it.
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
		log.Printf("cannot write the status of %s: %v", p.object.Name, err)
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

// passes returns whether a probe of a running container succeeds. A missing probe does.
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
	log.Print(c.Name, ": this kind of probe is not supported")
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
