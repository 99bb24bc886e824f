// The Go builds of the cluster's node and of oplab's images, at pinned versions.
import path from 'node:path';
import type { GoBuild } from './go-build.ts';

/** The Kubernetes that the closed-network cluster runs; it is also in go.mod of the kube module. */
export const kubernetesVersion = 'v1.36.3';

const modules = path.join(import.meta.dirname, 'go');
const [, major, minor] = /^v(\d+)\.(\d+)\./.exec(kubernetesVersion) ?? [];

/** The version that Kubernetes' binaries print; kubeadm refuses to work without it. */
const versionFlags = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap((variable) => [
  `-X ${variable}.gitVersion=${kubernetesVersion}`,
  `-X ${variable}.gitMajor=${major}`,
  `-X ${variable}.gitMinor=${minor}`,
  `-X ${variable}.gitTreeState=clean`,
]);

/** All binaries of the node are in one module, so that they share compiled packages. */
const kube: GoBuild = {
  name: 'kube',
  moduleDir: path.join(modules, 'kube'),
  packages: [
    'k8s.io/kubernetes/cmd/kube-apiserver',
    'k8s.io/kubernetes/cmd/kube-controller-manager',
    'k8s.io/kubernetes/cmd/kube-scheduler',
    'k8s.io/kubernetes/cmd/kubelet',
    'k8s.io/kubernetes/cmd/kubeadm',
    'k8s.io/kubernetes/cmd/kube-proxy',
    'k8s.io/kubernetes/cmd/kubectl',
    'sigs.k8s.io/kind',
    'helm.sh/helm/v4/cmd/helm',
    'oplab.dev/hack/toolchain/kube/etcd',
    'oplab.dev/hack/toolchain/kube/coredns',
    'oplab.dev/hack/toolchain/kube/kube-router',
    'github.com/containerd/containerd/v2/cmd/containerd',
    'github.com/containerd/containerd/v2/cmd/ctr',
    'github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2',
    'github.com/containernetworking/plugins/plugins/main/loopback',
    'github.com/containernetworking/plugins/plugins/main/ptp',
    'github.com/containernetworking/plugins/plugins/ipam/host-local',
    'github.com/containernetworking/plugins/plugins/meta/portmap',
  ],
  ldflags: versionFlags,
  // The checksum database rejects the tag of this fork of kube-router; go.sum pins its content.
  env: { GONOSUMDB: 'github.com/k3s-io/kube-router/v2' },
  expectedSeconds: 600,
};

const localPathProvisioner: GoBuild = {
  name: 'local-path-provisioner',
  moduleDir: path.join(modules, 'local-path-provisioner'),
  packages: ['github.com/rancher/local-path-provisioner'],
  expectedSeconds: 30,
};

const ociRuntime: GoBuild = {
  name: 'oci-runtime',
  moduleDir: path.join(modules, 'oci-runtime'),
  packages: ['oplab.dev/hack/toolchain/oci-runtime', 'oplab.dev/hack/toolchain/oci-runtime/pause'],
  expectedSeconds: 5,
};

/** pd-ctl, which is part of the sandbox image. */
export const pdCtl: GoBuild = {
  name: 'pd-ctl',
  moduleDir: path.join(modules, 'pd-ctl'),
  packages: ['github.com/tikv/pd/tools/pd-ctl'],
  ldflags: ['-checklinkname=0'],
  expectedSeconds: 40,
};

/** What the node image is made of. */
export const nodeBuilds: readonly GoBuild[] = [ociRuntime, kube, localPathProvisioner];

/** Every build of the toolchain, in build order. The patient's builds are in lab/patient. */
export const goBuilds: readonly GoBuild[] = [...nodeBuilds, pdCtl];
