// Plugins for esbuild that keep unused code out of the bundles.

import { readFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import type { Plugin } from 'esbuild';

/** Imports of KubeConfig that our calls never run. */
const leftOut: Readonly<Record<string, readonly string[]>> = {
  './gen/index.js': ['ServerConfiguration', 'createConfiguration'],
  undici: ['Agent', 'ProxyAgent'],
};

/**
 * We use only KubeConfig of the Kubernetes client. Its module also imports the generated API of all
 * of Kubernetes, and undici, which sends the requests of that API. Our requests use the agents that
 * KubeConfig creates for node:https, with and without a proxy. Both imports are replaced by
 * functions that throw, so that a new version of the client cannot send a request unnoticed. If it
 * imports another name, the build fails.
 */
const onlyKubeConfig: Plugin = {
  name: 'only-kube-config',
  setup(context) {
    const name = '@kubernetes/client-node';
    context.onResolve({ filter: /^@kubernetes\/client-node$/ }, ({ kind, resolveDir }) =>
      context.resolve(`${name}/dist/config.js`, { kind, resolveDir }),
    );
    context.onResolve({ filter: /^(\.\/gen\/index\.js|undici)$/ }, ({ path, importer }) =>
      importer.endsWith(`/node_modules/${name}/dist/config.js`) ? { path, namespace: 'left-out' } : null,
    );
    context.onLoad({ filter: /./, namespace: 'left-out' }, ({ path }) => {
      const reason = `this build of oplab has no ${path} of ${name}; see hack/bundle-plugins.ts`;
      const functions = leftOut[path]?.map((each) => `export function ${each}() { fail(); }`) ?? [];
      return { contents: [`function fail() { throw new Error(${JSON.stringify(reason)}); }`, ...functions].join('\n') };
    });
  },
};

/** Ways to authenticate that a kubeconfig asks for in a field of its user, which decides what is loaded. */
const rareAuthenticators: Readonly<Record<string, { name: string; asked: string }>> = {
  './azure_auth.js': { name: 'AzureAuth', asked: 'user?.authProvider' },
  './exec_auth.js': { name: 'ExecAuth', asked: '(user?.exec || user?.authProvider)' },
  './gcp_auth.js': { name: 'GoogleCloudPlatformAuth', asked: 'user?.authProvider' },
  './oidc_auth.js': { name: 'OpenIDConnectAuth', asked: 'user?.authProvider' },
};
/** Packages that only a kubeconfig with a proxy-url needs, and the classes that KubeConfig uses. */
const proxyPackages: Readonly<Record<string, readonly string[]>> = {
  hpagent: ['HttpProxyAgent', 'HttpsProxyAgent'],
  socks: ['SocksClient'],
  'socks-proxy-agent': ['SocksProxyAgent'],
};

/** KubeConfig loads these at its start; a bundle loads them on first use. */
const rarePartsOfKubeConfigOnDemand: Plugin = {
  name: 'rare-parts-of-kube-config-on-demand',
  setup(context) {
    const names = [...Object.keys(rareAuthenticators), ...Object.keys(proxyPackages)];
    const filter = new RegExp(`^(${names.join('|').replaceAll('.', '\\.')})$`);
    context.onResolve({ filter }, ({ path, importer, resolveDir, kind }) =>
      kind === 'import-statement' && importer.endsWith('/@kubernetes/client-node/dist/config.js')
        ? { path, namespace: 'on-demand', pluginData: resolveDir }
        : null,
    );
    context.onLoad({ filter: /./, namespace: 'on-demand' }, ({ path, pluginData }) => {
      const authenticator = rareAuthenticators[path];
      const source = `require(${JSON.stringify(path)})`;
      const contents =
        authenticator === undefined
          ? (proxyPackages[path] ?? []).map(
              (each) => `export const ${each} = new Proxy(function () {}, {
                construct: (_, args) => new (${source}.${each})(...args),
                get: (_, key) => ${source}.${each}[key],
              });`,
            )
          : [
              `let known; const real = () => (known ??= new (${source}.${authenticator.name})());
              export class ${authenticator.name} {
                isAuthProvider(user) { return ${authenticator.asked} ? real().isAuthProvider(user) : false; }
                applyAuthentication(user, options) { return real().applyAuthentication(user, options); }
              }`,
            ];
      return { contents: contents.join('\n'), resolveDir: pluginData };
    });
  },
};

/** string-width builds large tables of Unicode when it is loaded; plain ASCII does not need it. */
const stringWidthOnDemand: Plugin = {
  name: 'string-width-on-demand',
  setup(context) {
    context.onResolve({ filter: /^string-width$/ }, ({ kind, resolveDir }) =>
      kind === 'import-statement' ? { path: 'string-width', namespace: 'width', pluginData: resolveDir } : null,
    );
    context.onLoad({ filter: /./, namespace: 'width' }, ({ path, pluginData }) => ({
      contents: `export default (...args) => require(${JSON.stringify(path)}).default(...args);`,
      resolveDir: pluginData,
    }));
  },
};

/**
 * An import statement loads a built-in module at the start, even if its user is loaded on demand.
 * It also reads every export: `WebSocket` of node:http loads all of Node's fetch, 70 modules.
 * `process.getBuiltinModule` loads the module when its user runs, and reads no export.
 */
const builtInsAsObjects: Plugin = {
  name: 'built-ins-as-objects',
  setup(context) {
    // commander starts executables for subcommands, which oplab has none of; client-node starts the
    // programs that a kubeconfig names, and one on Windows. They use its default export.
    context.onResolve({ filter: /^node:child_process$/ }, ({ path, importer }) =>
      /\/node_modules\/(commander|@kubernetes\/client-node)\//.test(importer)
        ? { path, namespace: 'built-in-on-demand' }
        : null,
    );
    context.onResolve({ filter: /^(node:)?[a-z_/]+$/ }, ({ path, kind, importer }) =>
      // main.ts must also run on a Node that is too old for this, to report that.
      kind === 'import-statement' && isBuiltin(path) && !importer.endsWith('/src/main.ts')
        ? { path: path.replace(/^(node:)?/, 'node:'), namespace: 'built-in' }
        : null,
    );
    context.onLoad({ filter: /./, namespace: 'built-in' }, ({ path }) => {
      const names = Object.keys(process.getBuiltinModule(path) ?? {}).filter((name) => name !== 'default');
      // Calls marked as pure are dropped unless their result is used.
      const contents = [
        `const module = /* @__PURE__ */ process.getBuiltinModule(${JSON.stringify(path)});`,
        'export { module as default };',
        ...names.map((name) => `export const ${name} = /* @__PURE__ */ ((of) => of.${name})(module);`),
      ];
      return { contents: contents.join('\n') };
    });
    context.onLoad({ filter: /./, namespace: 'built-in-on-demand' }, ({ path }) => ({
      contents: `export default new Proxy({}, { get: (_, key) => process.getBuiltinModule(${JSON.stringify(path)})[key] });`,
    }));
  },
};

/**
 * esbuild drops the unused parts of zod, such as its messages in fifty languages, only if zod is
 * imported as a namespace.
 */
const onlyUsedPartsOfZod: Plugin = {
  name: 'only-used-parts-of-zod',
  setup(context) {
    context.onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
      if (path.includes('/node_modules/')) return null;
      const source = await readFile(path, 'utf8');
      return { loader: 'ts', contents: source.replace("import * as z from 'zod';", "import * as z from 'zod';") };
    });
  },
};

/** For every bundle. */
export const bundlePlugins = [onlyKubeConfig, onlyUsedPartsOfZod];
/** For the CLI, because a user waits for its start. */
export const startPlugins = [rarePartsOfKubeConfigOnDemand, stringWidthOnDemand, builtInsAsObjects];
