/** Most bytes of a job's standard input. Without imports, because the command line reads it before it loads the rest. */
export const stdinBytesMax = 32 * 2 ** 20
