// Attacks through the docker door, by the docker command in a sandbox: on the host, and on
// containers of other projects.

/** What the attacks are about: names that are only known once the containers are there. */
export interface DockerPlace {
  /** The project that the class opens, which is also a network `PROJECT_default`. */
  readonly project: string;
  readonly image: string;
  /** A container of the project. */
  readonly own: string;
  /** A container, a volume, a network and an image of another owner. */
  readonly foreign: string;
  readonly foreignVolume: string;
  readonly foreignNetwork: string;
  readonly foreignImage: string;
  /** The whole id of the foreign container. */
  readonly foreignId: string;
}

export interface DockerAttack {
  readonly name: string;
  readonly family: 'docker host' | 'docker neighbours';
  /** A command of bash. What it makes has the name `id`. */
  readonly command: (place: DockerPlace, id: string) => string;
  /** How a success shows: what it made, what it printed, or what it did to the foreign container. */
  readonly sign: 'container' | 'network' | 'volume' | 'image' | 'printed' | 'state';
  /** Set where dockerd itself refuses: the door is then only the first of two walls. */
  readonly refusedByDockerd?: true;
}

/** In the foreign container, and in its log. */
export const SECRET_OF_NEIGHBOUR = 'balance-of-the-bank';

/** A request to the socket, for what the docker command does not send. */
const ask = (method: string, path: string, body?: string) =>
  [
    `curl -sSgL -m 20 --unix-socket /var/run/docker.sock -X ${method} --path-as-is 'http://docker${path}'`,
    ...(body === undefined ? [] : [`-H 'Content-Type: application/json' --data '${body}'`]),
  ].join(' ');

/** `docker run` with a power over the host. */
const run = (name: string, flags: string | ((place: DockerPlace) => string)): DockerAttack => ({
  name: `a container with ${name}`,
  family: 'docker host',
  sign: 'container',
  command: (place, id) => {
    const wanted = typeof flags === 'string' ? flags : flags(place);
    const network = wanted.includes('--network') ? '' : `--network ${place.project}_default `;
    return `docker run -d --name ${id} ${network}${wanted} ${place.image} sleep 60`;
  },
});

/** The body of a request for a container, in a form that the docker command does not send. */
const create = (name: string, body: (place: DockerPlace) => string): DockerAttack => ({
  name: `a container by ${name}`,
  family: 'docker host',
  sign: 'container',
  command: (place, id) => ask('POST', `/v1.41/containers/create?name=${id}`, body(place)),
});

const host: readonly DockerAttack[] = [
  run('--privileged', '--privileged'),
  run('all capabilities', '--cap-add ALL'),
  run('the capability to trace', '--cap-add SYS_PTRACE'),
  run('a device', '--device /dev/kmsg'),
  run('a rule for all devices', "--device-cgroup-rule 'a *:* rwm'"),
  run('no seccomp', '--security-opt seccomp=unconfined'),
  run('unmasked system paths', '--security-opt systempaths=unconfined'),
  run("the host's file system", '-v /:/host'),
  run("the host's processes in a mount", '-v /proc:/host-proc:ro'),
  run('the Docker socket', '--mount type=bind,source=/var/run/docker.sock,target=/s'),
  run('a volume that is a bind', () =>
    ['--mount', `'type=volume,dst=/m,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/etc'`].join(' '),
  ),
  run("the host's processes", '--pid host'),
  run("the host's network", '--network host'),
  run("the host's IPC", '--ipc host'),
  run("the host's host name", '--uts host'),
  run("the host's cgroups", '--cgroupns host'),
  run('a cgroup of its own choice', '--cgroup-parent /init.scope'),
  run('an OOM score below the host', '--oom-score-adj -1000'),
  run('the network of another project', ({ foreignNetwork }) => `--network ${foreignNetwork}`),
  run('the network of a foreign container', ({ foreign }) => `--network container:${foreign}`),
  run('the processes of a foreign container', ({ foreign }) => `--pid container:${foreign}`),
  run('the IPC of a foreign container', ({ foreign }) => `--ipc container:${foreign}`),
  run('the volumes of a foreign container', ({ foreign }) => `--volumes-from ${foreign}`),
  run('the volume of another project', ({ foreignVolume }) => `-v ${foreignVolume}:/d`),
  {
    ...run('an image of another owner', ''),
    command: ({ project, foreignImage }, id) =>
      `docker run -d --name ${id} --network ${project}_default ${foreignImage} sleep 60`,
  },
  create('a key in lower case', ({ image }) =>
    JSON.stringify({ Image: image, Cmd: ['sleep', '60'], hostconfig: { Privileged: true, NetworkMode: 'none' } }),
  ),
  create(
    'the same key twice',
    ({ image }) =>
      `{"Image":"${image}","Cmd":["sleep","60"],"HostConfig":{"NetworkMode":"none"},"HostConfig":{"NetworkMode":"none","Privileged":true}}`,
  ),
  create(
    'a key with an escape',
    ({ image }) =>
      `{"Image":"${image}","Cmd":["sleep","60"],"HostConfig":{"NetworkMode":"none","\\u0050rivileged":true}}`,
  ),
  create(
    'the long s of Unicode, which Go reads as an s',
    ({ image }) =>
      `{"Image":"${image}","Cmd":["sleep","60"],"Ho\u017ftConfig":{"NetworkMode":"none","Privileged":true}}`,
  ),
  {
    name: "a network with the subnet of the cloud's metadata",
    family: 'docker host',
    sign: 'network',
    command: (_place, id) => `docker network create --subnet 169.254.169.0/24 --gateway 169.254.169.254 ${id}`,
  },
  {
    name: "a network that adds a bridge of its own choice to the host's interfaces",
    family: 'docker host',
    sign: 'network',
    command: (_place, id) => `docker network create -o com.docker.network.bridge.name=lab-bridge0 ${id}`,
  },
  {
    name: 'a volume that is a bind of /etc',
    family: 'docker host',
    sign: 'volume',
    command: (_place, id) => `docker volume create -o type=none -o o=bind -o device=/etc ${id}`,
  },
  {
    name: 'an image built on the host',
    family: 'docker host',
    sign: 'image',
    command: ({ image }, id) =>
      `printf 'FROM ${image}\\nRUN true\\n' > $HOME/Dockerfile; tar -C $HOME -cf - Dockerfile | curl -sS -m 20 --unix-socket /var/run/docker.sock -X POST 'http://docker/v1.41/build?t=${id}&networkmode=host' -H 'Content-Type: application/x-tar' --data-binary @-`,
  },
];

