/**
 * Flag for processes that share the processor with walls: V8 gets a single helper thread in place of Node's four. Helpers have
 * the rank of their process, and those of the server compiled and collected while a job waited.
 */
export const oneHelperThread = '--v8-pool-size=1'
