// The version of this program.

/** Set when the bundle is built; the source tree has none. */
export const programVersion = process.env.OPLAB_VERSION ?? 'from source';

/** What `oplab version` says. */
export const versionLine = () => `oplab ${programVersion} (node ${process.versions.node})`;