const printed = (name: string, command: DockerAttack['command']): DockerAttack => ({
  name,
  family: 'docker neighbours',
  sign: 'printed',
  command,
});
const state = (name: string, command: DockerAttack['command']): DockerAttack => ({
  name,
  family: 'docker neighbours',
  sign: 'state',
  command,
});

const neighbours: readonly DockerAttack[] = [
  printed('read its log', ({ foreign }) => `docker logs ${foreign}`),
  printed('read its log by its id', ({ foreignId }) => `docker logs ${foreignId}`),
  printed('read its log by a part of its id', ({ foreignId }) => `docker logs ${foreignId.slice(0, 12)}`),
  printed('read its environment', ({ foreign }) => `docker inspect ${foreign}`),
  printed('list it', () => 'docker ps -a --no-trunc'),
  printed('list it with a filter of its own', () =>
    ask('GET', `/v1.41/containers/json?all=1&filters={"label":{"com.docker.compose.project":true}}`),
  ),
  printed('list it with the filter twice', () => ask('GET', '/v1.41/containers/json?all=1&filters={}&filters={}')),
  printed('read its processes', ({ foreign }) => `docker top ${foreign} -eo pid,args`),
  printed('copy a file out of it', ({ foreign }) => `docker cp ${foreign}:/tmp/ledger - | tr -d '\\0'`),
  printed('export it', ({ foreign }) => `docker export ${foreign} | grep -a -m1 ${SECRET_OF_NEIGHBOUR}`),
  printed('run a command in it', ({ foreign }) => `docker exec ${foreign} cat /tmp/ledger`),
  printed('attach to it', ({ foreign }) => `timeout 5 docker attach --no-stdin --sig-proxy=false ${foreign}`),
  printed('see its events', () => `timeout 3 docker events --since 10m --until 0s`),
  printed('see its disk usage', () => ask('GET', '/v1.41/system/df')),
  printed('reach it by dots in a path', ({ own, foreign }) =>
    ask('GET', `/v1.41/containers/${own}/../${foreign}/json`),
  ),
  printed('reach it by an encoded slash', ({ own, foreign }) =>
    ask('GET', `/v1.41/containers/${own}%2F..%2F${foreign}/json`),
  ),
  {
    ...printed('reach it in upper case', ({ foreign }) => ask('GET', `/V1.41/CONTAINERS/${foreign}/json`)),
    refusedByDockerd: true,
  },
  printed('save its image', ({ foreignImage }) => `docker save ${foreignImage} | grep -a -m1 ${SECRET_OF_NEIGHBOUR}`),
  state('stop it', ({ foreign }) => `docker stop -t 0 ${foreign}`),
  state('kill it', ({ foreign }) => `docker kill ${foreign}`),
  state('restart it', ({ foreign }) => `docker restart -t 0 ${foreign}`),
  state('pause it', ({ foreign }) => `docker pause ${foreign}`),
  state('rename it', ({ foreign }, id) => `docker rename ${foreign} ${id}`),
  state('limit it', ({ foreign }) => `docker update --memory 6m --memory-swap 6m ${foreign}`),
  state('disconnect it', ({ foreign, foreignNetwork }) => `docker network disconnect -f ${foreignNetwork} ${foreign}`),
  state('connect it to the project', ({ project, foreign }) => `docker network connect ${project}_default ${foreign}`),
  state('remove it', ({ foreign }) => `docker rm -f ${foreign}`),
];

/** All attacks, each with the name of what it makes. */
export const dockerAttacks: readonly (DockerAttack & { readonly id: string })[] = [...host, ...neighbours].map(
  (attack, index) => ({ ...attack, id: `attack-${index}` }),
);
