// Command etcd is the etcd server alone. It exists because the released binary
// carries the tools and the migration commands along, which a single-node
// control plane never calls.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
