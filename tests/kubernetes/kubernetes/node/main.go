// Command node stands in for the node of a cluster: scheduler, kubelet and container runtime. A Pod
// gets a network namespace and a root of its own, and its containers are processes in them. Their
// images are this machine's files, with the programs of the folder `bin` in /usr/local/bin.
//
// `node network` makes the network, before anything else is started.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const nodeName = "node"

var (
	kubeconfig = flag.String("kubeconfig", "", "how to reach the API server")
	bin        = flag.String("bin", "", "the folder of the programs")
	files      = flag.String("files", "", "a folder of files that each image has beside this machine's")
	state      = flag.String("state", "", "the folder of the Pods' roots and logs")
)

// What each image runs. A container that names a command needs none here.
var entrypoints = map[string][]string{
	"pilot":   {"pilot-discovery"},
	"proxyv2": {"pilot-agent"},
	"gateway": {"envoy-gateway"},
	"envoy":   {"envoy"},
	"echo":    {"echo", ":8000"},
}

type node struct {
	client kubernetes.Interface

	mutex sync.Mutex
	pods  map[types.UID]*pod

	publishNames func()
}

func main() {
	flag.Parse()
	if flag.Arg(0) == "network" {
		must(startNetwork())
		return
	}
	must(findNetwork())
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	config.QPS, config.Burst = 1000, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	n := &node{client: client, pods: map[types.UID]*pod{}}
	ctx := context.Background()
	for err = n.register(ctx); err != nil; err = n.register(ctx) {
		time.Sleep(50 * time.Millisecond) // until the API server is there
	}
	log.Print("the node is registered")
	go n.serve()

	factory := informers.NewSharedInformerFactory(client, 0)
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { n.see(ctx, object.(*v1.Pod)) },
		UpdateFunc: func(_, object any) { n.see(ctx, object.(*v1.Pod)) },
		DeleteFunc: func(object any) {
			if p, ok := object.(*v1.Pod); ok {
				n.end(p.UID)
			}
		},
	}
	if _, err := factory.Core().V1().Pods().Informer().AddEventHandler(handler); err != nil {
		log.Fatal(err)
	}
	services := factory.Core().V1().Services().Lister()
	n.publishNames = func() { n.writeNames(services) }
	serviceHandler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { n.publishNames() },
		UpdateFunc: func(any, any) { n.publishNames() },
		DeleteFunc: func(any) { n.publishNames() },
	}
	if _, err := factory.Core().V1().Services().Informer().AddEventHandler(serviceHandler); err != nil {
		log.Fatal(err)
	}
	factory.Start(ctx.Done())
	select {}
}

// register tells the API server of the node and that it is ready.
func (n *node) register(ctx context.Context) error {
	nodes := n.client.CoreV1().Nodes()
	object := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	if _, err := nodes.Create(ctx, object, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	object, err := nodes.Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	object.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: nodeAddress}}
	object.Status.DaemonEndpoints.KubeletEndpoint.Port = kubeletPort
	object.Status.Allocatable = v1.ResourceList{v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("4Gi")}
	object.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady"}}
	_, err = nodes.UpdateStatus(ctx, object, metav1.UpdateOptions{})
	return err
}

// see starts or ends a Pod, as its resource says.
func (n *node) see(ctx context.Context, object *v1.Pod) {
	switch {
	case object.DeletionTimestamp != nil:
		n.end(object.UID)
		if n.get(object.UID) == nil {
			n.remove(ctx, object)
		}
	case object.Spec.NodeName == "":
		binding := &v1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: object.Name, UID: object.UID},
			Target:     v1.ObjectReference{Kind: "Node", Name: nodeName},
		}
		if err := n.client.CoreV1().Pods(object.Namespace).Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
			log.Print(object.Name, ": ", err)
		}
	default:
		n.begin(ctx, object)
	}
}

func (n *node) get(uid types.UID) *pod {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.pods[uid]
}

// find returns the running Pod of a name.
func (n *node) find(namespace, name string) (*pod, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for _, p := range n.pods {
		if p.object.Namespace == namespace && p.object.Name == name {
			return p, nil
		}
	}
	return nil, errors.New("no such Pod here")
}

func (n *node) begin(ctx context.Context, object *v1.Pod) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.pods[object.UID] != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &pod{
		node:    n,
		object:  object.DeepCopy(),
		cancel:  cancel,
		ended:   make(chan struct{}),
		root:    filepath.Join(*state, "pods", string(object.UID)),
		running: map[string]*process{},
	}
	n.pods[object.UID] = p
	go func() {
		defer close(p.ended)
		if err := p.run(ctx); err != nil && ctx.Err() == nil {
			log.Printf("%s/%s: %v", object.Namespace, object.Name, err)
		}
		<-ctx.Done()
		p.stop()
		n.mutex.Lock()
		delete(n.pods, object.UID)
		n.mutex.Unlock()
		n.publishNames()
		n.remove(context.Background(), object)
	}()
}

func (n *node) end(uid types.UID) {
	if p := n.get(uid); p != nil {
		p.cancel()
	}
}

// remove deletes a Pod that has ended from the API server, as a kubelet does.
func (n *node) remove(ctx context.Context, object *v1.Pod) {
	now := int64(0)
	options := metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &object.UID}}
	err := n.client.CoreV1().Pods(object.Namespace).Delete(ctx, object.Name, options)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		log.Print(object.Name, ": ", err)
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}
