// The version of this program.

/** Set when the bundle is built; the source tree has none. */
export const programVersion = process.env.OPLAB_VERSION ?? 'from source';
