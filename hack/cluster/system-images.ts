// The images that a cluster without a registry starts from, under the names kubeadm asks for.
import { output } from '../child.ts';
import type { LocalImage } from '../toolchain/local-image.ts';
import { kubernetesVersion } from '../toolchain/recipes.ts';
import { ensureTool } from '../toolchain/tools.ts';

/** The sandbox image that kind's containerd configuration names. */
const pauseImage = 'registry.k8s.io/pause:3.10';

/** Our own two for the default StorageClass and the one that enforces NetworkPolicies. */
export const localPathProvisionerImage = 'oplab.dev/local-path-provisioner:v0.0.30';
export const localPathHelperImage = 'oplab.dev/local-path-helper:bookworm';
export const kubeRouterImage = 'oplab.dev/kube-router:v2.6.3-k3s1';

function scratch(tag: string, tool: string, to: string, entrypoint: readonly string[] = []): LocalImage {
  return { tag, base: 'scratch', files: [{ from: { tool }, to }], entrypoint, user: '0' };
}

/**
 * Recipes for a list as `kubeadm config images list` prints it, and for what we add.
 * @throws Error for a name that we have no binary for: a new Kubernetes wants something new.
 */
export function systemImages(required: readonly string[]): LocalImage[] {
  const images = required.flatMap((tag): LocalImage[] => {
    const name = /([^/:]+):[^/:]+$/.exec(tag)?.[1];
    switch (name) {
      case 'kube-apiserver':
      case 'kube-controller-manager':
      case 'kube-scheduler':
      case 'etcd':
        return [scratch(tag, name, `/usr/local/bin/${name}`)];
      case 'kube-proxy':
        return [{ ...scratch(tag, name, '/usr/local/bin/kube-proxy'), base: 'oplab-system-base' }];
      case 'coredns':
        return [scratch(tag, name, '/coredns', ['/coredns'])];
      case 'pause':
        // kubeadm names its own; containerd starts the one in kind's configuration.
        return [];
      default:
        throw new Error(`kubeadm asks for ${tag}, for which there is no recipe`);
    }
  });
  return [
    ...images,
    scratch(pauseImage, 'pause', '/pause', ['/pause']),
    scratch(localPathProvisionerImage, 'local-path-provisioner', '/usr/local/bin/local-path-provisioner'),
    { tag: localPathHelperImage, base: 'oplab-system-base', files: [], entrypoint: [], user: '0' },
    {
      ...scratch(kubeRouterImage, 'kube-router', '/usr/local/bin/kube-router', ['/usr/local/bin/kube-router']),
      base: 'oplab-system-base',
    },
  ];
}

/** What kubeadm of our Kubernetes wants to find on the node. */
export async function requiredImages(signal?: AbortSignal): Promise<string[]> {
  const kubeadm = await ensureTool('kubeadm', { signal });
  const printed = await output(kubeadm, ['config', 'images', 'list', '--kubernetes-version', kubernetesVersion], {
    signal,
  });
  return printed.split('\n').filter((line) => line.includes('/'));
}
