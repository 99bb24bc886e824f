// Command kube-router is the firewall of kube-router alone: it enforces
// NetworkPolicies. The full binary links a BGP daemon and a service proxy,
// which a single node under kube-proxy never uses and which take minutes to
// build. It takes kube-router's own flags; those of the missing parts have no
// effect.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/spf13/pflag"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kube-router (firewall only):", err)
		os.Exit(1)
	}
}

func run() error {
	klog.InitFlags(nil)
	config := options.NewKubeRouterConfig()
	config.AddFlags(pflag.CommandLine)
	pflag.Parse()
	if err := flag.Set("v", config.VLevel); err != nil {
		return err
	}
	if config.RunRouter || config.RunServiceProxy {
		return errors.New("this build has neither router nor service proxy: pass --run-router=false --run-service-proxy=false")
	}

	inCluster, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(inCluster)
	if err != nil {
		return err
	}

	stop := make(chan struct{})
	heartbeats := make(chan *healthcheck.ControllerHeartbeat, 10)
	var running sync.WaitGroup
	health, err := healthcheck.NewHealthController(config)
	if err != nil {
		return err
	}
	running.Add(1)
	go health.RunServer(stop, &running)

	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	factory.Start(stop)
	deadline := make(chan struct{})
	timer := time.AfterFunc(config.CacheSyncTimeout, func() { close(deadline) })
	for kind, synced := range factory.WaitForCacheSync(deadline) {
		if !synced {
			return fmt.Errorf("no list of %v within %v", kind, config.CacheSyncTimeout)
		}
	}
	timer.Stop()

	health.SetAlive()
	running.Add(1)
	go health.RunCheck(heartbeats, stop, &running)

	iptables, ipsets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}
	var ipsetLock sync.Mutex
	firewall, err := netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &ipsetLock, nil, iptables, ipsets)
	if err != nil {
		return err
	}
	for _, err := range []error{
		second(pods.AddEventHandler(firewall.PodEventHandler)),
		second(namespaces.AddEventHandler(firewall.NamespaceEventHandler)),
		second(policies.AddEventHandler(firewall.NetworkPolicyEventHandler)),
	} {
		if err != nil {
			return err
		}
	}
	running.Add(1)
	go firewall.Run(heartbeats, stop, &running)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
	close(stop)
	running.Wait()
	return nil
}

func second[T any](_ T, err error) error { return err }
