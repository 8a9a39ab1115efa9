// Command devcluster is one program that acts as every part of a Kubernetes
// control plane, chosen by its first argument:
//
//	devcluster etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubectl [flag...]
//
// The parts are linked into one file because they share most of their code:
// together they are a third of the size, and of the build time, of five
// separate programs.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	_ "time/tzdata" // CronJobs with a time zone on machines without zoneinfo

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl's credential plug-ins
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// component finds the wanted part and drops it from the arguments. A symbolic
// link named after a part acts as that part.
func component() string {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	if name != "devcluster" {
		return name
	}
	if len(os.Args) < 2 {
		return ""
	}
	name = os.Args[1]
	os.Args = append([]string{name}, os.Args[2:]...)
	return name
}

func run(command *cobra.Command) { os.Exit(cli.Run(command)) }

func main() {
	switch name := component(); name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		run(controllermanager.NewControllerManagerCommand())
	case "kube-scheduler":
		run(scheduler.NewSchedulerCommand())
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	default:
		fmt.Fprintf(os.Stderr, "devcluster: unknown component %q: want etcd, kube-apiserver, kube-controller-manager, kube-scheduler or kubectl\n", name)
		os.Exit(2)
	}
}
