// Access to the host through networks, and the addresses that a container can get.

import { describe, expect, it } from 'vitest';
import { create, type FilterOptions, refusal, through } from '../../../../test/support/docker-filter.ts';

describe('the host’s network', () => {
  const network = (spec: object, options: FilterOptions = {}) =>
    through('POST', '/networks/create', { Name: 'shop_more', ...spec }, options);

  it.each<[string, object]>([
    ['IPAM.Config', { IPAM: { Config: [{ Subnet: '198.51.100.0/24' }] } }],
    ['IPAM.Config', { IPAM: { Config: [{}, { Gateway: '169.254.169.254' }] } }],
    ['IPAM.Config', { IPAM: { Config: [{ IPRange: '10.0.0.0/8' }] } }],
    ['IPAM.Config', { IPAM: { Config: [{ AuxiliaryAddresses: { host: '10.0.0.1' } }] } }],
    ['IPAM.Config', { EnableIPv6: true, IPAM: { Config: [{ Subnet: '2001:db8::/64' }] } }],
    ['Driver macvlan', { Driver: 'macvlan' }],
    ['Driver ipvlan', { Driver: 'ipvlan' }],
    ['Driver host', { Driver: 'host' }],
    ['Driver overlay', { Driver: 'overlay' }],
    ['bridge.name', { Options: { 'com.docker.network.bridge.name': 'docker0' } }],
    ['host_binding_ipv4', { Options: { 'com.docker.network.bridge.host_binding_ipv4': '0.0.0.0' } }],
    ['gateway_mode_ipv4', { Options: { 'com.docker.network.bridge.gateway_mode_ipv4': 'routed' } }],
    ['parent', { Options: { parent: 'eth0' } }],
  ])('is out of reach of a new network: %s in %j', async (field, spec) => {
    await expect(network(spec)).rejects.toThrow(field);
    await expect(network(spec)).rejects.toThrow('docker.allowHostNamespaces');
    await expect(network(spec, { allowHostNamespaces: true })).resolves.toBeDefined();
  });

  it.each<[object, unknown]>([
    [{ ConfigFrom: { Network: 'x' } }, refusal('INVALID_INPUT')],
    [{ ConfigOnly: true }, refusal('INVALID_INPUT')],
    [{ Ingress: true }, refusal('INVALID_INPUT')],
    [{ IPAM: { Driver: 'other' } }, refusal('INVALID_INPUT')],
    [{ IPAM: { Options: { a: 'b' } } }, refusal('INVALID_INPUT')],
    [{ Scope: 'swarm' }, refusal('NOT_ALLOWED')],
    [{ Name: 'abcdef012345' }, refusal('INVALID_INPUT')],
  ])('has no other settings: %j', async (spec, refused) => {
    await expect(network(spec, { allowHostNamespaces: true })).rejects.toEqual(refused);
  });

  it.each<object>([
    {},
    { IPAM: { Driver: 'default', Options: {}, Config: [] } },
    { Internal: true, Attachable: true, IPAM: null },
    { IPAM: { Config: [{}] }, Options: { 'com.docker.network.driver.mtu': '1400' } },
  ])('is chosen by the host otherwise: %j', async (spec) => {
    await expect(network(spec)).resolves.toBeDefined();
  });

  it.each<[object, string]>([
    [{ IPv4Address: '169.254.169.254' }, 'is not in the subnet'],
    [{ IPv4Address: '172.21.0.9' }, 'is not in the subnet'],
    [{ IPv4Address: '172.20.0.1' }, 'is the gateway'],
    [{ IPv6Address: 'fd00:20::1' }, 'is the gateway'],
    [{ IPv6Address: 'fd00:20:0::0001' }, 'is the gateway'],
    [{ IPv4Address: '::ffff:172.20.3.4' }, 'is not in the subnet'],
    [{ IPv4Address: 'fe80::1' }, 'is not in the subnet'],
    [{ IPv6Address: 'fe80::1' }, 'is not in the subnet'],
    [{ IPv4Address: '0x7f.1' }, 'is not in the subnet'],
    [{ LinkLocalIPs: ['169.254.169.254'] }, 'LinkLocalIPs'],
  ])('gives no address outside of a network: %j', async (IPAMConfig, message) => {
    const settings = { EndpointConfig: { IPAMConfig } };
    await expect(
      through('POST', '/networks/shop_default/connect', { Container: 'tikv0', ...settings }),
    ).rejects.toThrow(message);
    await expect(
      create({
        HostConfig: { NetworkMode: 'none' },
        NetworkingConfig: { EndpointsConfig: { shop_default: { IPAMConfig } } },
      }),
    ).rejects.toThrow(message);
  });

  it('gives an address inside of it', async () => {
    const EndpointConfig = { IPAMConfig: { IPv4Address: '172.20.3.4' } };
    await expect(
      through('POST', '/networks/shop_default/connect', { Container: 'tikv0', EndpointConfig }),
    ).resolves.toBeDefined();
  });

  it('does not let a container with access to its host resolve the agent’s names', async () => {
    await expect(through('POST', '/networks/shop_default/connect', { Container: 'agent' })).rejects.toEqual(
      refusal('NOT_ALLOWED'),
    );
  });
});
