package main

import (
	"bytes"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"k8s.io/apimachinery/pkg/labels"
	listers "k8s.io/client-go/listers/core/v1"
)

// The network of the Pods: a bridge that nothing else is connected to.
const (
	nodeAddress = "10.244.0.1"
	podMask     = 16
)

var (
	bridge = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "pods"}}
	made   atomic.Int32
)

func startNetwork() error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return err
	}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("no bridge can be made (is the kernel's module `bridge` there?): %w", err)
	}
	if err := netlink.AddrAdd(bridge, address(nodeAddress)); err != nil {
		return err
	}
	return netlink.LinkSetUp(bridge)
}

func findNetwork() error {
	link, err := netlink.LinkByName(bridge.Name)
	if err == nil {
		bridge.Index = link.Attrs().Index
	}
	return err
}

func address(ip string) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(podMask, 32)}}
}

// connect makes a network namespace with an address of its own, connected to the bridge.
func connect() (netns.NsHandle, string, error) {
	number := made.Add(1)
	ip := fmt.Sprintf("10.244.%d.%d", 1+number/250, 1+number%250)
	var namespace netns.NsHandle
	err := inNamespace(-1, func() (err error) {
		namespace, err = netns.New()
		return err
	})
	if err != nil {
		return -1, "", err
	}
	link := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: fmt.Sprintf("pod%d", number), MasterIndex: bridge.Index},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsFd(namespace),
	}
	if err := netlink.LinkAdd(link); err != nil {
		return -1, "", fmt.Errorf("no veth pair can be made (is the kernel's module `veth` there?): %w", err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return -1, "", err
	}
	err = inNamespace(namespace, func() error {
		for _, name := range []string{"lo", "eth0"} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if name == "eth0" {
				if err := netlink.AddrAdd(link, address(ip)); err != nil {
					return err
				}
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return err
			}
		}
		return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(nodeAddress)})
	})
	return namespace, ip, err
}

// inNamespace calls a function on a thread that is in a network namespace, -1 for the node's own.
func inNamespace(namespace netns.NsHandle, call func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		return err
	}
	defer own.Close()
	defer func() { must(netns.Set(own)) }()
	if namespace >= 0 {
		if err := netns.Set(namespace); err != nil {
			return err
		}
	}
	return call()
}

// writeNames writes /etc/hosts, for the node and all Pods, in place: it is mounted. A Service's names
// are those of a headless one, with the addresses of its Pods.
func (n *node) writeNames(services listers.ServiceLister) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "127.0.0.1 localhost\n%s registry.example.com private.example.com\n", nodeAddress)
	all, err := services.List(labels.Everything())
	if err != nil {
		log.Print(err)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].UID < all[j].UID })
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for _, service := range all {
		if len(service.Spec.Selector) == 0 {
			continue
		}
		selector := labels.SelectorFromSet(service.Spec.Selector)
		for _, p := range n.pods {
			if p.address != "" && p.object.Namespace == service.Namespace && selector.Matches(labels.Set(p.object.Labels)) {
				name := service.Name + "." + service.Namespace
				// Envoy's resolver asks for a name with a final dot as it is.
				fmt.Fprintf(&text, "%s %s %[2]s.svc %[2]s.svc.cluster.local %[2]s.svc.cluster.local.\n", p.address, name)
			}
		}
	}
	must(os.WriteFile(filepath.Join(*state, "hosts"), text.Bytes(), 0o644))
}
