// The version of this program.

/** The build sets the version; a source tree has none. */
export const programVersion = process.env.OPLAB_VERSION ?? 'from source';

/** The output of `oplab version`. */
export const versionLine = () => `oplab ${programVersion} (node ${process.versions.node})`;
